"""Attribute benchmarks on a small catalogue: rows, the SVC peer, damage, records."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from bench.attribute_peer import AttributeRows, best_of_each
from bench.peers.linear_svc import attribute_values
from bench.rows import CatalogueRows
from bench.suites import attributes, corruption
from xrt.applications.attributes.data.catalogue import read_catalogue
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.space import AttributeSpace, make_value_table
from xrt.applications.attributes.predictor import AttributePredictions
from xrt.features.tfidf_params import TfidfParams

HEAD = ("title", "price", "brand", "kind")
BRANDS, KINDS = ("oak", "leaf", "mono"), ("mug", "lamp", "chair")
SCHEMA = AttributeSchema(
    text_columns=["title"], numeric_columns=["price"], targets=["brand", "kind"], hierarchy=[]
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: Any) -> CatalogueRows:
    folder = tmp_path_factory.mktemp("rows")
    every = [
        (f"{brand} {kind} model number {n}", str(10 + n), brand.title(), kind.title())
        for n in range(20) for brand in BRANDS for kind in KINDS
    ]  # fmt: skip
    unseen = ("plain mug model", "9", "Plain", "Mug")
    for name, chosen in (("trn", every[:160]), ("tst", [*every[160:], unseen])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([HEAD, *chosen])
    return CatalogueRows.read(folder / "trn.csv", folder / "tst.csv", SCHEMA)


def test_the_peer_finds_what_the_texts_say_and_the_record_tells_it(
    rows: CatalogueRows, tmp_path: Path
):
    shape = rows.write(tmp_path, TfidfParams(min_df=1))
    assert shape[0] == 160
    (tmp_path / "svc_costs.json").write_text('{"1": [10]}')
    predicted_NA, figures = attribute_values(AttributeRows.load(tmp_path), 1)
    assert [len(each["held_out_accuracy"]) for each in figures["chosen"]] == [3, 0]
    assert (predicted_NA[:-1] == rows.given_tst[:-1]).all()
    assert (rows.given_tst[-1] >= rows.num_known).tolist() == [True, False]
    line = {
        "system": "svc", "num_train": 160, "num_test": 21, "num_features": 9, "num_labels": 6,
        "threads": 1, "date": "2026-01-01", "commit": "abc", "load_average": 0.5,
        "machine": {"processor": "P", "processors": 2, "memory_gb": 8, "python": "3.11"},
        **attributes.judged(rows, predicted_NA), **figures,
    }  # fmt: skip
    record = attributes.render([line])
    assert "| svc | 0.9524 | 0.9524 / 0." in record  # the unseen brand counts as wrong
    assert " | 1.0000 / 1.0000 |" in record
    assert "kind: C = 10\n" in record
    assert "brand: C = 1 (held out: 0.1: 1.0000" in record


def test_labels_of_a_model_are_found_by_their_ids():
    theirs = AttributeSpace(
        ("kind", "brand"), (), make_value_table(["brand=a", "brand=b", "kind=k"])
    )
    ours = AttributeSpace(("brand", "kind", "size"), (), make_value_table(["kind=k", "brand=b"]))
    columns_NA = np.array([[2, 1], [2, 0], [-1, 1]], np.int32)
    found = AttributePredictions(theirs, columns_NA, np.ones((3, 2)), np.ones(3))
    assert attributes.columns_by_name(found, ours).tolist() == [
        [1, 0, -1],
        [-1, 0, -1],
        [1, -1, -1],
    ]


def test_the_best_label_of_each_attribute():
    scores_NL = sp.csr_array([[0.0, 0.2, 0.1, 0.3], [0.5, 0.2, 0.0, 0.0]]).toarray()
    found = best_of_each(scores_NL, np.array([0, 0, 1, -1]), 3)
    assert found.tolist() == [[1, 2, -1], [0, 2, -1]]


def test_damage_meets_text_columns_only(rows: CatalogueRows, tmp_path: Path):
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, ("wooden lantern", "12.5", "Oak", "Lamp")] * 1)
    table = read_catalogue(tmp_path / "a.csv")
    _, _, item_texts = read_attributes(table, SCHEMA)
    assert corruption.damaged(table, item_texts, "none", 0.0, 0) is table
    bare = corruption.damaged(table, item_texts, "vowels", 1.0, 0)
    assert bare.columns == table.columns | {"title": ["wdn lntrn"]}


def test_a_line_for_each_damage_and_a_column_for_each_system():
    report = {"item_accuracy": 0.5, "attributes": [{"scores": {"accuracy": a}} for a in (0.5, 1.0)]}
    lines = [
        {"system": system, "kind": kind, "rate": rate, "report": report, "num_test": 9,
         "trn": "trn.csv", "tst": "tst.csv", "date": "2026-01-01", "commit": "abc",
         "load_average": 0.5, "command": "c",
         "machine": {"processor": "P", "processors": 2, "memory_gb": 8, "python": "3.11"}}
        for system in ("a", "b") for kind, rate in corruption.KINDS
    ]  # fmt: skip
    record = corruption.render(lines)
    assert record.count("| 0.5000 / 0.7500 | 0.5000 / 0.7500 |") == len(corruption.KINDS)
    assert "| as they are |" in record
    assert "| typos 0.3 |" in record
