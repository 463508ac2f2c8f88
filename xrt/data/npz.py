"""PECOS-style pairs of sparse matrices: `X.trn.npz` with `Y.trn.npz`, texts and label names beside.

`X.trn.txt` holds one text a line, `output-items.txt` one label name a line. Matrices are those of
scipy.sparse.save_npz; they are read without pickle.
"""

import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.lib import format as npy

from xrt.data.cells import clean_label
from xrt.data.collect import csr_from_parts
from xrt.data.corpus import Corpus, ReadReport, check_matrix
from xrt.data.labels import LabelTable, numbered_labels
from xrt.data.options import ReadOptions
from xrt.data.sources import COMPRESSED_SUFFIXES, numbered_lines, plain_name, require_file
from xrt.errors import DataError, XrtError

_ANY_BYTES = 64 << 20
_MOST_PACKING = 100
"""Times its size that a file larger than `_ANY_BYTES` unpacked may unpack to."""
_ANY_ROWS = 1 << 22
"""Rows that any matrix may have, however few bytes it takes."""
ITEMS_FILE = "output-items.txt"
_NAME = re.compile(r"[XY]\.(?P<split>.+)\.(npz|txt)")


def pair_paths(path: str | Path) -> tuple[Path | None, Path | None, Path | None]:
    """X, Y and text file that belong with any one of them; None where one is not there.

    `X.trn.tfidf.npz` goes with `Y.trn.npz` and `X.trn.txt`.

    Args:
        path: Any one of the three files.

    Returns:
        The paths of X, Y and texts.
    """
    path = Path(path)
    match = _NAME.fullmatch(path.name)
    if match is None:
        return (path, None, None)
    splits = list(_shorter(match["split"]))
    X = path if path.name.startswith("X") and path.suffix == ".npz" else None
    X = X or _first(path.parent, [f"X.{split}.npz" for split in splits])
    Y = _first(path.parent, [f"Y.{split}.npz" for split in splits])
    packings = ("", *COMPRESSED_SUFFIXES)
    texts = _first(path.parent, [f"X.{split}.txt{z}" for split in splits for z in packings])
    return X, Y, texts


def _shorter(split: str) -> Iterator[str]:
    while split:
        yield split
        split = split.rpartition(".")[0]


def _first(folder: Path, names: list[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_npz(path: str | Path, options: ReadOptions) -> Corpus:
    """Read a pair of matrices. Label ids are columns as text.

    Args:
        path: The file of X, of Y or of the texts.
        options: Whether labels are required.

    Returns:
        The corpus: X (N, F), texts, or both; and Y (N, L).

    Raises:
        DataError: a part is missing or broken, the parts do not have the same number of rows, there
            is no row, or a label weight is below 0.
    """
    path = require_file(path)
    X_path, Y_path, text_path = pair_paths(path)
    if Y_path is None and options.require_labels:
        raise DataError(
            f"{path}: no labels file Y.*.npz beside it; name the pair X.trn.npz and Y.trn.npz",
            settings={"require_labels": "to read the rows without labels"},
        )
    X = load_matrix(X_path) if X_path is not None else None
    texts = _read_texts(text_path) if text_path is not None else None
    if X is None and texts is None:
        raise DataError(f"{path}: neither X.*.npz nor X.*.txt beside it; add one of them")
    num_rows = X.shape[0] if X is not None else len(texts or [])
    Y = load_matrix(Y_path) if Y_path is not None else sp.csr_array((num_rows, 0), dtype=np.float32)
    for other, size in ((Y_path, Y.shape[0]), (text_path, len(texts) if texts else num_rows)):
        if size != num_rows:
            raise DataError(f"{path}: {num_rows} rows but {size} in {other}; align them")
    if not num_rows:
        raise DataError(f"{path}: no rows; a file with at least one is needed")
    if Y.nnz and Y.data.min() < 0:
        raise DataError(f"{Y_path}: a label weight is {Y.data.min()}; weights must be above 0")
    Y.eliminate_zeros()
    return Corpus(
        texts=texts,
        X=X,
        Y=Y,
        labels=_label_table(path if Y_path is None else Y_path, Y.shape[1]),
        report=ReadReport(
            path=str(path),
            num_rows=num_rows,
            num_empty_texts=texts.count("") if texts else 0,
            num_without_labels=int((np.diff(Y.indptr) == 0).sum()),
            num_duplicate_rows=_num_duplicates(X, texts, Y),
        ),
    )


def load_matrix(path: str | Path) -> sp.csr_array:
    """Read a scipy.sparse npz file as float32 csr_array with sorted indices, checked in full.

    Args:
        path: The file.

    Returns:
        The matrix; entries that stand twice are summed.

    Raises:
        DataError: the file is missing, no such file, needs pickle, has not two dimensions of
            numbers, or a value is not finite.
    """
    path = require_file(path)
    try:
        _check_sizes(path)
        with open(path, "rb") as file:
            loaded = sp.load_npz(file)
        if loaded.format in ("csr", "csc", "bsr"):
            loaded.check_format(full_check=True)
        matrix = sp.csr_array(loaded)
    except XrtError:
        raise
    except Exception as err:  # zip, zlib, numpy and scipy have families of their own
        cause = str(err).partition("\n")[0][:200] or type(err).__name__
        raise DataError(
            f"{path}: not a sparse matrix of scipy.sparse.save_npz ({cause}); write it again"
        ) from err
    if matrix.dtype.kind not in "biuf" or matrix.ndim != 2:
        raise DataError(
            f"{path}: holds {matrix.dtype} in {matrix.ndim} dimensions, not numbers in 2"
        )
    matrix.sum_duplicates()
    with np.errstate(over="ignore"):
        matrix = csr_from_parts(matrix.data, matrix.indices, matrix.indptr, matrix.shape[1])
    check_matrix(matrix, path)
    return matrix


def _check_sizes(path: Path) -> None:
    """Hold what the file says of its arrays against its size, before anything is unpacked.

    Raises DataError: it unpacks to far more than it holds, or an array is said to be larger than
    its part of the file. Raises whatever zipfile and numpy do for a file that is none.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > max(_ANY_BYTES, size * _MOST_PACKING):
            raise DataError(
                f"{path}: {size} bytes that unpack to {unpacked}, too many for a matrix; write it "
                "again"
            )
        for info in archive.infolist():
            with archive.open(info) as file:
                shape, dtype = _array_header(file)
            if dtype.hasobject:
                raise DataError(f"{path}: {info.filename} needs pickle, which is not read")
            if math.prod(shape) * dtype.itemsize > info.file_size:
                raise DataError(
                    f"{path}: {info.filename} is said to be {dtype} of shape {shape}, which its "
                    f"{info.file_size} bytes cannot hold; write it again"
                )
        with archive.open("shape.npy") as file:
            rows = int(npy.read_array(file, allow_pickle=False).ravel()[0])
    if not 0 <= rows <= max(_ANY_ROWS, unpacked):
        raise DataError(f"{path}: {rows} rows in {unpacked} bytes; write it again")


def _array_header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file, max_header_size=4096)
    return shape, dtype


def _read_texts(path: Path) -> list[str]:
    texts = []
    for number, raw in numbered_lines(path):
        try:
            texts.append(raw.decode("utf-8").strip())
        except UnicodeDecodeError as err:
            raise DataError(
                f"{path}: line {number}: byte {err.start + 1} is not UTF-8; convert the file"
            ) from err
    return texts


def _label_table(path: Path, num_labels: int) -> LabelTable:
    table = numbered_labels(path, num_labels)
    items = path.parent / ITEMS_FILE
    if not items.is_file() or not num_labels:
        return table
    names = [clean_label(name) for name in _read_texts(items)]
    if len(names) != num_labels:
        raise DataError(
            f"{items}: {len(names)} label names but Y has {num_labels} columns; remove the file or "
            "give one line a label"
        )
    return LabelTable.from_ids(table.ids, names)


def _num_duplicates(X: sp.csr_array | None, texts: list[str] | None, Y: sp.csr_array) -> int:
    contents = set()
    for row in range(Y.shape[0]):
        labels = Y.indices[Y.indptr[row] : Y.indptr[row + 1]].tobytes()
        content: tuple[str | bytes, ...] = (texts[row],) if texts is not None else ()
        if X is not None:
            part = slice(X.indptr[row], X.indptr[row + 1])
            content += (X.indices[part].tobytes(), X.data[part].tobytes())
        contents.add(hash((labels, content)))
    return int(Y.shape[0]) - len(contents)


def is_pair_name(path: str | Path) -> bool:
    """Whether a name is that of a pair: `X.trn.npz`, `Y.trn.npz`, or `X.trn.txt` with its Y beside.

    Args:
        path: The file.

    Returns:
        True for such names, and for all that end in `.npz`.
    """
    if plain_name(path).endswith(".npz"):
        return True
    return _NAME.fullmatch(Path(path).name) is not None and pair_paths(path)[1] is not None
