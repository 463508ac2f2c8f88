"""The rows of the encoder benchmark: texts, TF-IDF and labels, or texts and clusters of labels.

N rows, L labels, K clusters.
"""

import json
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from bench.rows import find_data, make_rows, split_file
from xrt import read_corpus
from xrt.features.tfidf import TfidfFeatures
from xrt.hybrid import HybridMatrix
from xrt.pipeline.trees import TreeGrower
from xrt.sparse import as_csr
from xrt.tree.clustering import TreeParams

MAX_LEAF_SIZE = 50
"""As in the preset `tibkat`."""


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
