"""The attributes use from a CSV to values: training, the saved model, decoding, figures."""

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from xrt.applications.attributes.catalogue_training import AttributeHooks
from xrt.applications.attributes.data.catalogue import CatalogueTable, read_catalogue
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.demo import write_attribute_demo
from xrt.applications.attributes.evaluation import evaluate_attributes
from xrt.applications.attributes.predictor import AttributePredictor
from xrt.cli import main
from xrt.demo.catalogue import DemoParams
from xrt.errors import ArtifactError, ConfigError, DataError

SETTINGS = ["experiment=attributes_demo", "num_threads=2", "validation_rows=200"]


def train(arguments: list[str]) -> int:
    """The command, with hydra as new and the logging that it sets up undone."""
    GlobalHydra.instance().clear()
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        return main(arguments)
    finally:
        for handler in set(logging.root.handlers) - set(handlers):
            handler.close()
        logging.root.handlers, logging.root.level = handlers, level


@pytest.fixture(scope="module")
def files(tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_attribute_demo(folder, 1500, 1000, 0, DemoParams(num_brands=60))
    return folder


@pytest.fixture(scope="module")
def run(files: Path, tmp_path_factory: Any) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    arguments = [f"data.path={files / 'trn.csv'}", f"dataset.tst={files / 'tst_truth.csv'}"]
    assert train(["train", *SETTINGS, *arguments, f"paths.runs={runs}"]) == 0
    return runs / "attributes_demo"


@pytest.fixture(scope="module")
def predictor(run: Path) -> AttributePredictor:
    return AttributePredictor.load(run / "model")


@pytest.fixture(scope="module")
def by_row(run: Path) -> AttributePredictor:
    """The same model, decoding whole rows, whatever was better on held-out rows."""
    return AttributePredictor.load(run / "model", decode="row")


@pytest.fixture(scope="module")
def table(files: Path) -> CatalogueTable:
    return read_catalogue(files / "tst.csv").subset(np.arange(200))


def test_report_has_the_figures_of_every_attribute(run: Path):
    content = json.loads((run / "report.json").read_text())
    steps = {step["name"]: step for step in content["judgements"]}
    decoding = steps["joint decoding (decode=row)"]
    assert decoding["plain_name"] == "each attribute alone (decode=each)"
    assert decoding["ships"] == (content["attributes"]["decode"] == "row")
    result = content["attributes"]
    names = [attribute["name"] for attribute in result["attributes"]]
    assert names == ["brand", "L0", "L1", "L2", "L3", "L4"]
    assert result["attributes"][1]["scores"]["accuracy"] > 0.9
    assert 0.2 < result["item_accuracy"] < 1
    page = (run / "report.html").read_text()
    assert "item accuracy" in page
    assert "paths never seen in training" in page
    manifest = json.loads((run / "model" / "manifest.json").read_text())
    assert manifest["metrics"]["attributes"]["item accuracy"] == result["item_accuracy"]


def test_every_row_has_one_value_of_each_attribute_and_a_path_that_training_saw(
    by_row: AttributePredictor, table: CatalogueTable
):
    result = by_row.predict(table)
    space = by_row.space
    assert result.columns_NA.shape == (table.num_rows, 6)
    assert (result.columns_NA >= 0).all()
    assert (space.attribute_of_L[result.columns_NA] == np.arange(6)).all()
    paths = result.columns_NA[:, list(by_row.decoder.finder.hierarchy)]
    assert by_row.decoder.finder.taxonomy.contains(paths).all()
    assert ((result.probabilities_NA > 0) & (result.probabilities_NA <= 1)).all()
    assert (result.row_probabilities_N <= result.probabilities_NA.min(axis=1) + 1e-5).all()


def test_joint_decoding_is_at_least_as_good_as_the_best_value_of_each_attribute(
    predictor: AttributePredictor, files: Path
):
    corpus, space, _ = read_attributes(
        files / "tst_truth.csv", labels=predictor.space.labels, item_texts=predictor.item_texts
    )
    table = read_catalogue(files / "tst_truth.csv")
    cells = space.cells_of(corpus.Y)
    joint = (predictor.predict(table).columns_NA == cells).all(axis=1).mean()
    scores = predictor.scores(table).toarray()
    alone = np.zeros_like(cells)
    for a, name in enumerate(space.attributes):
        columns = predictor.space.columns_of(name)
        alone[:, a] = columns[scores[:, columns].argmax(axis=1)]
    assert joint >= (alone == cells).all(axis=1).mean() - 0.01  # a thousand rows


def test_each_attribute_by_itself_is_another_way_of_the_same_model(
    run: Path, predictor: AttributePredictor, table: CatalogueTable
):
    each = AttributePredictor.load(run / "model", decode="each")
    row = AttributePredictor.load(run / "model", decode="row")
    by_each, by_row = each.predict(table), row.predict(table)
    assert (by_each.probabilities_NA >= by_row.probabilities_NA - 1e-5)[
        :, [name not in each.decoder.by_score for name in each.space.attributes]
    ].all()
    assert (by_each.columns_NA != by_row.columns_NA).any()
    with pytest.raises(ConfigError, match="choose one of row, each"):
        AttributePredictor.load(run / "model", decode="auto")
    result = json.loads((run / "report.json").read_text())["attributes"]
    assert result["decode"] == predictor.decoder.way.value
    shipped = result["decodings"][result["decode"]]
    assert shipped["item accuracy"] == result["item_accuracy"]
    assert set(result["decodings"]) == {"row", "each", "best score alone"}
    assert "held-out training rows" in (run / "report.html").read_text()


def test_one_by_one_equals_a_batch(predictor: AttributePredictor, table: CatalogueTable):
    rows = np.arange(8)
    batch = predictor.predict(table.subset(rows))
    for row in rows:
        one = predictor.predict(table.subset(np.array([row])))
        assert one.columns_NA[0].tolist() == batch.columns_NA[row].tolist()
        assert np.allclose(one.probabilities_NA[0], batch.probabilities_NA[row], atol=1e-5)


def test_threads_do_not_matter(run: Path, predictor: AttributePredictor, table: CatalogueTable):
    one = AttributePredictor.load(run / "model", num_threads=1).predict(table)
    assert np.array_equal(one.columns_NA, predictor.predict(table).columns_NA)


def test_given_values_are_kept_and_the_others_go_with_them(
    by_row: AttributePredictor, table: CatalogueTable
):
    space, free = by_row.space, by_row.predict(table)
    cells = np.full_like(free.columns_NA, -1)
    cells[:, 1] = free.columns_NA[:, 1]  # what it would say anyway
    same = by_row.predict(table, cells)
    assert (same.columns_NA[:, 1] == cells[:, 1]).all()
    assert (same.row_probabilities_N >= free.row_probabilities_N - 1e-5).all()
    other = np.full_like(cells, -1)
    top = space.columns_of("L0")
    other[:, 1] = top[(np.searchsorted(top, free.columns_NA[:, 1]) + 1) % len(top)]
    moved = by_row.predict(table, other)
    taxonomy = by_row.decoder.finder.taxonomy
    led = moved.columns_NA[:, 1] == other[:, 1]
    assert led.all()  # there is a path under every L0
    assert taxonomy.contains(moved.columns_NA[led][:, 1:]).all()


def test_probability_of_what_is_predicted_is_its_probability(
    predictor: AttributePredictor, table: CatalogueTable
):
    result = predictor.predict(table)
    again = predictor.probability_of(table, result.columns_NA)
    assert np.allclose(again, result.probabilities_NA, atol=1e-6)
    nothing = predictor.probability_of(table, np.full_like(result.columns_NA, -1))
    assert np.isnan(nothing).all()


def test_items_come_back_as_suggestions(predictor: AttributePredictor, files: Path):
    with open(files / "tst.csv", encoding="utf-8") as file:
        items = [row for row, _ in zip(csv.DictReader(file), range(3), strict=False)]
    result = predictor.predict_items(items)
    assert [set(row) for row in result] == [set(predictor.space.attributes)] * 3
    suggestion = result[0]["L0"]
    assert suggestion.label == f"L0={suggestion.name}"
    assert 0 < suggestion.score <= 1
    only_title = predictor.predict_items([{"title": items[0]["title"], "description": ""}])
    assert set(only_title[0]) == set(predictor.space.attributes)
    assert predictor.predict_items([{"title": items[0]["title"]}]) == only_title


def test_a_missing_text_column_is_told(predictor: AttributePredictor):
    with pytest.raises(DataError, match="title"):
        predictor.predict_items([{"name": "a bowl"}])


def test_a_model_of_labels_is_refused(run: Path, tmp_path: Path):
    (tmp_path / "trn.jsonl").write_text(
        "".join(json.dumps({"text": f"red bowl {i}", "labels": ["a", "b"][i % 2 :]}) + "\n"
                for i in range(30))
    )  # fmt: skip
    arguments = ["dataset=files", f"dataset.trn={tmp_path / 'trn.jsonl'}", "encoder=none"]
    assert train(["train", *arguments, "name=plain", f"paths.runs={tmp_path}"]) == 0
    with pytest.raises(ArtifactError, match="model of labels"):
        AttributePredictor.load(tmp_path / "plain" / "model")


def test_without_a_test_file_held_out_rows_are_judged(files: Path, tmp_path: Path, capsys: Any):
    arguments = [f"data.path={files / 'trn.csv'}", "experiment=attributes", "num_threads=2"]
    assert train(["train", *arguments, f"paths.runs={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "held-out training rows" in out
    assert "attributes/model catalogue.csv --out filled.csv" in out
    result = json.loads((tmp_path / "attributes" / "report.json").read_text())["attributes"]
    chosen = json.loads((tmp_path / "attributes" / "model" / "attributes.json").read_text())
    for way in ("row", "each"):
        figures = chosen["figures"]["decode"][way]["item accuracy"]
        assert result["decodings"][way]["item accuracy"] == pytest.approx(figures)
    assert result["num_impossible_paths"] == 0 or result["decode"] == "each"


def test_evaluate_tells_what_training_told(run: Path, files: Path, capsys: Any):
    trained = json.loads((run / "report.json").read_text())["attributes"]
    assert main(["evaluate", str(run / "model"), str(files / "tst_truth.csv"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["attributes"] == trained["attributes"]
    assert result["each attribute alone"] == trained["each attribute alone"]
    assert result["num_impossible_paths"] == trained["num_impossible_paths"]
    assert result["each attribute alone"]["num_impossible_paths"] > 0
    assert main(["evaluate", str(run / "model"), str(files / "tst_truth.csv")]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[1].startswith("brand")
    assert "a fill writes" in text
    fills = {figures["name"]: figures["fills"] for figures in result["attributes"]}
    assert 0 < fills["brand"]["num_right"] <= fills["brand"]["num_written"]
    assert fills["L4"]["num_empty"] > fills["L4"]["num_in_empty"]
    assert "each attribute decoded alone: item accuracy" in text


def test_attributes_that_the_file_lacks_are_not_judged(
    predictor: AttributePredictor, tmp_path: Path
):
    brand = predictor.space.value(int(predictor.space.columns_of("brand")[0]))
    (tmp_path / "in.csv").write_text(f"title,description,brand\nred bowl,,{brand}\n")
    report = evaluate_attributes(predictor, tmp_path / "in.csv").report
    assert [figures.support for figures in report.attributes] == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title,description,shop\na 1,,x\n", "has none of the attributes brand, L0"),
        ("title,description,brand\na 1,,\n", "none of its 1 rows gives an attribute"),
        ("name,brand\na 1,nike\n", "no text column"),
    ],
)
def test_files_that_cannot_be_judged(
    predictor: AttributePredictor, tmp_path: Path, text: str, message: str
):
    (tmp_path / "in.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        evaluate_attributes(predictor, tmp_path / "in.csv")


def test_a_catalogue_is_filled_and_given_cells_stay(run: Path, files: Path, tmp_path: Path):
    arguments = ["predict", str(run / "model"), str(files / "tst.csv"), "--out"]
    assert main([*arguments, str(tmp_path / "filled.csv")]) == 0
    before, after = (read_catalogue(path) for path in (files / "tst.csv", tmp_path / "filled.csv"))
    assert after.num_rows == before.num_rows
    for name in ("brand", "L0", "L1", "L2", "L3", "L4"):
        pairs = list(zip(before.columns[name], after.columns[name], strict=True))
        assert all(old == new for old, new in pairs if old)
        assert sum(bool(new) for _, new in pairs) >= sum(bool(old) for old, _ in pairs)
    brands = [bool(brand) for brand in after.columns["brand"]]
    assert np.mean(brands) >= 0.99  # every item has a maker; of some the model is too unsure
    assert (tmp_path / "filled.review.jsonl").is_file()


@pytest.mark.parametrize("label_tree", ["taxonomy", "clusters_in_taxonomy"])
def test_label_tree_out_of_the_hierarchy(files: Path, tmp_path: Path, label_tree: str):
    arguments = [
        f"data.path={files / 'trn.csv'}",
        f"label_tree={label_tree}",
        "tree.max_leaf_size=20",
    ]
    assert train(["train", *SETTINGS, *arguments, f"paths.runs={tmp_path}"]) == 0
    result = json.loads((tmp_path / "attributes_demo" / "report.json").read_text())
    assert result["attributes"]["item_accuracy"] > 0.1


def test_rows_without_any_attribute_are_left_out(files: Path, tmp_path: Path):
    from xrt.config import build_all, compose, settings_types

    with open(files / "trn.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[:40]
    rows[1][4:] = [""] * len(rows[1][4:])
    with open(tmp_path / "few.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    overrides = [*SETTINGS, f"dataset.trn={tmp_path / 'few.csv'}", f"paths.runs={tmp_path}"]
    params, settings = build_all(settings_types(), compose(overrides))
    _, corpus, tst = AttributeHooks(settings).corpora(params, tmp_path)
    assert corpus.num_instances == 38
    assert tst is None
