import numpy as np
import pytest

from xrt.applications.attributes.catalogue_settings import Reading, require_effect
from xrt.applications.attributes.catalogue_training import AttributeHooks
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.settings import AttributeSettings
from xrt.data.formats import CorpusFormat
from xrt.errors import ConfigError, DataError
from xrt.pipeline.params import DatasetParams, PipelineParams

ROWS = ["title,brand,trust"] + [f"red thing {i},{'AB'[i % 2]},{1 + i % 3}" for i in range(20)]
SCHEMA = AttributeSchema(
    text_columns=["title"], numeric_columns=[], categorical_columns=[], targets=["brand"]
)


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "catalogue.txt"
    path.write_text("\n".join(ROWS) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("text_columns", ["title"], "name schema.text_columns"),
        ("label_columns", ["brand"], "name schema.targets"),
        ("label_columns", [], "name schema.targets"),
        ("label_separator", ",", "one value a row"),
        ("labels", "names.tsv", "their own names"),
        ("confidences", False, "no confidences"),
        ("id_column", "sku", "keeps all its columns"),
        ("filters", "pairs.txt", "one value of each attribute"),
    ],
)
def test_settings_without_effect_on_a_catalogue_are_refused(name, value, instead, tmp_path):
    dataset = DatasetParams(trn=str(tmp_path / "none.csv"), **{name: value})
    with pytest.raises(
        ConfigError, match=rf"^no effect on a catalogue: dataset\.{name} \(.*{instead}"
    ):
        AttributeHooks(AttributeSettings(schema=SCHEMA)).corpora(
            PipelineParams(dataset=dataset), tmp_path
        )


def test_several_are_told_at_once_and_a_test_file_does_not_stand_alone():
    with pytest.raises(ConfigError, match=r"dataset\.labels .*; dataset\.filters .*; leave it out"):
        require_effect(DatasetParams(trn="a.csv", labels="x", filters="y"))
    with pytest.raises(ConfigError, match=r"dataset\.tst is given without dataset\.trn"):
        require_effect(DatasetParams(tst="a.csv"))
    require_effect(DatasetParams(trn="a.txt", format="csv", weight_column="w", skip_bad_lines=True))


def test_format_and_weights_are_used(catalogue, tmp_path):
    dataset = DatasetParams(
        trn=str(catalogue), tst=str(catalogue), format="csv", weight_column="trust"
    )
    _, trn, tst = AttributeHooks(AttributeSettings(schema=SCHEMA)).corpora(
        PipelineParams(dataset=dataset), tmp_path
    )
    assert trn.row_weights.tolist() == [float(1 + i % 3) for i in range(20)]
    assert trn.row_weights.dtype == np.float32
    assert tst.row_weights is None
    assert tst.num_instances == 20
    with pytest.raises(DataError, match=r"catalogue\.txt: line 1: .* fits no known format"):
        read_attributes(catalogue, SCHEMA)


def test_a_column_of_weights_has_no_other_use(catalogue):
    _, _, texts = read_attributes(catalogue, format="csv", weight_column="trust")
    assert texts.schema.input_columns() == ["title"]
    assert texts.schema.targets == ["brand"]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", r"row 2: 'trust' holds a str; give a row's weight as a number"),
        ("much", r"row 2: 'trust' holds a str"),
        ("0", r"row 2: 'trust' is 0\.0; give a finite weight above 0"),
        ("-1", "row 2: .* above 0"),
        ("nan", "row 2: .* above 0"),
        ("inf", "row 2: .* above 0"),
    ],
)
def test_weights_that_are_none(tmp_path, cell, message):
    path = tmp_path / "a.csv"
    path.write_text(f"title,brand,trust\na b,A,1\nc d,B,{cell}\n")
    with pytest.raises(DataError, match=message):
        read_attributes(path, SCHEMA, weight_column="trust")
    with pytest.raises(DataError, match="no column weight for the rows' weights; the columns are"):
        read_attributes(path, SCHEMA, weight_column="weight")


def test_a_saved_model_knows_how_its_files_were_read(catalogue, tmp_path):
    dataset = {"format": "csv", "skip_bad_lines": True}
    reading = Reading.of({"configuration": {"dataset": dataset}})
    assert reading == Reading("csv", True)
    assert reading.format_of(catalogue) is CorpusFormat.CSV
    (tmp_path / "b.jsonl").write_text('{"title": "a"}\n')
    assert reading.format_of(tmp_path / "b.jsonl") is CorpusFormat.JSONL
    with pytest.raises(DataError, match="no such file"):
        reading.format_of(tmp_path / "none.txt")
    assert Reading.of({"configuration": {}}) == Reading.of({}) == Reading()
    with pytest.raises(DataError, match="fits no known format"):
        Reading().format_of(catalogue)
