"""The rows of the linear benchmark: made once by xrt, handed to all systems as npz files.

A row set is a folder with X_trn, Y_trn, X_tst and Y_tst as npz, for `hybrid` also E_trn and E_tst
as npy, and settings.json, by which a kept folder is recognised. N rows, F words, H dense columns.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from synthetic_corpus import SyntheticSize, synthetic_corpus

from xrt import read_corpus
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams

NAMES = ("X_trn", "Y_trn", "X_tst", "Y_tst")
DATA_SETS = {"tibkat": "tibkat", "yso": "yso", "hybrid": "tibkat"}
"""Row sets made of texts, and the data set each is made of."""
SYNTHETIC = re.compile(r"synthetic-(\d+)(k|m)")
NUM_DENSE = 384
Splits = tuple[sp.csr_matrix, sp.csr_matrix, sp.csr_matrix, sp.csr_matrix]


def row_set_name(name: str) -> str:
    """The name of a row set as an argument. Raises ValueError when there is none of that name."""
    if name not in DATA_SETS and not SYNTHETIC.fullmatch(name):
        raise ValueError(name)
    return name


def make_rows(
    name: str,
    folder: Path,
    data: Path | None,
    *,
    max_train_rows: int | None = None,
    embeddings: Path | None = None,
    seed: int = 0,
) -> None:
    """Write the row set into the folder, unless the very same lies there already.

    `embeddings` (for `hybrid`) is a npy file (N_trn + N_tst, H) with the rows of trn first, in the
    order of the files; without it dense columns are seeded random projections of the TF-IDF rows.
    """
    settings: dict[str, Any] = {
        "name": name, "seed": seed, "max_train_rows": max_train_rows,
        "embeddings": None if embeddings is None or name != "hybrid" else embeddings.name,
    }  # fmt: skip
    told = folder / "settings.json"
    if told.is_file() and json.loads(told.read_text()) == settings:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (told, *folder.glob("E_*.npy"), *folder.glob("train*.txt")):
        stale.unlink(missing_ok=True)
    synthetic = SYNTHETIC.fullmatch(name)
    if synthetic:
        num_labels = int(synthetic[1]) * (1_000 if synthetic[2] == "k" else 1_000_000)
        splits: Splits = synthetic_corpus(SyntheticSize.of(num_labels), seed)
    else:
        splits = text_rows(find_data(data) / DATA_SETS[name])
    if name == "hybrid":
        write_dense(folder, splits, embeddings, max_train_rows, seed)
    X_trn, Y_trn, X_tst, Y_tst = splits
    kept = slice(max_train_rows)
    for key, matrix in zip(NAMES, (X_trn[kept], Y_trn[kept], X_tst, Y_tst), strict=True):
        sp.save_npz(folder / f"{key}.npz", sp.csr_matrix(matrix), compressed=False)
    told.write_text(json.dumps(settings))


def find_data(given: Path | None) -> Path:
    """The folder of the data sets: as given, or XRT_DATA."""
    folder = given or Path(os.environ.get("XRT_DATA", "no folder given"))
    if not folder.is_dir():
        raise SystemExit(f"data folder {str(folder)!r} not found; give --data or set XRT_DATA")
    return folder


def text_rows(dataset: Path) -> Splits:
    """TF-IDF rows and labels of both splits; the vocabulary comes from trn alone."""
    train = read_corpus(split_file(dataset, "trn"))
    test = read_corpus(split_file(dataset, "tst"), labels=train.labels)
    assert train.texts is not None
    assert test.texts is not None
    tfidf = TfidfFeatures(TfidfParams())
    X_trn, X_tst = tfidf.fit_transform(train.texts), tfidf.transform(test.texts)
    return tuple(sp.csr_matrix(matrix) for matrix in (X_trn, train.Y, X_tst, test.Y))


def split_file(dataset: Path, split: str) -> Path:
    """The file of one split, compressed or not."""
    for suffix in ("", ".gz", ".xz"):
        if (path := dataset / f"{split}.jsonl{suffix}").is_file():
            return path
    raise SystemExit(f"{dataset}: no {split}.jsonl (.gz, .xz) there; give another --data or --rows")


def write_dense(
    folder: Path, splits: Splits, embeddings: Path | None, max_train_rows: int | None, seed: int
) -> None:
    """Write the dense columns of both splits: rows of length 1."""
    X_trn, X_tst = splits[0], splits[2]
    if embeddings is None:
        E_trn, E_tst = (projected(X, NUM_DENSE, seed) for X in (X_trn, X_tst))
    else:
        both = np.load(embeddings, allow_pickle=False)
        if both.ndim != 2 or len(both) != X_trn.shape[0] + X_tst.shape[0]:
            raise SystemExit(
                f"{embeddings}: shape {both.shape}, but {X_trn.shape[0]} + {X_tst.shape[0]} rows "
                "are needed, those of trn first"
            )
        E_trn, E_tst = both[: X_trn.shape[0]], both[X_trn.shape[0] :]
    np.save(folder / "E_trn.npy", unit_rows(E_trn[:max_train_rows]))
    np.save(folder / "E_tst.npy", unit_rows(E_tst))


def projected(X_NF: sp.csr_matrix, num_dense: int, seed: int) -> np.ndarray:
    """Rows times a random Gaussian matrix, which keeps angles roughly: float32 (N, H)."""
    rng = np.random.default_rng(seed)
    return X_NF @ rng.standard_normal((X_NF.shape[1], num_dense), dtype=np.float32)


def unit_rows(E_NH: np.ndarray) -> np.ndarray:
    """Rows brought to length 1, those of zeros left: float32 (N, H)."""
    lengths_N = np.linalg.norm(E_NH, axis=1, keepdims=True)
    return (E_NH / np.where(lengths_N > 0, lengths_N, 1)).astype(np.float32)
