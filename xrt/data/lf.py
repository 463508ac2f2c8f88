"""LF-* sets of the Extreme Classification Repository: texts of rows and of labels, filter files.

`trn.json` and `tst.json` hold one object a line with `uid`, `title`, `content`, `target_ind` (label
columns from 0) and `target_rel` (their weights); line i of `lbl.json` is label i, with `uid` and
`title`. Filter files are two integer columns, row and label: pairs to strike from the ranking of
that row.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from xrt.data.cells import clean_label, id_text
from xrt.data.collect import RowCollector
from xrt.data.corpus import Corpus, ReadReport
from xrt.data.jsonl import read_json_lines
from xrt.data.labels import LabelTable, numbered_labels
from xrt.data.options import BadLine, ReadOptions
from xrt.data.records import RecordParser, row_id, shown, text_of
from xrt.data.sources import beside, numbered_lines, plain_name
from xrt.errors import DataError

LABEL_FILE = "lbl.json"
_SPLITS = {"trn": "train", "train": "train", "tst": "test", "test": "test"}


def read_lf(path: str | Path, options: ReadOptions) -> Corpus:
    """Read one split. Label ids are the `uid`s of `lbl.json`; without it, column numbers.

    Args:
        path: The file of the split, such as `trn.json`.
        options: Which keys are the text, and what becomes of bad lines.

    Returns:
        The corpus: N texts and Y (N, L).

    Raises:
        DataError: the file or `lbl.json` cannot be read, a line is bad and bad lines are not to be
            skipped, or no row is good.
    """
    label_file = beside(path, LABEL_FILE, "lbl.jsonl")
    labels, note = _read_labels(label_file) if label_file is not None else (None, "")
    limit = None if labels is None else len(labels)
    collector = RowCollector(path, options)
    parser = RecordParser(options, split_by_default=False)
    num_columns = 0
    for line in read_json_lines(path, collector.refuse):
        try:
            columns, weights = _targets(line.record, limit)
            text, id = parser.text(line.record), row_id(line.record)
            collector.add_columns(text, columns, weights, id)
            collector.num_surrogates += line.had_surrogate
            num_columns = max([num_columns, *(column + 1 for column in columns)])
        except BadLine as fault:
            collector.refuse(line.number, line.raw, fault)
    if labels is None:
        labels = numbered_labels(path, num_columns)
    return collector.finish(labels, notes=[note] if note else [])


def _targets(record: dict[str, Any], limit: int | None) -> tuple[list[int], list[float]]:
    if "target_ind" not in record:
        raise BadLine(f"no 'target_ind'; the keys are {shown(record)}: is this an LF file?")
    columns = record["target_ind"]
    weights = record.get("target_rel")
    weights = [1.0] * len(columns) if weights is None and isinstance(columns, list) else weights
    if not isinstance(columns, list) or not isinstance(weights, list):
        raise BadLine("'target_ind' and 'target_rel' must be lists; correct them")
    if len(columns) != len(weights):
        raise BadLine(f"{len(columns)} in 'target_ind' but {len(weights)} in 'target_rel'")
    for column in columns:
        if type(column) is not int or not 0 <= column < (2**31 if limit is None else limit):
            allowed = (
                "0 and above" if limit is None else f"0..{limit - 1} (lbl.json: {limit} lines)"
            )
            raise BadLine(f"label {column!r} is outside {allowed}; is lbl.json that of this set?")
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise BadLine(f"'target_rel' holds {weight!r}; give numbers above 0")
        if not math.isfinite(weight) or not 0 <= weight < 3e38:
            raise BadLine(f"'target_rel' holds {weight}; give finite numbers above 0")
    return columns, [float(weight) for weight in weights]


def _read_labels(path: Path) -> tuple[LabelTable, str]:
    """The labels, and a note where their ids cannot be used."""
    uids, names = [], []
    for line in read_json_lines(path, partial(_refuse_label, path)):
        try:
            uids.append(id_text(line.record.get("uid")))
            names.append(clean_label(text_of(line.record.get("title"), "title")))
        except BadLine as fault:
            _refuse_label(path, line.number, line.raw, fault)
    if all(uids) and len(set(uids)) == len(uids):
        return LabelTable.from_ids(uids, names), ""
    note = f"{path}: a uid is missing or stands there twice, so labels are called by their numbers"
    return LabelTable.from_ids(map(str, range(len(uids))), names), note if any(uids) else ""


def _refuse_label(path: Path, number: int, raw: bytes, fault: BadLine) -> NoReturn:
    raise DataError(f"{path}: line {number}: {fault}; a label lost shifts the others")


def find_filters(path: str | Path) -> Path | None:
    """The filter file with the standard name for this split.

    Args:
        path: The file of the split.

    Returns:
        The path; None where no such file lies beside.
    """
    split = _SPLITS.get(plain_name(path).split(".")[0])
    return beside(path, f"filter_labels_{split}.txt") if split else None


def filter_note(path: str | Path) -> str:
    """A warning for an LF set without its filter file.

    Args:
        path: The file of the split.

    Returns:
        The warning; '' where all is well.
    """
    split = _SPLITS.get(plain_name(path).split(".")[0], "test")
    if beside(path, "filter_labels_test.txt") is not None or find_filters(path) is not None:
        return ""
    return (
        f"WARNING: no filter file (filter_labels_{split}.txt) beside this LF set; where it has "
        "reciprocal pairs, precision without it comes out many points too low: put it there"
    )


def read_filters(path: str | Path) -> np.ndarray:
    """Read a filter file.

    Args:
        path: The file, a row and a label column on each line; blank lines are passed over.

    Returns:
        int64 (M, 2): row and label column of each pair, from 0.

    Raises:
        DataError: the file cannot be read, or a line is not two whole numbers.
    """
    pairs: list[tuple[int, int]] = []
    for number, raw in numbered_lines(path):
        fields = raw.split()
        if not fields:
            continue
        if len(fields) != 2 or not all(field.isdigit() and len(field) < 19 for field in fields):
            shown_line = raw[:40].decode("utf-8", "replace")
            raise DataError(
                f"{path}: line {number}: {shown_line!r} where two whole numbers (row, label) are "
                "needed; correct it"
            )
        pairs.append((int(fields[0]), int(fields[1])))
    return np.array(pairs, np.int64).reshape(-1, 2)


def without_skipped(positions: np.ndarray, report: ReadReport, num_file_rows: int) -> np.ndarray:
    """New row numbers for rows of a file of which some were skipped.

    Args:
        positions: Rows in the file, from 0: whole numbers (M,).
        report: What was skipped.
        num_file_rows: Rows of the file.

    Returns:
        int64 (M,); -1 for rows that were skipped.
    """
    is_read = np.ones(num_file_rows, bool)
    is_read[np.array(report.skipped_rows, np.int64)] = False
    renumbered = np.where(is_read, np.cumsum(is_read) - 1, -1)
    numbers: np.ndarray = renumbered[positions]
    return numbers
