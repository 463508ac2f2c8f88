import gzip
import json
import lzma
import unicodedata

import polars as pl
import pytest

from xrt.applications.attributes.data.catalogue import (
    CatalogueTable,
    NotText,
    format_cell,
    parse_list,
    read_catalogue,
)
from xrt.errors import ConfigError, DataError

HEADER = "title,price,brand\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name="shop.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_cells_are_stripped_text_and_rows_may_run_over_lines(write):
    table = read_catalogue(write(HEADER + ' a pan ,"1,299.00 EUR",\n"two\nlines",,"A ""B"""\n'))
    assert table.columns == {
        "title": ["a pan", "two\nlines"],
        "price": ["1,299.00 EUR", ""],
        "brand": ["", 'A "B"'],
    }
    assert (table.num_rows, table.names, table.notes) == (2, ("title", "price", "brand"), ())


def test_the_formats_give_the_same_table(write, tmp_path):
    rows = [("red pan", "12.5", "Norvelle"), ("blé mug", "", ""), ("cup", "3", "A & B")]
    text = "\n".join(["title,price,brand", *(",".join(row) for row in rows)]) + "\n"
    csv = read_catalogue(write(text))
    tsv = read_catalogue(write(text.replace(",", "\t"), "shop.tsv"))
    semicolons = read_catalogue(write(text.replace(",", ";"), "semicolons.csv"))
    packed = read_catalogue(write(gzip.compress(text.encode()), "shop.csv.gz"))
    packed_xz = read_catalogue(write(lzma.compress(text.encode()), "shop.csv.xz"))
    records = [
        {"title": t, "price": float(p) if p else None, "brand": b or None} for t, p, b in rows
    ]
    jsonl = read_catalogue(write("\n".join(map(json.dumps, records)), "shop.jsonl"))
    pl.DataFrame(records).write_parquet(tmp_path / "shop.parquet")
    parquet = read_catalogue(tmp_path / "shop.parquet")
    for table in (tsv, semicolons, packed, packed_xz, jsonl, parquet):
        assert table.columns == csv.columns, table.path
    assert CatalogueTable.from_items(records).columns == csv.columns


def test_plain_csv_is_read_as_polars_reads_it(write):
    lines = [f'thing {i},"{i % 7},5",{"" if i % 3 else "Ü"}' for i in range(60_000)]
    path = write(HEADER + "\n".join(lines) + "\n")
    frame = pl.read_csv(path, infer_schema=False).with_columns(pl.all().fill_null(""))
    assert read_catalogue(path).columns == frame.to_dict(as_series=False)


def test_lines_that_are_not_utf8_are_read_as_windows_1252_and_counted(write):
    lines = [b"title,brand", "blé,Ü".encode(), "blé – €".encode("cp1252") + b",x", b"\x81,y"]
    table = read_catalogue(write(b"\n".join(lines)))
    assert table.columns["title"] == ["blé", "blé – €", "\ufffd"]
    assert table.notes == ("2 lines were not UTF-8 and read as Windows-1252",)
    one = read_catalogue(write('{"title": "é"}\n'.encode("latin-1"), "shop.jsonl"))
    assert one.columns == {"title": ["é"]}
    assert one.notes == ("1 line was not UTF-8 and read as Windows-1252",)


def test_a_bad_line_is_one_error_or_skipped_and_written_aside(write, tmp_path):
    path = write(HEADER + "a,1,x\nb,2\nc,3,y\n")
    with pytest.raises(DataError, match=r"line 3: 2 columns where the header has 3"):
        read_catalogue(path)
    table = read_catalogue(path, skip_bad_lines=True, bad_lines_folder=tmp_path / "bad")
    assert table.columns["title"] == ["a", "c"]
    assert table.skipped_rows == (1,)
    aside = tmp_path / "bad" / "shop.csv.bad-lines.jsonl"
    assert table.bad_lines_path == str(aside)
    assert json.loads(aside.read_text())["line"] == 3
    assert table.messages() == [f"{path}: 1 bad lines were skipped and written to {aside}"]
    with pytest.raises(DataError, match="no row is good"):
        read_catalogue(write(HEADER + "a\n"), skip_bad_lines=True, bad_lines_folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("shop.csv", "", "empty"),
        ("shop.csv", "title,brand\n", "no rows"),
        ("shop.csv", "title,title\na,b\n", "'title' stands there twice"),
        ("shop.csv", 'title\n"open\n', "never closed"),
        ("shop.jsonl", "[1]\n", "line 1: a JSON list"),
        ("shop.parquet", "no parquet", "not a readable Parquet file"),
        ("shop.txt", "2 3 4\n1 0:1\n", "bow has no named columns"),
        ("shop.csv", "\ufefftitle\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_bad_files_are_one_clear_error(write, name, content, words):
    with pytest.raises(DataError, match=words):
        read_catalogue(write(content, name))


def test_an_unknown_format_and_a_file_that_is_not_there(write):
    with pytest.raises(ConfigError, match="csv, tsv, parquet, jsonl"):
        read_catalogue(write("a\nb\n"), format="xlsx")
    with pytest.raises(DataError, match="no such file"):
        read_catalogue(write("a\nb\n").with_name("other.csv"))
    assert read_catalogue(write("a\nb\n", "shop.txt"), format="csv").columns == {"a": ["b"]}


def test_some_columns_only(write):
    path = write("a,b,c\n1,2,3\n")
    table = read_catalogue(path, columns=["c", "z"])
    assert table.columns == {"c": ["3"]}
    with pytest.raises(DataError, match="no text column t; the columns are a, b, c: name texts"):
        table.require(["t"], "text", "texts")
    with pytest.raises(DataError, match="no column z; the columns are a, b, c"):
        read_catalogue(path, columns=["z"])


def test_records_with_other_keys_and_other_values(write, tmp_path):
    lines = ['{"a": 1, "tags": ["x", "y"]}', '{"b": true, "a": null}', '{"a": {"deep": 1}}']
    table = read_catalogue(write("\n".join(lines), "shop.jsonl"))
    assert table.columns == {
        "a": ["1", "", ""],
        "tags": ['["x", "y"]', "", ""],
        "b": ["", "true", ""],
    }
    assert table.notes == ("column 'a': 1 cells are neither text nor number and were left empty",)
    frame = pl.DataFrame({"a": [1, None], "tags": [["x", "y"], []], "o": [{"p": 1}, {"p": 2}]})
    frame = frame.with_columns(d=pl.date(2024, 1, 31), k=pl.lit("k").cast(pl.Categorical), n=None)
    frame.write_parquet(tmp_path / "shop.parquet")
    table = read_catalogue(tmp_path / "shop.parquet")
    assert {name: cells[0] for name, cells in table.columns.items()} == {
        "a": "1", "tags": '["x", "y"]', "d": "2024-01-31", "k": "k", "n": ""
    }  # fmt: skip
    assert table.notes == ("columns left out, neither text nor number: o",)
    with pytest.raises(DataError, match="item 2 holds a dict"):
        CatalogueTable.from_items([{"a": 1}, {"a": {}}])
    with pytest.raises(DataError, match="no items"):
        CatalogueTable.from_items([])


def test_a_header_cell_may_be_blank(write):
    assert read_catalogue(write(",a\n0,x\n")).columns == {"column 1": ["0"], "a": ["x"]}


def test_equal_cells_share_a_string_and_a_subset_keeps_the_order(write):
    lines = [f"long title number {i},{i % 2},a brand with a long name" for i in range(300)]
    table = read_catalogue(write(HEADER + "\n".join(lines)))
    assert len({id(cell) for cell in table.columns["brand"]}) == 1
    assert table.subset([5, 0]).columns["title"] == ["long title number 5", "long title number 0"]
    with pytest.raises(DataError, match="make them equal"):
        CatalogueTable({"a": ["1"], "b": []})


def test_rows_keep_their_places_over_many_batches(write, tmp_path):
    records = [{"a": i} | ({"b": "late"} if i > 1000 else {}) for i in range(1203)]
    table = read_catalogue(write("\n".join(map(json.dumps, records)), "shop.jsonl"))
    assert table.columns["a"] == [str(i) for i in range(1203)]
    assert table.columns["b"] == [""] * 1001 + ["late"] * 202
    lines = [f"{i},x" if i != 777 else "broken" for i in range(1203)]
    path = write("\n".join(["a,b", *lines]))
    table = read_catalogue(path, skip_bad_lines=True, bad_lines_folder=tmp_path)
    assert table.columns["a"] == [str(i) for i in range(1203) if i != 777]
    assert table.skipped_rows == (777,)


def test_cells_are_the_same_whatever_type_they_came_in():
    assert [format_cell(value) for value in (39.0, 39, 2.5, True, None, float("nan"))] == [
        *("39", "39", "2.5", "true", "", "")
    ]
    assert format_cell(9007199254740993) == "9007199254740993"
    assert format_cell(["Acme"]) == format_cell(["Acme", None, " Acme "]) == "Acme"
    assert format_cell([]) == ""
    assert format_cell(["b", 1, "b"]) == '["b", "1"]'
    for value in ({"a": 1}, [["a"]], [{}], b"x"):
        with pytest.raises(NotText):
            format_cell(value)


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        ('["a", "b"]', ["a", "b"]),
        ("['a', 'b', 'a']", ["a", "b"]),
        ("[]", []),
        ('[" a "]', ["a"]),
        ("[a]", None),
        ("[1, 2]", None),
        ('["a", ["b"]]', None),
        ("['a", None),
        ("[" * 9000 + "]", None),
        ("['a'.upper()]", None),
        ("", None),
    ],
)
def test_lists_in_cells_of_text(cell, parts):
    assert parse_list(cell) == parts


def test_columns_are_matched_by_clean_names(write, tmp_path):
    needed = {"title": ["pan"], "Größe": ["39"]}
    name = unicodedata.normalize("NFD", " Größe\u200b")
    csv = write(f"\ufefftitle ,{name}\npan,39\n")
    jsonl = write(json.dumps({"title ": "pan", name: 39.0}), "shop.jsonl")
    pl.DataFrame({"title ": ["pan"], name: [39.0]}).write_parquet(tmp_path / "shop.parquet")
    for path in (csv, jsonl, tmp_path / "shop.parquet"):
        assert read_catalogue(path).columns == needed
    assert CatalogueTable.from_items([{"title ": "pan", name: 39.0}]).columns == needed
    for path in (write("a, a\n1,2\n"), write('{"a": 1, " a": 2}', "shop.jsonl")):
        with pytest.raises(DataError, match="column 'a' stands there twice"):
            read_catalogue(path)


def test_types_of_parquet_that_are_no_text_are_left_out_and_told(tmp_path):
    frame = pl.DataFrame(
        {
            "a": ["x"],
            "bytes": [b"x"],
            "time": pl.Series([1], dtype=pl.Duration),
            "big": pl.Series([2**100], dtype=pl.Int128),
            "money": pl.Series(["3.00"]).cast(pl.Decimal(10, 2)),
            "lists": [["p", "q"]],
            "none": pl.Series([None], dtype=pl.Null),
            "kind": pl.Series(["k"], dtype=pl.Enum(["k"])),
            "deep": [[["x"]]],
        }
    )
    frame.write_parquet(tmp_path / "shop.parquet")
    table = read_catalogue(tmp_path / "shop.parquet")
    assert {name: cells[0] for name, cells in table.columns.items()} == {
        "a": "x", "big": str(2**100), "money": "3", "lists": '["p", "q"]', "none": "", "kind": "k"
    }  # fmt: skip
    assert set(table.no_text) == {"bytes", "time", "deep"}
    with pytest.raises(DataError, match=r"target column bytes \(Binary\) holds neither text nor"):
        table.require(["bytes"], "target", "targets")


def test_the_format_that_is_named_counts(write):
    path = write("title,brand\npan,Acme\n", "shop.txt")
    assert read_catalogue(path, format="csv").columns["brand"] == ["Acme"]
    with pytest.raises(DataError, match=r"shop\.txt: line 1: .* fits no known format"):
        read_catalogue(path)
    with pytest.raises(
        ConfigError, match="format = 'bow': no format of a catalogue; choose one of"
    ):
        read_catalogue(path, format="bow")
