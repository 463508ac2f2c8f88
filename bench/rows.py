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

from bench.synthetic import SyntheticSize, synthetic_corpus
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
    max_test_rows: int | None = None,
    embeddings: Path | None = None,
    seed: int = 0,
) -> None:
    """Write the row set into the folder, unless the very same lies there already.

    `max_train_rows` keeps the first rows of trn, `max_test_rows` rows spread evenly over tst.
    `embeddings` (for `hybrid`) is a npy file (N_trn + N_tst, H) with the rows of trn first, in the
    order of the files; without it dense columns are seeded random projections of the TF-IDF rows.
    """
    settings: dict[str, Any] = {
        "name": name, "seed": seed,
        "max_train_rows": max_train_rows, "max_test_rows": max_test_rows,
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
    X_trn, Y_trn, X_tst, Y_tst = splits
    trn = np.arange(X_trn.shape[0])[:max_train_rows]
    num_test = min(X_tst.shape[0], max_test_rows or X_tst.shape[0])
    tst = np.linspace(0, X_tst.shape[0] - 1, num_test).astype(int)
    if name == "hybrid":
        E_trn, E_tst = dense_columns(X_trn, X_tst, embeddings, seed)
        np.save(folder / "E_trn.npy", unit_rows(E_trn[trn]))
        np.save(folder / "E_tst.npy", unit_rows(E_tst[tst]))
    kept = (X_trn[trn], Y_trn[trn], X_tst[tst], Y_tst[tst])
    for key, matrix in zip(NAMES, kept, strict=True):
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


def dense_columns(
    X_trn: sp.csr_matrix, X_tst: sp.csr_matrix, embeddings: Path | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The dense columns of both splits: given embeddings, or projections (N, H)."""
    if embeddings is None:
        return projected(X_trn, NUM_DENSE, seed), projected(X_tst, NUM_DENSE, seed)
    both = np.load(embeddings, allow_pickle=False)
    if both.ndim != 2 or len(both) != X_trn.shape[0] + X_tst.shape[0]:
        raise SystemExit(
            f"{embeddings}: shape {both.shape}, but {X_trn.shape[0]} + {X_tst.shape[0]} rows "
            "are needed, those of trn first"
        )
    return both[: X_trn.shape[0]], both[X_trn.shape[0] :]


def projected(X_NF: sp.csr_matrix, num_dense: int, seed: int) -> np.ndarray:
    """Rows times a random Gaussian matrix, which keeps angles roughly: float32 (N, H)."""
    rng = np.random.default_rng(seed)
    return X_NF @ rng.standard_normal((X_NF.shape[1], num_dense), dtype=np.float32)


def unit_rows(E_NH: np.ndarray) -> np.ndarray:
    """Rows brought to length 1, those of zeros left: float32 (N, H)."""
    lengths_N = np.linalg.norm(E_NH, axis=1, keepdims=True)
    return (E_NH / np.where(lengths_N > 0, lengths_N, 1)).astype(np.float32)
