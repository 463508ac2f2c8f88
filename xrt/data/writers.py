"""Writing a corpus as JSONL, CSV, bag of words, or a pair of npz matrices; files whole or absent.

What a format cannot hold (weights in CSV, texts in bag of words) is refused or left out.
"""

import csv
import io
import json
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.label_cells import LabelCells
from xrt.data.npz import ITEMS_FILE
from xrt.data.options import DEFAULT_SEPARATOR
from xrt.data.sources import open_packed
from xrt.errors import DataError
from xrt.inputs import without_surrogates
from xrt.storage.atomic import atomic_file

WEIGHT_KEY = "weight"
"""Where the weights of rows are written."""


def write_jsonl(corpus: Corpus, path: str | Path) -> None:
    """Write `uid` (where there are ids), `text` and `labels`: a list, or label -> weight; and
    `weight` where rows have weights (to be read with `weight_column="weight"`).

    Args:
        corpus: N rows with texts.
        path: The file; packed when its name ends in `.gz` or `.xz`.

    Raises:
        DataError: the corpus has no texts.
    """
    texts = _texts(corpus, path)
    weighted = _is_weighted(corpus)
    with open_packed(path) as file:
        for row, text in enumerate(texts):
            record: dict[str, object] = {} if corpus.ids is None else {"uid": corpus.ids[row]}
            columns, weights = _row(corpus.Y, row)
            ids = [corpus.labels.ids[column] for column in columns]
            record["text"] = text
            record["labels"] = (
                {id: float(str(w)) for id, w in zip(ids, weights, strict=True)} if weighted else ids
            )
            if corpus.row_weights is not None:
                record[WEIGHT_KEY] = float(str(corpus.row_weights[row]))
            line = json.dumps(record, ensure_ascii=False)
            if not line.isascii():
                line = without_surrogates(line)
            file.write(line.encode() + b"\n")


def write_csv(corpus: Corpus, path: str | Path) -> None:
    """Write `uid` (where there are ids), `text` and `labels`, joined by ';'; and `weight` where
    rows have weights.

    Args:
        corpus: N rows with texts.
        path: The file; packed when its name ends in `.gz` or `.xz`.

    Raises:
        DataError: the corpus has no texts, labels have weights, or labels cannot be told apart by
            the separator.
    """
    texts = _texts(corpus, path)
    _refuse_weights(corpus, path)
    cells = LabelCells(DEFAULT_SEPARATOR, by_default=False)
    for label in corpus.labels.ids:
        if DEFAULT_SEPARATOR in label and cells.split(label) != [label]:
            raise DataError(
                f"{path}: label {label!r} has {DEFAULT_SEPARATOR!r} in it, which separates labels "
                "in CSV; write JSONL"
            )
    header = ["text", "labels"] if corpus.ids is None else ["uid", "text", "labels"]
    header += [] if corpus.row_weights is None else [WEIGHT_KEY]
    with open_packed(path) as file:
        lines = io.TextIOWrapper(file, "utf-8", errors="replace", newline="", write_through=True)
        writer = csv.writer(lines)  # CRLF as RFC 4180 has it; with "\n" a lone "\r" is not quoted
        writer.writerow(header)
        for row, text in enumerate(texts):
            columns, _ = _row(corpus.Y, row)
            apart = [corpus.labels.ids[column] for column in columns]
            labels = DEFAULT_SEPARATOR.join(apart)
            if "&" in labels and cells.split(labels) != apart:  # an entity where two labels meet
                raise DataError(f"{path}: labels {apart} cannot be told apart in CSV; write JSONL")
            id = [] if corpus.ids is None else [corpus.ids[row]]
            weight = [] if corpus.row_weights is None else [str(corpus.row_weights[row])]
            writer.writerow([*id, text, labels, *weight])
        lines.detach()


def write_bow(corpus: Corpus, path: str | Path) -> None:
    """Write `N D L` and lines `l1,l2 f:v f:v`; labels are column numbers.

    Texts, ids and names are left out.

    Args:
        corpus: N rows with features.
        path: The file; packed when its name ends in `.gz` or `.xz`.

    Raises:
        DataError: the corpus has no X, or labels or rows have weights.
    """
    X = _features(corpus, path)
    _refuse_weights(corpus, path)
    _refuse_row_weights(corpus, path)
    with open_packed(path) as file:
        file.write(f"{X.shape[0]} {X.shape[1]} {corpus.num_labels}\n".encode())
        for row in range(X.shape[0]):
            labels = ",".join(map(str, _row(corpus.Y, row)[0].tolist()))
            columns, values = _row(X, row)
            pairs = [f"{c}:{v:.9g}" for c, v in zip(columns.tolist(), values.tolist(), strict=True)]
            file.write(f"{labels} {' '.join(pairs)}\n".encode())


def write_npz(corpus: Corpus, path: str | Path) -> None:
    """Write `X.SPLIT.npz`, `Y.SPLIT.npz`, texts as `X.SPLIT.txt`, names as `output-items.txt`.

    Line ends in texts become blanks; label ids are left out.

    Args:
        corpus: N rows with features, texts, or both.
        path: The file of X, which is not written where there are no features.

    Raises:
        DataError: rows have weights, the name is no such name, or there are neither texts nor
            features.
    """
    path = Path(path)
    _refuse_row_weights(corpus, path)
    if not (path.name.startswith("X.") and path.name.endswith(".npz") and len(path.name) > 6):
        raise DataError(f"{path}: name the X file of the pair X.SPLIT.npz, such as X.trn.npz")
    split = path.name[2:-4]
    if corpus.texts is None:
        _features(corpus, path)
    else:
        with open_packed(path.parent / f"X.{split}.txt") as file:
            for text in corpus.texts:
                file.write(without_surrogates(" ".join(text.splitlines())).encode() + b"\n")
    if corpus.X is not None:
        _save_npz(path, corpus.X)
    _save_npz(path.parent / f"Y.{split}.npz", corpus.Y)
    with open_packed(path.parent / ITEMS_FILE) as file:
        for column in range(corpus.num_labels):
            file.write(corpus.labels.name_of(column).encode() + b"\n")


def _save_npz(path: Path, matrix: sp.csr_array) -> None:
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        sp.save_npz(file, matrix)


def _texts(corpus: Corpus, path: str | Path) -> list[str]:
    if corpus.texts is None:
        raise DataError(f"{path}: the corpus has no texts, only features; write bow or npz")
    return corpus.texts


def _features(corpus: Corpus, path: str | Path) -> sp.csr_array:
    if corpus.X is None:
        raise DataError(f"{path}: the corpus has no features, only texts; write jsonl or csv")
    return corpus.X


def _is_weighted(corpus: Corpus) -> bool:
    return bool((corpus.Y.data != 1).any())


def _refuse_weights(corpus: Corpus, path: str | Path) -> None:
    if _is_weighted(corpus):
        raise DataError(f"{path}: this format holds no label weights; write jsonl or npz")


def _refuse_row_weights(corpus: Corpus, path: str | Path) -> None:
    if corpus.row_weights is not None:
        raise DataError(f"{path}: this format holds no weights of rows; write jsonl or csv")


def _row(matrix: sp.csr_array, row: int) -> tuple[np.ndarray, np.ndarray]:
    part = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return matrix.indices[part], matrix.data[part]
