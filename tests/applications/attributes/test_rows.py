"""Filling leaves alone what it does not fill: each sign of a text file, each type of a column."""

import csv
import io
import json
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attribute_stand_in import StandInPredictor
from xrt.applications.attributes.catalogue_settings import Reading
from xrt.applications.attributes.filling.filling import fill
from xrt.applications.attributes.filling.raw_rows import TableStyle, rewrite_json_row
from xrt.applications.attributes.filling.row_types import holds_texts
from xrt.errors import CapacityError, DataError

SCORES = ["brand_score", "L0_score", "L1_score", "row_score"]
FILLED = ["brand_filled", "L0_filled", "L1_filled"]
ADDED = [*SCORES, *FILLED]


def filled(tmp_path, content, name="in.csv", out="out.csv", **options):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    fill(StandInPredictor(), tmp_path / name, tmp_path / out, **options)
    return (tmp_path / out).read_bytes().decode()


def test_every_sign_of_a_csv_file_stays(tmp_path):
    text = (
        '\ufeff,"title", brand ,"no ""te"""\r\n'
        '0,"nike cap\r\n 9",, x\r\n'
        '"1","puma court 8","puma","a ""b"", c"\r\n'
        '2,nike "x" running 9, ,""\r\n'
    )
    result = filled(tmp_path, text)
    header, rest = result.split("\r\n", 1)
    assert header == '\ufeff,"title", brand ,"no ""te""",L0,L1,' + ",".join(ADDED)
    scores = ",0.9,0.9,0.9,0.729,true,true,true\r\n"
    assert rest == (
        f'0,"nike cap\r\n 9",nike, x,hat,cap{scores}'
        '"1","puma court 8","puma","a ""b"", c",shoe,court,0.8,0.8,0.8,0.512,false,true,true\r\n'
        f'2,nike "x" running 9,nike,"",shoe,running{scores}'
    )


def test_other_signs_between_cells_and_a_line_that_names_them_stay(tmp_path):
    result = filled(tmp_path, "title;brand;L0;L1;n\nnike cap 9;;;;1,5\n").splitlines()
    assert result[0] == ";".join(["title", "brand", "L0", "L1", "n", *ADDED])
    assert result[1].startswith("nike cap 9;nike;hat;cap;1,5;0.9;")
    result = filled(tmp_path, "sep=|\ntitle|brand|n\nnike cap 9||a,b\n").splitlines()
    assert result[:2] == ["sep=|", "|".join(["title", "brand", "n", "L0", "L1", *ADDED])]
    assert result[2].startswith("nike cap 9|nike|a,b|hat|cap|0.9|")


def test_every_sign_of_a_tsv_file_stays(tmp_path):
    text = 'title\t brand\tn\nnike cap 9\t\t"a ""b"""\n"nike" cap 9\tpuma\t 50" tv\n'
    result = filled(tmp_path, text, "in.tsv", "out.tsv").splitlines()
    assert result[0].split("\t")[:5] == ["title", " brand", "n", "L0", "L1"]
    assert result[1].split("\t")[:5] == ["nike cap 9", "nike", '"a ""b"""', "hat", "cap"]
    assert result[2].split("\t")[:3] == ['"nike" cap 9', "puma", ' 50" tv']


def test_every_sign_of_a_json_line_stays(tmp_path):
    lines = [
        '{"title":"nike cap 9",  "price":12.50,"big":12345678901234567890.123,"e":1E5 }',
        ' { " brand" : null , "title": "puma cap 9", "u": "\\u00e9\\ud800", "x": [ 1,2 ] }',
        '{"title": "nike cap 9", "a": 1, "a": 2, " brand": ["puma"]}',
    ]
    result = filled(tmp_path, "\r\n".join(lines) + "\r\n", "in.jsonl", "out.jsonl").split("\r\n")
    assert result[0].startswith(lines[0][:-2] + '," brand":"nike","L0":"hat","L1":"cap","brand_s')
    assert result[1].startswith(
        ' { " brand" : "puma" , "title": "puma cap 9", "u": "\\u00e9\\ud800", "x": [ 1,2 ], "L0": '
    )
    assert result[2].startswith(lines[2][:-1] + ', "L0": "hat"')
    assert json.loads(result[2])["brand_filled"] is False
    assert result[3:] == [""]


def test_columns_of_parquet_keep_name_and_type_where_they_can(tmp_path):
    class Sized(StandInPredictor):
        """The brands are sizes."""

    frame = pl.DataFrame(
        {
            "": [1, 2],
            "title ": ["nike cap 9", "puma cap 8"],
            " brand": pl.Series([None, "puma"], dtype=pl.Enum(["nike", "puma", "asics"])),
            "L0": pl.Series([None, "hat"], dtype=pl.Categorical),
            "L1": pl.Series([None, 5], dtype=pl.Int8),
            "when": pl.Series([1, None], dtype=pl.Duration),
            "bytes": [b"\xff", b""],
        }
    )
    frame.write_parquet(tmp_path / "in.parquet")
    fill(Sized(), tmp_path / "in.parquet", tmp_path / "out.parquet", chunk_rows=1)
    result = pl.read_parquet(tmp_path / "out.parquet")
    assert result.columns == [*frame.columns, *ADDED]
    remaining = ["", "title ", "when", "bytes"]
    assert result.select(remaining).equals(frame.select(remaining))
    assert result[" brand"].to_list() == ["nike", "puma"]
    assert (result.schema[" brand"], result.schema["L0"]) == (
        frame.schema[" brand"],
        pl.Categorical,
    )
    assert result["L1"].to_list() == ["cap", "5"]  # "cap" is no number


def test_which_types_hold_the_values():
    assert holds_texts(pl.Int16(), ["1", "2"])
    assert holds_texts(pl.Float64(), ["1", "2.5"])
    assert not holds_texts(pl.Int16(), ["1", "70000"])
    assert not holds_texts(pl.Int16(), ["1", "a"])
    assert holds_texts(pl.Enum(["a"]), ["a"])
    assert not holds_texts(pl.Enum(["a"]), ["b"])
    assert holds_texts(pl.Categorical(), ["b"])
    assert not holds_texts(pl.Boolean(), ["true"])
    assert not holds_texts(pl.Date(), ["2020-01-01"])


UNWRITABLE = {
    "bytes": (pl.Series([b"x"]), ("csv", "tsv", "jsonl"), r"Binary\); write \.parquet"),
    "span": (pl.Series([1], dtype=pl.Duration), ("csv", "tsv"), r"write \.jsonl or \.parquet"),
    "list": (pl.Series([["a"]]), ("csv", "tsv"), r"List\(String\)\); write \.jsonl or"),
    "record": (pl.Series([{"a": 1}]), ("csv",), "Struct"),
    "array": (pl.Series([[1, 2]], dtype=pl.Array(pl.Int8, 2)), ("csv",), "Array"),
    "bytes in lists": (pl.Series([[b"x"]]), ("csv", "jsonl"), r"write \.parquet"),
    "bytes in records": (pl.Series([{"a": [b"x"]}]), ("jsonl",), r"write \.parquet"),
}


@pytest.mark.parametrize("kind", UNWRITABLE)
def test_types_that_a_format_cannot_hold_are_told_before_any_work(tmp_path, kind):
    series, formats, message = UNWRITABLE[kind]
    pl.DataFrame({"title": ["nike cap 9"], "c": series}).write_parquet(tmp_path / "in.parquet")
    for format in formats:
        predictor = StandInPredictor()
        with pytest.raises(
            DataError, match=rf"out\.{format}: {format} cannot hold columns c .*{message}"
        ):
            fill(predictor, tmp_path / "in.parquet", tmp_path / f"out.{format}")
        assert predictor.num_rows == 0
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]
    fill(StandInPredictor(), tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet")["c"].to_list() == series.to_list()


WRITABLE = {
    "null": pl.Series([None], dtype=pl.Null),
    "big": pl.Series([2**100], dtype=pl.Int128),
    "unsigned": pl.Series([2**63], dtype=pl.UInt64),
    "money": pl.Series(["3.10"]).cast(pl.Decimal(10, 2)),
    "enum": pl.Series(["a"], dtype=pl.Enum(["a"])),
    "kind": pl.Series(["a"], dtype=pl.Categorical),
    "time": pl.Series([1_000], dtype=pl.Time),
    "date": pl.Series([1], dtype=pl.Date),
    "moment": pl.Series([1], dtype=pl.Datetime("ns", "UTC")),
    "float": pl.Series([float("nan")], dtype=pl.Float32),
    "truth": pl.Series([True]),
}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_all_other_types_are_written(tmp_path, suffix):
    frame = pl.DataFrame({"title": ["nike cap 9"], **WRITABLE})
    frame.write_parquet(tmp_path / "in.parquet")
    counts = fill(StandInPredictor(), tmp_path / "in.parquet", tmp_path / f"out.{suffix}")
    assert counts.filled["brand"] == 1


def test_an_attribute_that_is_no_value_is_no_empty_cell(tmp_path):
    for cell, kind in (({"name": "x"}, "dict"), ([["a"]], "list")):
        row = json.dumps({"title": "nike cap 9", "brand": cell})
        with pytest.raises(
            DataError, match=rf"line 1: column 'brand' has a {kind}, where an attri"
        ):
            filled(tmp_path, row, "in.jsonl", "out.jsonl")
    rows = [{"title": "nike cap 9"}, {"title": "nike cap 9", "brand": ["nike", "puma"]}]
    text = "\n".join(map(json.dumps, rows))
    with pytest.raises(DataError, match=r"in\.jsonl: row 2: column 'brand' holds a list of 2 val"):
        filled(tmp_path, text, "in.jsonl", "out.jsonl", chunk_rows=1)
    frame = pl.DataFrame({"title": ["nike cap 9"], "brand": [b"x"]})
    frame.write_parquet(tmp_path / "in.parquet")
    with pytest.raises(DataError, match="column 'brand' has Binary, where an attribute has one"):
        fill(StandInPredictor(), tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl"])
def test_bad_lines_are_set_aside_where_training_did_so(tmp_path, format):
    sign = {"csv": ",", "tsv": "\t"}.get(format, "")
    rows = [f"title{sign}brand", f"nike cap 9{sign}", "puma", f"asics 8{sign}"]
    if format == "jsonl":
        rows = ['{"title": "nike cap 9"}', "{puma", '{"title": "asics 8"}']
    path = tmp_path / f"in.{format}"
    path.write_text("\n".join(rows) + "\n")
    predictor, out = StandInPredictor(), tmp_path / "more" / f"out.{format}"
    with pytest.raises(
        DataError,
        match=rf"in\.{format}: line {rows.index('{puma') + 1 if format == 'jsonl' else 3}: ",
    ):
        fill(predictor, path, out)
    predictor.reading = Reading(skip_bad_lines=True)
    counts = fill(predictor, path, out)
    assert counts.num_rows == 2
    assert "1 bad lines were skipped and written to" in counts.to_text()
    aside = json.loads((tmp_path / "more" / f"in.{format}.bad-lines.jsonl").read_text())
    assert aside["content"] == rows[-2]


def test_the_format_that_training_named_is_that_of_files_that_tell_none(tmp_path):
    (tmp_path / "in.txt").write_text("title,brand\nnike cap 9,\n")
    with pytest.raises(DataError, match="fits no known format"):
        fill(StandInPredictor(), tmp_path / "in.txt", tmp_path / "out.csv")
    predictor = StandInPredictor()
    predictor.reading = Reading(format="csv")
    fill(predictor, tmp_path / "in.txt", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("nike cap 9,nike,hat,cap,")


def test_a_text_column_that_is_not_there_is_told(tmp_path):
    class TwoTexts(StandInPredictor):
        def __init__(self):
            super().__init__()
            self.schema = replace(self.schema, text_columns=["title", "note"])

    (tmp_path / "in.csv").write_text("title\nnike cap 9\n")
    counts = fill(TwoTexts(), tmp_path / "in.csv", tmp_path / "out.csv")
    assert counts.notes == ("no text column note: taken as empty",)


cells = st.text(st.sampled_from('ab",;|\r\n \té'), max_size=6)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=3),
    new=st.dictionaries(st.integers(0, 2), cells, max_size=3),
    added=st.lists(cells, max_size=2),
    delimiter=st.sampled_from(",;|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_changed_row_reads_as_its_cells(rows, new, added, delimiter, quoting):
    style = TableStyle("", "", delimiter, "\n", is_tsv=False)
    for row in rows:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=delimiter, quoting=quoting).writerow(row)
        result = style.row(buffer.getvalue().removesuffix("\r\n"), new, added)
        (back,) = csv.reader(io.StringIO(result, newline=""), delimiter=delimiter, strict=True)
        assert back == [new.get(i, cell) for i, cell in enumerate(row)] + added


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(
    record=st.dictionaries(st.text(max_size=3), values, max_size=4),
    new=st.dictionaries(st.text(max_size=2), st.text(max_size=3) | st.none(), max_size=3),
    indent=st.sampled_from([(", ", ": "), (",", ":"), (" ,  ", " : ")]),
    is_ascii=st.booleans(),
)
def test_a_changed_json_line_reads_as_its_values(record, new, indent, is_ascii):
    raw = json.dumps(record, separators=indent, ensure_ascii=is_ascii)
    added = {"a_score": 0.5} if "a_score" not in {*record, *new} else {}
    result = rewrite_json_row(f" {raw} ", new, added)
    assert json.loads(result) == record | new | added
    assert result.count("\n") - raw.count("\n") == 1
    if not new and record:
        assert result.startswith(f" {raw[:-1].rstrip()}")


@pytest.mark.parametrize("writer", ["write_parquet", "write_csv", "write_ndjson"])
def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch, writer):
    def full(*_, **__):
        raise pl.exceptions.ComputeError("No space left on device (os error 28)")

    (tmp_path / "in.tsv").write_text("title\nnike cap 9\n")
    monkeypatch.setattr(pl.DataFrame, writer, full)
    suffix = {"write_ndjson": "jsonl"}.get(writer, writer.removeprefix("write_"))
    with pytest.raises(CapacityError, match=rf"out\.{suffix}: .*disk full"):
        fill(StandInPredictor(), tmp_path / "in.tsv", tmp_path / f"out.{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["in.tsv"]


def test_what_polars_cannot_write_is_one_line(tmp_path, monkeypatch):
    class Panic(BaseException):
        """As PanicException, which is no Exception."""

    def panic(*_, **__):
        raise Panic("not yet implemented\nand a trace")

    (tmp_path / "in.tsv").write_text("title\nnike cap 9\n")
    monkeypatch.setattr(pl.DataFrame, "write_ndjson", panic)
    with pytest.raises(
        DataError, match=r"out\.jsonl: cannot be written as jsonl \(not yet impl.*\)"
    ):
        fill(StandInPredictor(), tmp_path / "in.tsv", tmp_path / "out.jsonl")
