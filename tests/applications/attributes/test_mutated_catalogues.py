"""Catalogues made wrong in many ways: read, filled, or refused in one line; others' cells stay."""

import csv
import io
import json
import warnings

import polars as pl
import pytest

from tests.attribute_stand_in import StandInPredictor
from tests.mutations import bounded, mutants
from xrt.applications.attributes.catalogue_settings import Reading
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.filling.filling import fill
from xrt.errors import XrtError

FEW, MANY = 8, 2000
ROWS = [
    {"title": "nike cap 9", "n": 'a "quoted", cell', "brand": None, "L0": "hat", "L1": None},
    {"title": "puma court 8", "n": "two\nlines", "brand": "puma", "L0": None, "L1": "nan"},
    {"title": "asics running 7", "n": " é ", "brand": ["asics"], "L0": "", "L1": ""},
    {"title": "plain 6", "n": 1.50, "brand": "-", "L0": "shoe", "L1": "cap"},
]  # fmt: skip


def table(delimiter, quote):
    def cell(value):
        text = "" if value is None else "".join(value) if isinstance(value, list) else str(value)
        return f'"{text.replace(chr(34), chr(34) * 2)}"' if quote else text.replace("\n", " ")

    lines = [delimiter.join(ROWS[0])]
    lines += [delimiter.join(cell(value) for value in row.values()) for row in ROWS * 3]
    return "\n".join(lines).encode() + b"\n"


def parquet():
    buffer = io.BytesIO()
    rows = [{**row, "brand": "".join(row["brand"] or ""), "n": str(row["n"])} for row in ROWS]
    frame = pl.DataFrame(rows).with_columns(
        price=pl.lit(1.5), day=pl.date(2024, 1, 1), L0=pl.col("L0").cast(pl.Categorical)
    )
    frame.write_parquet(buffer)
    return buffer.getvalue()


INPUTS = {
    "csv": table(",", quote=True),
    "tsv": table("\t", quote=False),
    "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS * 3).encode(),
    "parquet": parquet(),
}


class Tolerant(StandInPredictor):
    """As the stand-in; a title without a digit behind it is worth 0."""

    def __init__(self):
        super().__init__()
        self.reading = Reading(skip_bad_lines=True)

    def predict(self, table, cells_NA=None):
        titles = [f"{t} 0" if t[-1:] not in set("0123456789") else t for t in self.titles(table)]
        digits = [f"{t[:-1]} {t[-1:]}" for t in titles]
        return super().predict(type(table)({"title": digits}), cells_NA)

    @staticmethod
    def titles(table):
        return table.columns["title"]


def work(folder, kind, number):
    path = folder / f"in.{kind}"
    for out in (kind, ("csv", "jsonl", "parquet", "tsv")[number % 4]):
        out_path = folder / f"out.{out}"
        counts = fill(Tolerant(), path, out_path, chunk_rows=5)
        if kind == out == "csv" and not any("were skipped" in note for note in counts.notes):
            others_stay(path, out_path)
    read_attributes(path, skip_bad_lines=True, bad_lines_folder=folder)


def others_stay(path, out_path):
    """Every row of the output begins with a row of the input, but for its attributes."""
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return  # read as Windows-1252 and written as UTF-8
    before, after = (list(cells(p)) for p in (path, out_path))
    for old, new in zip(before, after, strict=True):
        for name, cell, other in zip(before[0], old, new, strict=False):
            assert cell == other or name.strip().strip("\ufeff") in ("brand", "L0", "L1")


def cells(path):
    with open(path, newline="", encoding="utf-8") as file:
        try:
            yield from (row for row in csv.reader(file) if len(row) > 1)
        except csv.Error:
            return


def fill_mutants(folder, kind, count):
    path = folder / f"in.{kind}"
    num_refused = num_filled = 0
    for number, mutant in enumerate(mutants(INPUTS[kind], count, seed=0)):
        path.write_bytes(mutant)
        with warnings.catch_warnings(), bounded(f"{kind}, mutant {number}"):
            warnings.simplefilter("ignore")
            try:
                work(folder, kind, number)
                num_filled += 1
            except XrtError:
                num_refused += 1
                raise
    assert num_refused or count < 100
    assert num_filled or count < 100 or kind == "parquet"


@pytest.mark.parametrize("kind", INPUTS)
def test_a_few_mutants_of_each_catalogue(tmp_path, kind):
    fill_mutants(tmp_path, kind, FEW)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", INPUTS)
def test_many_mutants_of_each_catalogue(tmp_path, kind):
    fill_mutants(tmp_path, kind, MANY)
