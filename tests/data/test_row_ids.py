"""A row's own id: under `uid` or `id`, or where `id_column` says."""

import pytest

from xrt.data import read_corpus
from xrt.errors import ConfigError, DataError
from xrt.pipeline.corpora import load_corpora
from xrt.pipeline.params import DatasetParams

CSV = "sku,id,text,labels\n7,a,red pan,pans\n8,b,blue pot,pots\n"


@pytest.mark.parametrize(("column", "ids"), [(None, ["a", "b"]), ("sku", ["7", "8"])])
def test_ids_of_csv_and_jsonl(tmp_path, column, ids):
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "a.jsonl").write_text(
        '{"sku": 7, "id": "a", "text": "red pan", "labels": ["pans"]}\n'
        '{"sku": 8, "id": "b", "text": "blue pot", "labels": ["pots"]}\n'
    )
    for name in ("a.csv", "a.jsonl"):
        assert read_corpus(tmp_path / name, id_column=column).ids == ids


def test_the_setting_reaches_the_reader(tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    file = str(tmp_path / "a.csv")
    for corpus in load_corpora(DatasetParams(trn=file, tst=file, id_column="sku"), tmp_path, 0):
        assert corpus is not None
        assert corpus.ids == ["7", "8"]


def test_a_column_of_ids_that_cannot_be_is_told(tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    with pytest.raises(DataError, match=r"a\.csv: no column 'ean' of ids; the columns are sku, id"):
        read_corpus(tmp_path / "a.csv", id_column="ean")
    (tmp_path / "a.txt").write_text("1 2 1\n0 0:1\n")
    with pytest.raises(ConfigError, match=r"id_column = 'sku'.*no named columns; leave it out"):
        read_corpus(tmp_path / "a.txt", id_column="sku")


@pytest.mark.parametrize(
    "named",
    [{"text_columns": ["title"]}, {"label_column": "brand"}, {"label_column": ["a", "b"]},
     {"label_separator": "|"}, {"weight_column": "trust"}],
)  # fmt: skip
def test_columns_of_a_file_that_has_none_are_refused(tmp_path, named):
    path = tmp_path / "rows.txt"
    path.write_text("2 2 2\n0 0:1\n1 1:1\n")
    with pytest.raises(ConfigError, match=rf"{next(iter(named))} = .*no named columns; leave it"):
        read_corpus(path, **named)
