"""The grammar of CSV and TSV, by inputs in which quotes, delimiters or line ends are odd."""

import gzip

import pytest

from xrt.data import read_corpus
from xrt.data.delimited import csv_rows, read_header, tsv_rows, unquoted
from xrt.errors import DataError


@pytest.fixture
def rows(tmp_path):
    def read(text, reader=csv_rows):
        path = tmp_path / "table"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return list(reader(path))

    return read


def cells(lines):
    return [list(line.cells) for line in lines if not line.fault]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a,b\n"x, 1",y\n', [["a", "b"], ["x, 1", "y"]]),
        ('a;b\n"x, 1";y\n', [["a", "b"], ["x, 1", "y"]]),
        ("a\tb\nx\ty\n", [["a", "b"], ["x", "y"]]),
        ('"Product\nname";labels\nfoo;a\n', [["Product\nname", "labels"], ["foo", "a"]]),
        ('"a, b";c\n"x";y\n', [["a, b", "c"], ["x", "y"]]),
        ("name;size, cm;kind\nx;1;y\n", [["name", "size, cm", "kind"], ["x", "1", "y"]]),
        (
            "text,labels (a;b;c)\nx,y;z\nu,v\n",
            [["text", "labels (a;b;c)"], ["x", "y;z"], ["u", "v"]],
        ),
        ("\n  \n\na,b\nx,y\n", [["a", "b"], ["x", "y"]]),
        ("\ufeffa,b\nx,y\n", [["a", "b"], ["x", "y"]]),
        ('\ufeff"a","b"\r\nx,y\r\n', [["a", "b"], ["x", "y"]]),
        ("sep=;\na;b\nx, 1;y\n", [["a", "b"], ["x, 1", "y"]]),
        ('"sep=|"\na|b\nx|y\n', [["a", "b"], ["x", "y"]]),
        ("a,b\nx,y", [["a", "b"], ["x", "y"]]),
        ('a,b\n50" tv,y\n', [["a", "b"], ['50" tv', "y"]]),
        ('a,b\n"50"" tv",y\n', [["a", "b"], ['50" tv', "y"]]),
        ('a,b\n"x\r\nz",y\r\n', [["a", "b"], ["x\r\nz", "y"]]),
        ("a,b\n,\n\n  \nx,y\n", [["a", "b"], ["", ""], ["x", "y"]]),
    ],
)
def test_csv(rows, text, expected):
    lines = rows(text)
    assert cells(lines) == expected
    assert not any(line.fault or line.note for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a\tb\n"red\tx\ny"\tz\n', [["a", "b"], ['"red', "x"], ['y"', "z"]]),
        ('a\tb\n"red"\tx\n', [["a", "b"], ["red", "x"]]),
        ('a\tb\n"50"" tv"\tx\n', [["a", "b"], ['50" tv', "x"]]),
        ('a\tb\n"one" and "two"\tx\n', [["a", "b"], ['"one" and "two"', "x"]]),
        ('a\tb\n"\t"""\n', [["a", "b"], ['"', '"""']]),
        ("\n\na\tb\n\nx\ty\n", [["a", "b"], ["x", "y"]]),
        ("a\tb\n\t\nx\ty\n", [["a", "b"], ["", ""], ["x", "y"]]),
        ("\ufeffa\tb\r\nx\ty\r\n", [["a", "b"], ["x", "y"]]),
        ("a\tb\nx, 1;2\ty\n", [["a", "b"], ["x, 1;2", "y"]]),
        ("a\tb\nx\u2028y\tz\n", [["a", "b"], ["x\u2028y", "z"]]),
    ],
)
def test_tsv_is_one_line_a_row(rows, text, expected):
    lines = rows(text, tsv_rows)
    assert cells(lines) == expected
    assert not any(line.fault for line in lines)


def test_a_packed_file(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\nx,y\n"))
    assert cells(csv_rows(path)) == [["a", "b"], ["x", "y"]]


def test_a_quoted_cell_that_took_in_good_rows_gives_them_back(rows):
    lines = rows('t,l\n"screen 50\\"",tv\nsecond,radio\n"third",lamp\nfourth,pan\n')
    assert cells(lines)[1:] == [["second", "radio"], ["third", "lamp"], ["fourth", "pan"]]
    (bad,) = [line for line in lines if line.fault]
    assert bad.number == 2
    assert bad.raw == '"screen 50\\"",tv'
    assert "a double quote is opened here and takes in the rows up to line 4" in bad.fault
    assert "a backslash before a double quote" in bad.fault


def test_rows_of_several_lines_behind_a_bad_one_come_back_whole(rows):
    lines = rows('t,l\r\n"screen 5\\"",tv\r\n"two\r\nlines",radio\r\n\r\n"third",pan\r\n')
    assert cells(lines)[1:] == [["two\r\nlines", "radio"], ["third", "pan"]]
    assert [line.raw for line in lines if line.fault] == ['"screen 5\\"",tv']


def test_bad_rows_one_behind_the_other(rows):
    lines = rows('t,l\n"TV 50\\"",tv\n"TV 60\\"",tv\ngood,x\n"TV 70\\"",tv\nmore,y\n')
    assert cells(lines)[1:] == [["good", "x"], ["more", "y"]]
    bad = [line for line in lines if line.fault]
    assert "".join(line.raw for line in bad).count("TV") == 3
    assert sum(line.num_lines for line in bad) == 3


def test_a_quote_that_is_never_closed_loses_one_line(rows):
    lines = rows('t,l\na,x\n"b,y\nc,z\n"d,u\ne,v\n')
    assert cells(lines)[1:] == [["a", "x"], ["c", "z"], ["e", "v"]]
    assert [(line.number, line.raw) for line in lines if line.fault] == [(3, '"b,y'), (5, '"d,u')]


def test_a_bad_row_of_several_lines_is_kept_whole(rows):
    lines = rows('t,l\n"first\nsecond and","third"x\nfourth,y\n')
    (bad,) = [line for line in lines if line.fault]
    assert (bad.number, bad.num_lines) == (2, 2)
    assert bad.raw == '"first\nsecond and","third"x'
    assert cells(lines)[1:] == [["fourth", "y"]]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ('"TV 50\\" black",tv', "a backslash before a double quote"),
        ('"TV" black,tv', "expected after"),
        ("TV, black,tv", "3 columns where the header has 2"),
        ("TV", "1 columns where the header has 2"),
        ("TV\rblack,tv", "lines end in CR alone"),
    ],
)
def test_a_bad_row_has_its_raw_text_and_its_cause(rows, row, fault):
    lines = rows(f"t,l\na,x\n{row}\nb,y\n")
    (bad,) = [line for line in lines if line.fault]
    assert bad.raw == row
    assert bad.number == 3
    assert fault in bad.fault
    assert cells(lines)[1:] == [["a", "x"], ["b", "y"]]


@pytest.mark.parametrize(
    ("row", "num_lines"),
    [
        ('"a,x\nb,y\nc,z\nd",u', 4),
        ('"screen 50,tv\nsecond,radio\nthird",lamp', 3),
        ('x,"tv,1\nb",c,2', 0),
        ('a,"tv,x\nb,lamp",y', 2),
    ],
)
def test_a_closed_cell_over_rows_is_noted(rows, row, num_lines):
    header = ",".join("abcdef"[: 3 if num_lines in (0, 2) else 2])
    lines = rows(f"{header}\n{row}\n")
    found = f"a quoted cell runs over {num_lines} lines that look like rows" in lines[1].note
    assert found == bool(num_lines)
    assert found == bool(lines[1].note)


def test_many_such_cells_are_one_note(tmp_path):
    (tmp_path / "a.csv").write_text("text,labels\n" + '"a,x\nb,y\nc",u\n' * 5)
    (note,) = read_corpus(tmp_path / "a.csv").report.notes
    assert note.startswith("line 2: a quoted cell runs over 3 lines")
    assert note.endswith("(and 4 more such rows)")


def test_a_text_of_several_lines_is_no_odd_thing(rows):
    (_, line) = rows('t,l\n"One line.\nAnother, with commas, two.\n\nAnd one",u\n')
    assert not line.note
    assert line.num_lines == 4


@pytest.mark.parametrize("reader", [csv_rows, tsv_rows])
def test_a_file_of_an_old_mac_is_named(tmp_path, reader):
    path = tmp_path / "mac"
    path.write_bytes(b"t\tl\ra\tx\rb\ty\r")
    with pytest.raises(DataError, match="line 1: lines end in CR alone, as on an old Mac"):
        read_header(path, reader(path))


def test_many_quotes_that_are_never_closed_take_no_time(rows):
    lines = rows("t,l\n" + '"b,y\nc,z\n' * 20_000)
    assert len(cells(lines)) == 20_001


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("a", "a"), ('"a"', "a"), ('""', ""), ('"', '"'), ('"a"b"', '"a"b"'), ('"a""b"', 'a"b')],
)
def test_unquoted(cell, expected):
    assert unquoted(cell) == expected
