"""Text logs that are not quite CSV or JSONL: what is read, what is refused, on which line."""

import csv
import io
import json
import random

import polars as pl
import pytest

from xrt.applications.query_intent.click_log import ClickLog
from xrt.applications.query_intent.click_text import _cells
from xrt.errors import DataError


def read(path, batch_rows=1000, **options):
    log = ClickLog(path, batch_rows=batch_rows, max_count=1e9, **options)
    return log, pl.concat(log.batches())


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.csv", "query,item,count\nred,a,1\nblue,b,2,9\n", r"line 3: 4 cells, the header has 3"),
        ("c.csv", "query,item\nred,a\n\nblue,b,2\n", r"line 4: 3 cells, the header has 2"),
        ("c.csv", 'query,item\nred,a\n"blue,b\ngreen,c\n', r"line 3: a quote is opened and not"),
        ("c.tsv", b"query\titem\nred\ta\n\xff\tb\n", r"line 3: not UTF-8 \(byte 1"),
        ("c.jsonl", '{"query":"a","item":"b"}\n{"query":\n', r"line 2: not JSON \(Expecting value"),
        ("c.jsonl", '{"query":"a","item":"b"}\n[1]\n', r"line 2: not a JSON object"),
        ("c.jsonl", '\n\n{"query":"a","item":"b"}\n7\n', r"line 4: not a JSON object: '7'"),
        ("c.csv", b"\xff,item\nred,a\n", r"line 1: no header can be read"),
    ],
)
def test_the_first_broken_line_is_named(tmp_path, name, text, message):
    path = write(tmp_path, name, text)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    if "header can" not in message:
        assert str(caught.value).endswith("; correct it (or pass --skip-bad-lines)")


@pytest.mark.parametrize("batch_rows", [1, 3, 1000])
def test_broken_lines_are_skipped_and_written_down(tmp_path, batch_rows):
    lines = ["query,item,count"]
    expected, broken = [], []
    for number in range(2, 402):
        if number % 7 == 0:
            lines.append(f"red {number},a,1,surplus")
            broken.append(number)
        elif number % 11 == 0:
            lines.append(f"red {number},a,-3")
            broken.append(number)
        else:
            lines.append(f'{number}" tv,a,2' if number % 5 else f'"{number}"" tv, wide",a,2')
            expected.append(f'{number}" tv' if number % 5 else f'{number}" tv, wide')
    path = write(tmp_path, "c.csv", "\n".join(lines) + "\n")
    log, frame = read(path, batch_rows, skip_bad_lines=True, bad_lines_folder=tmp_path)
    assert frame["query"].to_list() == expected
    assert log.report.num_rows == 400
    assert log.report.num_bad == len(broken)
    written = (tmp_path / "c.csv.bad-lines.jsonl").read_text()
    noted = [json.loads(line) for line in written.splitlines()]
    assert sorted(entry["row"] for entry in noted) == broken


def test_a_whole_block_of_broken_lines_is_skipped(tmp_path):
    path = write(tmp_path, "c.csv", "query,item\n" + "x,y,z\n" * 200 + "red,a\n")
    log, frame = read(path, 2, skip_bad_lines=True, bad_lines_folder=tmp_path)
    assert frame["query"].to_list() == ["red"]
    assert log.report.num_bad == 200


def test_stray_quotes_do_not_gather_the_file_in_memory(tmp_path):
    rows = "".join(f"red pan {i},a,1\n" for i in range(20_000))
    path = write(tmp_path, "c.csv", 'query,item,count\n50" tv,a,1\n' + rows)
    log = ClickLog(path, batch_rows=100, max_count=1e9)
    sizes = [len(frame) for frame in log.batches()]
    assert sum(sizes) == 20_001
    assert max(sizes) < 6_000


def test_blank_lines_and_windows_line_ends_are_no_rows(tmp_path):
    path = write(tmp_path, "c.csv", "query,item,count\r\nred,a,1\r\n\r\nblue,b,2\r\n\r\n")
    _, frame = read(path)
    assert frame.select("query", "item", "count").rows() == [("red", "a", 1.0), ("blue", "b", 2.0)]


def test_a_key_that_comes_late_and_ids_of_two_kinds_are_read(tmp_path):
    lines = [{"query": "red", "item": 7, "count": 1}] * 300
    lines += [{"query": "red", "item": "x", "count": 2, "position": 3}]
    path = write(tmp_path, "c.jsonl", "\n".join(map(json.dumps, lines)))
    _, frame = read(path)
    assert frame.row(0)[:3] == ("red", "7", 1.0)
    assert frame.row(300) == ("red", "x", 2.0, None, 3)


def test_a_column_called_row_is_no_trouble(tmp_path):
    path = write(tmp_path, "c.csv", "row,query,item\n1,red,a\n")
    assert read(path)[1]["query"].to_list() == ["red"]


def test_cells_are_those_of_the_standard_library():
    chooser = random.Random(0)
    for _ in range(3000):
        cells = ["".join(chooser.choices('ab,"\n ', k=chooser.randrange(6))) for _ in range(3)]
        file = io.StringIO()
        csv.writer(file, lineterminator="").writerow(cells)
        assert _cells(file.getvalue(), ",") == cells
        naive = ["".join(chooser.choices('ab" ', k=4)) for _ in range(3)]
        if not any(cell.startswith('"') for cell in naive):
            assert _cells(",".join(naive), ",") == naive
