"""Bag of words in the Extreme Classification Repository's text format.

A header `N D L`, then N lines `l1,l2 f:v f:v`; an empty label list leaves a blank at the start
of the line. Labels and features count from 0.

Blocks of lines are parsed at once by numpy. A block in which anything is odd is parsed again line
by line, which is slower and knows the line and the fault.

Shapes: N rows, D features, L labels.
"""

import math
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xrt.data.collect import BadLines, csr_from_parts
from xrt.data.corpus import Corpus, ReadReport
from xrt.data.labels import numbered_labels
from xrt.data.options import BadLine, ReadOptions
from xrt.data.sources import numbered_lines
from xrt.errors import CapacityError, DataError

_BLOCK_LINES = 4096
_DIGITS = b"0123456789"
_NUMBER_SIGNS = _DIGITS + b".eE+-"
_MAX_COLUMNS = 2**31 - 1

NumberedLine = tuple[int, bytes]


class Header(NamedTuple):
    """The first line: how many rows, features and labels."""

    num_rows: int
    num_features: int
    num_labels: int


class Block(NamedTuple):
    """Rows as parts of two CSR matrices: entries a row, columns, values."""

    feature_counts: np.ndarray
    features: np.ndarray
    values: np.ndarray
    label_counts: np.ndarray
    labels: np.ndarray

    @property
    def num_rows(self) -> int:
        """Rows of the block."""
        return len(self.feature_counts)


def read_bow(path: str | Path, options: ReadOptions) -> Corpus:
    """Read a bag-of-words file. Texts are None, label ids are '0'..'L-1'.

    Args:
        path: The file; gzip and xz are unpacked.
        options: What becomes of bad lines.

    Returns:
        The corpus: X (N, D) and Y (N, L), with D and L of the header.

    Raises:
        DataError: the file cannot be read, the header is not three counts or does not fit the rows,
            a line is bad and bad lines are not to be skipped, or no row is good.
    """
    bad = BadLines(path, options)
    lines = numbered_lines(path)
    header = _parse_header(path, next(lines)[1])
    blocks: list[Block] = []
    fingerprints: set[int] = set()
    num_seen = num_good = 0
    while block_lines := list(islice(lines, _BLOCK_LINES)):
        excess = num_seen + len(block_lines) - header.num_rows
        if excess > 0:
            _require_blank(path, header, [*block_lines[-excess:], *lines])
            block_lines = block_lines[:-excess]
        block = _parse_block([raw for _, raw in block_lines], header)
        if block is None:
            block = _parse_slowly(block_lines, header, bad, num_seen)
        fingerprints.update(hash(raw.rstrip()) for _, raw in block_lines)
        blocks.append(block)
        num_seen, num_good = num_seen + len(block_lines), num_good + block.num_rows
    if num_seen != header.num_rows:
        raise DataError(
            f"{path}: line 1: the header says {header.num_rows} rows, the file has {num_seen}; it "
            "is cut off (fetch it again) or the header is wrong"
        )
    if not num_good:
        raise DataError(bad.first or f"{path}: no rows; a file with at least one is needed")
    return _corpus(path, header, blocks, bad, max(0, num_seen - len(fingerprints)))


def parse_counts(line: bytes) -> tuple[int, ...] | None:
    """The whole numbers of a header line.

    Args:
        line: The line, without its end.

    Returns:
        The numbers; None where the line holds anything else.
    """
    fields = line.split()
    if fields and len(line) < 200 and all(field.isdigit() for field in fields):
        return tuple(int(field) for field in fields)
    return None


def _parse_header(path: str | Path, line: bytes) -> Header:
    counts = parse_counts(line)
    if counts is None or len(counts) != 3:
        start = line[:40].decode("utf-8", "replace")
        raise DataError(
            f"{path}: line 1: {start!r} where the header 'N D L' (rows, features, labels) is "
            "needed; add it"
        )
    header = Header(*counts)
    if max(header.num_features, header.num_labels) > _MAX_COLUMNS:
        raise CapacityError(
            f"{path}: line 1: {max(header[1:])} columns where at most {_MAX_COLUMNS} are possible"
        )
    return header


def _require_blank(path: str | Path, header: Header, rest: list[NumberedLine]) -> None:
    for number, raw in rest:
        if raw.strip():
            raise DataError(
                f"{path}: line {number}: the header says {header.num_rows} rows, here is one more; "
                "correct the header"
            )


def _parse_block(lines: list[bytes], header: Header) -> Block | None:
    """All lines at once, or None when one of them is not in the plainest form."""
    label_parts, feature_parts = [], []
    for line in lines:
        label_part, _, feature_part = line.rstrip().partition(b" ")
        if b":" in label_part:
            return None
        label_parts.append(label_part)
        feature_parts.append(feature_part)
    labels = _whole_numbers(b",".join(part for part in label_parts if part))
    pairs = _pairs(b" ".join(part for part in feature_parts if part))
    if labels is None or pairs is None:
        return None
    block = Block(
        np.fromiter((part.count(b":") for part in feature_parts), np.int64, len(lines)),
        pairs[0].astype(np.int64),
        _as_float32(pairs[1]),
        np.fromiter((part.count(b",") + 1 if part else 0 for part in label_parts), np.int64),
        labels,
    )
    sound = (
        (not labels.size or labels.max() < header.num_labels)
        and (not len(pairs[0]) or pairs[0].max() < header.num_features)
        and np.array_equal(pairs[0], block.features)
        and bool(np.isfinite(block.values).all())
        and not _has_repeats(block.feature_counts, block.features)
        and not _has_repeats(block.label_counts, block.labels)
    )
    return block if sound else None


def _as_float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is named as such
        return values.astype(np.float32)


def _whole_numbers(text: bytes) -> np.ndarray | None:
    if not text:
        return np.zeros(0, np.int64)
    commas = text.translate(None, _DIGITS)
    if commas.strip(b",") or text.startswith(b",") or text.endswith(b",") or b",," in text:
        return None
    numbers = _numbers(text, ",")
    return None if numbers is None else numbers.astype(np.int64)


def _pairs(text: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Columns and values of `f:v f:v ...`, single blanks between, as float64."""
    if not text:
        return np.zeros(0), np.zeros(0)
    num_pairs = text.count(b":")
    if text.translate(None, _NUMBER_SIGNS) != (b": " * num_pairs)[:-1]:
        return None
    numbers = _numbers(text.replace(b":", b" "), " ")
    if numbers is None or len(numbers) != 2 * num_pairs or numbers[::2].min() < 0:
        return None
    return numbers[::2], numbers[1::2]


def _numbers(text: bytes, separator: str) -> np.ndarray | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.fromstring(text.decode("ascii"), np.float64, sep=separator)
        except (DeprecationWarning, ValueError):
            return None


def _has_repeats(counts: np.ndarray, columns: np.ndarray) -> bool:
    rows = np.repeat(np.arange(len(counts)), counts)
    keys = np.sort(rows * (_MAX_COLUMNS + 1) + columns)
    return bool((keys[1:] == keys[:-1]).any())


def _parse_slowly(lines: list[NumberedLine], header: Header, bad: BadLines, num_seen: int) -> Block:
    rows: list[tuple[dict[int, float], list[int]]] = []
    for offset, (number, raw) in enumerate(lines):
        try:
            rows.append(parse_line(raw, header))
        except BadLine as fault:
            bad.refuse(num_seen + offset, number, raw, fault)
    return Block(
        np.array([len(features) for features, _ in rows], np.int64),
        np.array([f for features, _ in rows for f in features], np.int64),
        np.array([v for features, _ in rows for v in features.values()], np.float32),
        np.array([len(labels) for _, labels in rows], np.int64),
        np.array([label for _, labels in rows for label in labels], np.int64),
    )


def parse_line(raw: bytes, header: Header) -> tuple[dict[int, float], list[int]]:
    """Features and labels of one line.

    Args:
        raw: The line, without its end.
        header: The header, which says how many features and labels there are.

    Returns:
        Value by column of the features; and the columns of the labels, each once.

    Raises:
        BadLine: a part is not a number, out of range, not finite, or a feature is there twice.
    """
    text = raw.decode("utf-8", "replace").rstrip()
    tokens = text.split()
    has_labels = bool(tokens) and not text[0].isspace() and ":" not in tokens[0]
    labels = list(_label_columns(tokens[0], header.num_labels)) if has_labels else []
    features: dict[int, float] = {}
    for token in tokens[has_labels:]:
        column, value = _feature(token, header.num_features)
        if column in features:
            raise BadLine(f"feature {column} stands there twice; add the values or remove one")
        features[column] = value
    return features, list(dict.fromkeys(labels))


def _label_columns(token: str, num_labels: int) -> Iterator[int]:
    for part in token.split(","):
        if not (part.isascii() and part.isdigit() and len(part) < 19):
            raise BadLine(f"label {part[:40]!r} is not a whole number; use 'l1,l2 f:v f:v'")
        if int(part) >= num_labels:
            raise BadLine(
                f"label {part} is outside 0..{num_labels - 1} (header: L = {num_labels}); count "
                "labels from 0 or correct the header"
            )
        yield int(part)


def _feature(token: str, num_features: int) -> tuple[int, float]:
    index, _, number = token.partition(":")
    try:
        if not (index.isascii() and index.isdigit() and len(index) < 19):
            raise ValueError
        column, value = int(index), float(number)
    except ValueError:
        raise BadLine(f"{token[:40]!r} is not feature:value; correct it") from None
    if column >= num_features:
        raise BadLine(
            f"feature {column} is outside 0..{num_features - 1} (header: D = {num_features}); "
            "count features from 0 or correct the header"
        )
    if not math.isfinite(value) or abs(value) > 3e38:
        raise BadLine(f"feature {column} has value {number[:20]}; use finite numbers")
    return column, value


def _corpus(
    path: str | Path, header: Header, blocks: list[Block], bad: BadLines, num_duplicates: int
) -> Corpus:
    def joined(part: int) -> np.ndarray:
        return np.concatenate([block[part] for block in blocks])

    def ends(counts: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(counts)])

    label_counts, labels = joined(3), joined(4)
    return Corpus(
        texts=None,
        X=csr_from_parts(joined(2), joined(1), ends(joined(0)), header.num_features),
        Y=csr_from_parts(np.ones(len(labels)), labels, ends(label_counts), header.num_labels),
        labels=numbered_labels(path, header.num_labels),
        report=ReadReport(
            path=str(path),
            num_rows=len(label_counts),
            num_without_labels=int((label_counts == 0).sum()),
            num_duplicate_rows=num_duplicates,
            num_skipped=len(bad.rows),
            skipped_rows=tuple(bad.rows),
            bad_lines_path=bad.write(),
        ),
    )
