"""The rows of all suites: read and made once by xrt, handed to the systems as files.

A linear row set is a folder with X_trn, Y_trn, X_tst and Y_tst as npz, for `hybrid` also E_trn and
E_tst as npy, and settings.json, by which a folder of an earlier run is recognised. The encoder
suite has texts and labels, or texts and clusters of labels; the latency suite texts to ask and the
peer's rows; the attributes suite a catalogue's items. N rows, F words, H dense columns, L labels, K
clusters, A attributes.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from bench.synthetic import SyntheticSize, synthetic_corpus
from xrt import read_corpus
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix
from xrt.pipeline.trees import TreeGrower
from xrt.sparse import as_csr
from xrt.tree.clustering import TreeParams

NAMES = ("X_trn", "Y_trn", "X_tst", "Y_tst")
DATA_SETS = {"tibkat": "tibkat", "yso": "yso", "hybrid": "tibkat"}
"""Row sets made of texts, and the data set each is made of."""
SYNTHETIC = re.compile(r"synthetic-(\d+)(k|m)")
NUM_DENSE = 384
MAX_LEAF_SIZE = 50
"""Of the encoder suite's clusters, as in the preset `tibkat`."""
WORDS_AND_CHARACTERS = TfidfParams(char_ngrams=(3, 5))
"""Of the attributes suite."""
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
    settings_file = folder / "settings.json"
    if settings_file.is_file() and json.loads(settings_file.read_text()) == settings:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (settings_file, *folder.glob("E_*.npy"), *folder.glob("train*.txt")):
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
    selected = (X_trn[trn], Y_trn[trn], X_tst[tst], Y_tst[tst])
    for key, matrix in zip(NAMES, selected, strict=True):
        sp.save_npz(folder / f"{key}.npz", sp.csr_matrix(matrix), compressed=False)
    settings_file.write_text(json.dumps(settings))


def find_data(data: Path | None) -> Path:
    """The folder of the data sets: `data`, or XRT_DATA."""
    folder = data or Path(os.environ.get("XRT_DATA", "no folder given"))
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


def dataset_folder(data: Path | None) -> Path:
    """The folder of tibkat."""
    return find_data(data) / "tibkat"


def make_pace_rows(data: Path | None, folder: Path, num_rows: int, seed: int) -> dict[str, int]:
    """Write a sample of tibkat's training texts and their labels' clusters, the finest of a tree
    of all training rows; gives sizes.
    """
    corpus = read_corpus(split_file(dataset_folder(data), "trn"))
    assert corpus.texts is not None
    Y_NL = as_csr(corpus.Y)
    X = HybridMatrix.of(TfidfFeatures().fit_transform(corpus.texts))
    tree = TreeGrower(X, Y_NL).grow(TreeParams(max_leaf_size=MAX_LEAF_SIZE), seed)
    Y_NK = sp.csr_matrix(tree.level_targets(Y_NL)[-2])
    Y_NK.data[:] = 1.0
    rng = np.random.default_rng(seed)
    labelled = np.flatnonzero(np.diff(Y_NK.indptr))
    rows = np.sort(rng.choice(labelled, min(num_rows, len(labelled)), replace=False))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.json").write_text(json.dumps([corpus.texts[row] for row in rows]))
    sp.save_npz(folder / "Y_clusters.npz", Y_NK[rows])
    return {"num_rows": len(rows), "num_clusters": Y_NK.shape[1]}


def make_full_rows(data: Path | None, folder: Path) -> None:
    """Write all of tibkat: TF-IDF rows and labels as the linear benchmark has them, and texts."""
    make_rows("tibkat", folder, data)
    for part in ("trn", "tst"):
        corpus = read_corpus(split_file(dataset_folder(data), part))
        (folder / f"texts_{part}.json").write_text(json.dumps(corpus.texts))


def write_queries(
    file: Path, columns: list[str] | None, num_texts: int, folder: Path
) -> dict[str, float]:
    """Write `queries.json`, texts spread evenly over a labelled file; gives their number and mean
    length in words.
    """
    texts = read_corpus(file, text_columns=columns).texts
    assert texts is not None
    rows = np.linspace(0, len(texts) - 1, min(num_texts, len(texts))).astype(int)
    queries = [texts[row] for row in rows]
    (folder / "queries.json").write_text(json.dumps(queries))
    words = float(np.mean([len(text.split()) for text in queries]))
    return {"num_texts": len(queries), "words_a_text": round(words, 1)}


def write_peer_rows(file: Path, max_rows: int, seed: int, folder: Path) -> dict[str, int]:
    """Write `texts.json` and `Y.npz`: training rows in which every label has one, and others up to
    `max_rows`; each text on one line, as PECOS cannot open a vocabulary whose terms hold line ends.
    """
    corpus = read_corpus(file)
    assert corpus.texts is not None
    Y_NL = as_csr(corpus.Y)
    rows = covering_rows(Y_NL, max_rows, seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.json").write_text(
        json.dumps([" ".join(corpus.texts[row].split()) for row in rows])
    )
    sp.save_npz(folder / "Y.npz", sp.csr_matrix(Y_NL[rows]))
    return {"num_train": len(rows), "num_labels": Y_NL.shape[1]}


def covering_rows(Y_NL: sp.csr_array, max_rows: int, seed: int) -> np.ndarray:
    """Rows, ascending, in which every label that has a row has one, rows with most labels first;
    then rows at random up to `max_rows`.
    """
    covered_L = np.zeros(Y_NL.shape[1], bool)
    chosen = np.zeros(Y_NL.shape[0], bool)
    for row in np.argsort(-np.diff(Y_NL.indptr), kind="stable"):
        labels = Y_NL.indices[Y_NL.indptr[row] : Y_NL.indptr[row + 1]]
        if not covered_L[labels].all():
            covered_L[labels] = chosen[row] = True
    further = np.random.default_rng(seed).permutation(np.flatnonzero(~chosen))
    chosen[further[: max(0, max_rows - int(chosen.sum()))]] = True
    return np.flatnonzero(chosen)


@dataclass(frozen=True, eq=False)
class CatalogueRows:
    """Texts and labels of both splits; columns from `num_known` on are values that only tst has."""

    texts_trn: list[str]
    texts_tst: list[str]
    Y_trn: sp.csr_array
    space: AttributeSpace
    space_tst: AttributeSpace
    given_trn: np.ndarray
    given_tst: np.ndarray

    @classmethod
    def read(cls, trn: Path, tst: Path, schema: AttributeSchema) -> "CatalogueRows":
        """Read both files; the roles of the columns are those of training."""
        corpus, space, item_texts = read_attributes(trn, schema)
        other, space_tst, _ = read_attributes(tst, labels=space.labels, item_texts=item_texts)
        return cls(
            *(list(corpus.texts or ()), list(other.texts or ()), corpus.Y, space, space_tst),
            *(space.cells_of(corpus.Y), space_tst.cells_of(other.Y)),
        )

    @property
    def num_known(self) -> int:
        """Labels of training, L."""
        return len(self.space.labels)

    @property
    def counts_L(self) -> np.ndarray:
        """Training rows of each label."""
        return np.bincount(self.Y_trn.indices, minlength=self.num_known)

    def write(self, folder: Path, params: TfidfParams = WORDS_AND_CHARACTERS) -> tuple[int, int]:
        """Write what a peer reads; returns the shape of the TF-IDF rows of training."""
        features = TfidfFeatures(params)
        X_trn = features.fit_transform(self.texts_trn)
        X_tst = features.transform(self.texts_tst)
        for name, matrix in (("X_trn", X_trn), ("X_tst", X_tst), ("Y_trn", self.Y_trn)):
            sp.save_npz(folder / f"{name}.npz", sp.csr_matrix(matrix), compressed=False)
        np.save(folder / "given_trn.npy", self.given_trn)
        np.save(folder / "attribute_of_L.npy", self.space.attribute_of_L)
        return X_trn.shape
