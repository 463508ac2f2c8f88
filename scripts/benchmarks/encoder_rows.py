"""The rows of the encoder benchmark: texts, TF-IDF and labels, or texts and clusters of labels.

N rows, L labels, K clusters.
"""

import json
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from linear_rows import find_data, make_rows, split_file

from xrt import read_corpus
from xrt.features.tfidf import TfidfFeatures
from xrt.hybrid import HybridMatrix
from xrt.pipeline.trees import TreeGrower
from xrt.sparse import as_csr
from xrt.tree.clustering import TreeParams

MAX_LEAF_SIZE = 50


def make_pace_rows(data: Path | None, folder: Path, num_rows: int, seed: int) -> dict[str, int]:
    """Write a sample of tibkat's training texts and the clusters of their labels; gives sizes."""
    corpus = read_corpus(split_file(find_data(data) / "tibkat", "trn"))
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(corpus.num_instances, min(num_rows, corpus.num_instances), False))
    part = corpus.subset(rows)
    assert part.texts is not None
    Y = as_csr(part.Y)
    Y = as_csr(Y[:, np.unique(Y.indices)])
    X = TfidfFeatures().fit_transform(part.texts)
    tree = TreeGrower(HybridMatrix.of(X), Y).grow(TreeParams(max_leaf_size=MAX_LEAF_SIZE), seed)
    Y_clusters = sp.csr_matrix(tree.level_targets(Y)[-2])
    Y_clusters.data[:] = 1.0
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.json").write_text(json.dumps(part.texts))
    sp.save_npz(folder / "Y_clusters.npz", Y_clusters)
    return {"num_rows": len(rows), "num_clusters": Y_clusters.shape[1]}


def make_full_rows(data: Path | None, folder: Path) -> None:
    """Write all of tibkat: TF-IDF rows and labels as the linear benchmark has them, and texts."""
    make_rows("tibkat", folder, data)
    for part in ("trn", "tst"):
        corpus = read_corpus(split_file(find_data(data) / "tibkat", part))
        (folder / f"texts_{part}.json").write_text(json.dumps(corpus.texts))
