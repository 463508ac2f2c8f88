import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attribute_stand_in import StandInPredictions, StandInPredictor
from tests.reference.slow_filling import decide_cell, decide_levels
from xrt.applications.attributes.data.catalogue import CatalogueTable, read_catalogue
from xrt.applications.attributes.filling.cell_codes import CellCodes
from xrt.applications.attributes.filling.decision import (
    CellPredictions,
    NoneLabels,
    decide,
    find_written_cells,
)
from xrt.applications.attributes.filling.filling import fill
from xrt.applications.attributes.filling.review import Review, make_review_path
from xrt.applications.attributes.filling.row_writers import open_row_writer, parse_row_suffix
from xrt.errors import ConfigError, DataError

ROWS = [
    # sku, title, brand, L0, L1, note
    ["007", "nike running shoe 9", "", "", "", ' a "quoted" cell, with comma '],
    ["008", "puma cap 8", "puma", "hat", "", "line one\nline two"],
    ["009", "puma beanie 7", "Pumma", "hat", "beanie", "  blanks  "],
    ["010", "asics court 6", "nike", "", "", ""],
    ["011", "plain thing 5", "N/A", "shoe", "", "1,299.00 EUR"],
    ["012", "plain thing 4", "", "hat", "", "é ü 東"],
    ["013", "nike cap 9", "nike", "shoe", "  ", "\ttab"],
]
NAMES = ["sku", "title", "brand", "L0", "L1", "note"]
ADDED = [
    *("brand_score", "L0_score", "L1_score", "row_score"),
    *("brand_filled", "L0_filled", "L1_filled"),
]


def write_csv(path: Path, rows=ROWS, names=NAMES) -> Path:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([names, *rows])
    path.write_text(buffer.getvalue(), encoding="utf-8")
    return path


def read_rows(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def source(tmp_path) -> Path:
    return write_csv(tmp_path / "in.csv")


def test_missing_cells_are_filled_and_scored(tmp_path, source):
    counts = fill(StandInPredictor(), source, tmp_path / "out.csv", min_probability=0.0)
    rows = read_rows(tmp_path / "out.csv")
    assert list(rows[0]) == [*NAMES, *ADDED]
    result = [[row["brand"], row["L0"], row["L1"].strip()] for row in rows]
    assert result == [
        ["nike", "shoe", "running"],
        ["puma", "hat", "cap"],
        ["Pumma", "hat", "beanie"],
        ["nike", "shoe", "court"],
        ["N/A", "shoe", "running"],  # the L1 goes with the L0 that the row gives
        ["", "hat", ""],  # the model says none, which this catalogue leaves empty
        ["nike", "shoe", "running"],
    ]
    assert [row["brand_filled"] for row in rows] == ["true", *["false"] * 6]
    assert [row["L1_filled"] for row in rows] == [
        *("true", "true", "false"),
        *("true", "true"),
        "false",
        "true",
    ]
    assert counts.filled == {"brand": 1, "L0": 2, "L1": 5}
    assert counts.none == {"brand": 1, "L0": 0, "L1": 1}
    assert counts.num_rows == 7
    # filled: the value's; given: the given value's; of a value the model never saw: nothing
    assert [row["brand_score"] for row in rows] == ["0.9", "0.8", "", "0.1", "0.5", "0.4", "0.9"]


def test_what_is_given_stays_as_it_was(tmp_path, source):
    fill(StandInPredictor(), source, tmp_path / "out.csv")
    before, after = read_rows(source), read_rows(tmp_path / "out.csv")
    for old, new in zip(before, after, strict=True):
        for name in NAMES:
            if old[name].strip() or name not in ("brand", "L0", "L1"):
                assert new[name] == old[name]
    # a row whose attributes are all given keeps its bytes
    assert "009,puma beanie 7,Pumma,hat,beanie,  blanks  ," in (tmp_path / "out.csv").read_text()


def test_overwrite_replaces_what_the_model_would_write_otherwise(tmp_path, source):
    fill(StandInPredictor(), source, tmp_path / "out.csv", overwrite=True, min_probability=0.7)
    rows = read_rows(tmp_path / "out.csv")
    assert [row["brand"] for row in rows] == ["nike", "puma", "puma", "nike", "N/A", "", "nike"]
    assert [row["L0"] for row in rows] == ["shoe", "hat", "hat", "", "shoe", "hat", "hat"]
    assert rows[2]["brand_filled"] == "true"
    assert rows[1]["brand_filled"] == "false"
    assert rows[6]["L1"] == "cap"
    assert float(rows[6]["row_score"]) == pytest.approx(0.9**3)  # not steered by what was given


def test_cells_below_the_least_probability_stay_empty(tmp_path, source):
    counts = fill(StandInPredictor(), source, tmp_path / "out.csv", min_probability=0.85)
    rows = read_rows(tmp_path / "out.csv")
    assert [row["L1"].strip() for row in rows] == ["running", "", "beanie", "", "", "", ""]
    assert [row["L1_score"] for row in rows][1] == ""
    assert counts.unsure == {"brand": 1, "L0": 1, "L1": 5}
    assert counts.filled == {"brand": 1, "L0": 1, "L1": 1}


def test_none_is_written_where_an_empty_cell_does_not_say_it(tmp_path, source):
    predictor = StandInPredictor(empty="missing", none_values=["na", "n/a"])
    counts = fill(predictor, source, tmp_path / "out.csv", min_probability=0.4)
    row = read_rows(tmp_path / "out.csv")[5]
    assert (row["brand"], row["L1"], row["brand_filled"]) == ("na", "na", "true")
    assert counts.none == {"brand": 0, "L0": 0, "L1": 0}


def test_disagreements_are_reviewed_most_confident_first(tmp_path, source):
    counts = fill(StandInPredictor(), source, tmp_path / "out.csv")
    lines = (tmp_path / "out.review.jsonl").read_text().splitlines()
    result = [json.loads(line) for line in lines]
    lines = [(r["row"], r["attribute"], r["given"], r["predicted"]) for r in result]
    assert lines == [
        (7, "L0", "shoe", "hat"),
        (3, "brand", "Pumma", "puma"),
        (4, "brand", "nike", "asics"),
        (5, "L0", "shoe", "hat"),
    ]
    assert result[0]["predicted_score"] == 0.9
    assert result[0]["text"] == "nike cap 9"
    assert result[1]["given_score"] is None  # a value that the model never saw
    assert result[2]["given_score"] == pytest.approx(0.1)
    assert counts.disagreements == {"brand": 2, "L0": 2, "L1": 0}
    assert counts.to_text().splitlines()[-1].startswith("next: look through 4 disagreements in ")


def test_a_given_none_is_reviewed_too(tmp_path):
    source = write_csv(tmp_path / "in.csv", [["nike cap 9", "none"]], ["title", "brand"])
    fill(StandInPredictor(), source, tmp_path / "out.csv", review_path=tmp_path / "r.csv")
    (row,) = read_rows(tmp_path / "r.csv")
    assert (row["given"], row["predicted"]) == ("none", "nike")
    assert read_rows(tmp_path / "out.csv")[0]["brand"] == "none"


def test_a_review_keeps_the_most_confident_of_too_many():
    review = Review(("a", "b"), limit=3)
    for start in range(0, 40, 10):
        rows = np.arange(start + 1, start + 11)
        scores = (rows % 7) / 10
        texts = ["x"] * 10
        review.add("b", rows, texts, scores, texts, scores, texts)
        review.add("a", rows[:1], texts[:1], scores[:1], texts[:1], scores[:1], texts[:1])
        assert len(review._rows) <= 6 + 10
    assert review.counts == {"a": 4, "b": 40}
    assert review._best()["row"].to_list() == [6, 13, 20]


def test_absent_attribute_columns_are_added_behind_the_others(tmp_path):
    source = write_csv(tmp_path / "in.csv", [["1", "nike running 9"]], ["id", "title"])
    fill(StandInPredictor(), source, tmp_path / "out.csv")
    (row,) = read_rows(tmp_path / "out.csv")
    assert list(row) == ["id", "title", "brand", "L0", "L1", *ADDED]
    assert [row[name] for name in ("brand", "L0", "L1")] == ["nike", "shoe", "running"]


@pytest.mark.parametrize("name", ["in.csv", "in.tsv", "in.jsonl", "in.parquet"])
@pytest.mark.parametrize("out", ["out.csv", "out.tsv", "out.jsonl", "out.parquet", "out.csv.gz"])
def test_every_format_says_the_same(tmp_path, name, out):
    rows = [[cell.replace("\n", " ").replace("\t", "") for cell in row] for row in ROWS]
    frame = pl.DataFrame([[cell or None for cell in row] for row in rows], NAMES, orient="row")
    with open_row_writer(tmp_path / name) as write:
        write(frame, None)
    fill(StandInPredictor(), tmp_path / name, tmp_path / out)
    fill(StandInPredictor(), write_csv(tmp_path / "plain.csv", rows), tmp_path / "plain.out.csv")
    result, expected = read_catalogue(tmp_path / out), read_catalogue(tmp_path / "plain.out.csv")
    assert result.columns == expected.columns
    reviews = [(tmp_path / f"{stem}.review.jsonl").read_bytes() for stem in ("out", "plain.out")]
    assert reviews[0] == reviews[1]


@pytest.mark.parametrize("out", ["out.csv", "out.jsonl", "out.parquet"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_row_by_row_equals_all_at_once(tmp_path, source, out, overwrite):
    options = {"overwrite": overwrite, "min_probability": 0.6}
    whole = fill(StandInPredictor(), source, tmp_path / out, **options)
    single = fill(StandInPredictor(), source, tmp_path / f"1.{out}", chunk_rows=1, **options)
    if out.endswith(".parquet"):
        assert pl.read_parquet(tmp_path / out).equals(pl.read_parquet(tmp_path / f"1.{out}"))
    else:
        assert (tmp_path / out).read_bytes() == (tmp_path / f"1.{out}").read_bytes()
    assert whole.filled == single.filled
    reviews = [(tmp_path / f"{stem}.review.jsonl").read_bytes() for stem in ("out", "1.out")]
    assert reviews[0] == reviews[1]


def test_parquet_keeps_the_types_of_other_columns(tmp_path):
    frame = pl.DataFrame(
        {
            "title": ["nike cap 9", "puma court 8"],
            "price": [1.5, None],
            "tags": [["a", "b"], []],
            "brand": pl.Series([None, "puma"], dtype=pl.Categorical),
        }
    )
    frame.write_parquet(tmp_path / "in.parquet")
    fill(StandInPredictor(), tmp_path / "in.parquet", tmp_path / "out.parquet")
    result = pl.read_parquet(tmp_path / "out.parquet")
    assert result.select("title", "price", "tags").equals(frame.select("title", "price", "tags"))
    assert result["brand"].to_list() == ["nike", "puma"]
    assert result.schema["brand_filled"] == pl.Boolean
    with pytest.raises(
        DataError, match=r"csv cannot hold columns tags \(List\(String\)\); write \.jsonl"
    ):
        fill(StandInPredictor(), tmp_path / "in.parquet", tmp_path / "out.csv")


def test_json_objects_keep_their_values_and_keys(tmp_path):
    rows = [
        {"title": "nike cap 9", "price": 12.50, "tags": ["a"], "more": {"x": None}},
        {"title": "puma court 8", "brand": "puma", "id": 7},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    fill(StandInPredictor(), tmp_path / "in.jsonl", tmp_path / "out.jsonl", chunk_rows=1)
    result = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {key: result[0][key] for key in rows[0]} == rows[0]
    assert (result[0]["brand"], result[0]["L1"], result[0]["brand_score"]) == ("nike", "cap", 0.9)
    assert list(result[1])[:3] == ["title", "brand", "id"]
    fill(StandInPredictor(), tmp_path / "in.jsonl", tmp_path / "out.csv")
    assert read_rows(tmp_path / "out.csv")[0]["tags"] == '["a"]'


def test_lines_that_are_not_utf8_are_read_and_told(tmp_path):
    (tmp_path / "in.csv").write_bytes("title,shop\nnike cap 9,Caf\xe9\n".encode("cp1252"))
    counts = fill(StandInPredictor(), tmp_path / "in.csv", tmp_path / "out.csv")
    assert read_rows(tmp_path / "out.csv")[0]["shop"] == "Café"
    assert "1 line was not UTF-8 and read as Windows-1252" in counts.to_text()


class Interrupted(StandInPredictor):
    def predict(self, table, cells_NA=None):
        if self.num_rows >= 4:
            raise KeyboardInterrupt
        return super().predict(table, cells_NA)


@pytest.mark.parametrize("out", ["out.csv", "out.jsonl.gz", "out.parquet"])
def test_an_interruption_leaves_what_was_there(tmp_path, source, out):
    (tmp_path / out).write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        fill(Interrupted(), source, tmp_path / out, chunk_rows=1)
    assert (tmp_path / out).read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.csv", out])


def test_a_bad_row_is_named_and_nothing_is_written(tmp_path):
    rows = [*ROWS[:1], ["1", "nike cap 9"]]
    source = write_csv(tmp_path / "in.csv", rows)
    with pytest.raises(DataError, match=r"in\.csv: line 3: 2 columns where the header has 6"):
        fill(StandInPredictor(), source, tmp_path / "out.csv", chunk_rows=1)
    (tmp_path / "in.jsonl").write_text('{"title": "nike cap 9"}\n{broken\n')
    with pytest.raises(DataError, match=r"in\.jsonl: line 2: broken JSON"):
        fill(StandInPredictor(), tmp_path / "in.jsonl", tmp_path / "out.csv")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        (["name"], [["a"]], "no text column title; the columns are name"),
        (["title", "brand_score"], [["a 1", "1"]], "columns brand_score would be added, but are"),
        (["title", "row_score"], [["a 1", "1"]], "columns row_score would be added"),
        (["title"], [], "no rows; give at least one"),
    ],
)
def test_catalogues_that_cannot_be_filled(tmp_path, names, rows, message):
    source = write_csv(tmp_path / "in.csv", rows, names)
    with pytest.raises(DataError, match=message):
        fill(StandInPredictor(), source, tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("out.xlsx", {}, r"rows are written to \.csv, \.tsv, \.jsonl, \.parquet"),
        ("out.parquet.gz", {}, "rows are written to"),
        ("in.csv", {}, "would overwrite the input"),
        ("out.csv", {"min_probability": 1.5}, "must lie in 0..1"),
        ("out.csv", {"review_path": "out.txt"}, "rows are written to"),
    ],
)
def test_settings_that_cannot_be(tmp_path, source, out, options, message):
    with pytest.raises(ConfigError, match=message):
        fill(StandInPredictor(), source, tmp_path / out, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]


def test_names_of_files():
    assert make_review_path("a/filled.parquet") == Path("a/filled.review.jsonl")
    assert make_review_path("a/my.rows.csv.gz") == Path("a/my.rows.review.jsonl")
    assert parse_row_suffix("X.CSV.XZ") == ".csv"


def test_packed_output_is_the_same_text(tmp_path, source):
    fill(StandInPredictor(), source, tmp_path / "out.csv")
    fill(StandInPredictor(), source, tmp_path / "out.csv.gz", chunk_rows=2)
    assert (
        gzip.decompress((tmp_path / "out.csv.gz").read_bytes())
        == (tmp_path / "out.csv").read_bytes()
    )


def test_codes_of_cells():
    predictor = StandInPredictor()
    table = CatalogueTable({"title": ["", "", "", ""], "brand": ["nike", "NULL", "reebok", ""]})
    codes = CellCodes(predictor.schema, predictor.space).codes_NA(table)
    index = predictor.space.labels.index
    assert codes[:, 0].tolist() == [index["brand=nike"], index["brand=<none>"], -2, -1]
    assert (codes[:, 1:] == -1).all()


cells = st.tuples(
    *(st.integers(-2, 3), st.integers(-1, 3), st.sampled_from([0.1, 0.5, 0.9])),
    *(st.integers(-1, 3), st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.2, 0.6])),
)


@settings(max_examples=100, deadline=None)
@given(cells=st.lists(cells, min_size=1, max_size=12), overwrite=st.booleans())
def test_decisions_equal_the_rules_cell_by_cell(cells, overwrite):
    is_blank_L = np.array([False, True, False, True])
    code, free, free_score, done, done_score, given_score = (
        np.array(column)[:, None] for column in zip(*cells, strict=True)
    )
    rows = np.zeros(len(cells))
    predictions = CellPredictions(
        StandInPredictions(free, free_score, rows),
        StandInPredictions(done, done_score, rows),
        given_score,
    )
    labels = NoneLabels(is_blank_L, is_blank_L)
    result = decide(code, predictions, labels, 0.5, overwrite)
    for n, cell in enumerate(cells):
        column, score, outcome, disagrees = decide_cell(*cell, {1, 3}, 0.5, overwrite)
        assert result.is_filled_NA[n, 0] == (outcome == "filled")
        assert result.is_none_NA[n, 0] == (outcome == "none")
        assert result.is_unsure_NA[n, 0] == (outcome == "unsure")
        assert result.disagrees_NA[n, 0] == disagrees
        assert column is None or result.columns_NA[n, 0] == column
        assert result.scores_NA[n, 0] == pytest.approx(
            np.nan if score is None else score, nan_ok=True
        )


def test_nothing_is_written_that_is_more_likely_wrong(tmp_path):
    rows = [["nike cap 5", "", ""], ["nike cap 4", "", ""]]
    source = write_csv(tmp_path / "in.csv", rows, ["title", "brand", "L0"])
    counts = fill(StandInPredictor(), source, tmp_path / "out.csv")
    assert [row["brand"] for row in read_rows(tmp_path / "out.csv")] == ["nike", ""]
    assert counts.unsure == {"brand": 1, "L0": 1, "L1": 1}
    assert counts.to_text().splitlines()[-1].startswith("next: look at the empty cells of")


class SureOfTheLeaf(StandInPredictor):
    """As the stand-in, but sure of L1 and doubtful of L0."""

    def predict(self, table, cells_NA=None):
        result = super().predict(table, cells_NA)
        result.probabilities_NA[:, 1] = 0.3
        result.probabilities_NA[:, 2] = 0.9
        return result


def test_nothing_is_written_below_an_empty_level(tmp_path):
    rows = [["nike cap 9", "", ""], ["nike cap 9", "hat", ""], ["nike cap 9", "n/a", ""]]
    rows += [["nike cap 9", "", "cap"], ["nike cap 9", "Hats", ""]]  # "Hats" is new to the model
    source = write_csv(tmp_path / "in.csv", rows, ["title", "L0", "L1"])
    counts = fill(SureOfTheLeaf(), source, tmp_path / "out.csv")
    result = [(row["L0"], row["L1"]) for row in read_rows(tmp_path / "out.csv")]
    assert result == [("", ""), ("hat", "cap"), ("n/a", ""), ("", "cap"), ("Hats", "cap")]
    assert (counts.filled["L1"], counts.unsure["L1"]) == (2, 2)
    fill(SureOfTheLeaf(), source, tmp_path / "over.csv", overwrite=True)
    assert [row["L1"] for row in read_rows(tmp_path / "over.csv")] == ["", "cap", "", "cap", "cap"]


level_cells = st.tuples(st.integers(-2, 3), st.integers(-1, 3), st.sampled_from([0.2, 0.8]))


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(level_cells, level_cells, level_cells), min_size=1, max_size=8),
    overwrite=st.booleans(),
    none_is_blank=st.booleans(),
)
def test_levels_equal_the_rules_row_by_row(rows, overwrite, none_is_blank):
    none = np.array([False, False, False, True])
    cells = np.array(rows)
    code, chosen = cells[:, :, 0].astype(int), cells[:, :, 1].astype(int)
    values = StandInPredictions(chosen, cells[:, :, 2], np.zeros(len(rows)))
    labels = NoneLabels(none, none if none_is_blank else np.zeros(4, bool), (2, 0, 1))
    result = decide(
        code, CellPredictions(values, values, np.zeros(code.shape)), labels, 0.5, overwrite
    )
    for n, row in enumerate(rows):
        written = decide_levels([row[a] for a in labels.levels], {3}, 0.5, overwrite)
        decided = (result.is_filled_NA | result.is_none_NA)[n, list(labels.levels)]
        assert decided.tolist() == written
    empty = decide(
        np.full_like(code, -1), CellPredictions(values, values, np.zeros(code.shape)), labels
    )
    assert (find_written_cells(values, labels) == empty.is_filled_NA & (chosen != 3)).all()
