"""Columns of groups and times: read alike from every format with columns, refused in one line."""

import json
import math
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from xrt.data.formats import read_corpus
from xrt.data.options import BadLine
from xrt.data.times import TimeReader, as_groups, as_times
from xrt.errors import ConfigError, DataError

ROWS = [
    {"text": "red shoe", "labels": "a", "shop": "x", "day": "2024-05-01"},
    {"text": "blue shoe", "labels": "b", "shop": "y", "day": "2023-12-31T12:00"},
    {"text": "green shoe", "labels": "a", "shop": "x", "day": "2025-01"},
    {"text": "shoe", "labels": "b", "shop": "", "day": ""},
]
COLUMNS: dict[str, Any] = {"group_column": "shop", "time_column": "day"}


def write(folder: Path, suffix: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"rows.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif suffix == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        separator = "\t" if suffix == "tsv" else ","
        lines = [separator.join(rows[0]), *(separator.join(row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_they_are_read_from_every_format(tmp_path: Path, suffix: str):
    corpus = read_corpus(write(tmp_path, suffix, ROWS), **COLUMNS)
    assert corpus.groups.tolist() == [0, 1, 0, -1]
    assert corpus.times.argsort().tolist() == [1, 0, 2, 3]
    assert math.isnan(corpus.times[3])
    assert any("1 of 4 rows have no time under 'day'" in note for note in corpus.report.notes)
    half = corpus.subset(np.array([2, 0]))
    assert half.groups.tolist() == [0, 0]
    assert half.times.tolist() == corpus.times[[2, 0]].tolist()
    plain = read_corpus(write(tmp_path, suffix, ROWS))
    assert plain.groups is None
    assert plain.times is None


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("day", "message"),
    [
        ("1999", r"line {}: 'day' is '1999', a number, where an earlier row has '2024-05-01'"),
        ("last week", r"line {}: 'day' is 'last week', neither a date nor a number"),
    ],
)
def test_a_time_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, suffix: str, day: str, message: str
):
    rows = [ROWS[0], {**ROWS[1], "day": day}]
    with pytest.raises(DataError, match=message.format(2 if suffix == "jsonl" else 3)) as error:
        read_corpus(write(tmp_path, suffix, rows), **COLUMNS)
    assert "2026-11-30" in str(error.value)
    kept = read_corpus(
        write(tmp_path, suffix, rows), **COLUMNS, skip_bad_lines=True, bad_lines_folder=tmp_path
    )
    assert kept.num_instances == len(kept.times) == len(kept.groups) == 1


def test_columns_that_are_not_there(tmp_path: Path):
    path = write(tmp_path, "csv", ROWS)
    with pytest.raises(DataError, match="no column when for the rows' times; the columns are text"):
        read_corpus(path, time_column="when")
    with pytest.raises(DataError, match="none of the 4 rows has a group under 'seller'"):
        read_corpus(write(tmp_path, "jsonl", ROWS), group_column="seller")
    with pytest.raises(ConfigError, match="time_column = ''"):
        read_corpus(path, time_column="")
    bow = tmp_path / "rows.txt"
    bow.write_text("1 1 1\n0 0:1\n")
    with pytest.raises(ConfigError, match=r"group_column = 'shop'.*no named columns"):
        read_corpus(bow, group_column="shop")


def test_times_are_ordered_as_they_should_be():
    dates = TimeReader("day")
    values = [
        "2020-02", date(2020, 2, 2), "2020-02-02T01:00+02:00", datetime(2020, 2, 2, 5),
        "2020-03-01",
    ]  # fmt: skip
    times = [dates.read(value) for value in values]
    assert np.argsort(times).tolist() == [0, 2, 1, 3, 4]
    numbers = TimeReader("year")
    assert [numbers.read(value) for value in (2020, "2019.5", 3e9)] == [2020, 2019.5, 3e9]
    assert math.isnan(numbers.read(None))
    for wrong in (True, [1], "inf", float("inf")):
        with pytest.raises(BadLine, match="neither a date nor a number"):
            numbers.read(wrong)


def test_given_in_python():
    assert as_times(None, 3) is None
    assert as_times(np.array(["2020-01-02", "2020-01-01"], "datetime64[D]"), 2).argmax() == 0
    assert as_groups(["b", "a", "b", None], 4).tolist() == [0, 1, 0, -1]
    with pytest.raises(DataError, match="row 1: 'times' is '2020', a number"):
        as_times(["2020-01-01", 2020], 2)
    with pytest.raises(DataError, match=r"times: \(2,\) for 3 rows"):
        as_times([1, 2], 3)
    with pytest.raises(DataError, match=r"groups: \(2, 1\) for 2 rows"):
        as_groups([[1], [2]], 2)
