"""Scores of labels by linear models that have not seen the row.

N rows, L labels, F TF-IDF columns. Each fold's model grows its own tree: a tree of all rows would
know where the labels of held-out rows belong.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.audit_params import AuditParams
from xrt.hybrid import HybridMatrix
from xrt.pipeline.label_rows import LabelRows
from xrt.pipeline.trees import TreeGrower
from xrt.progress import Progress
from xrt.search.beam import SearchParams
from xrt.sources.path_scores import path_scores
from xrt.sources.ranker import RankerParams, train_ranker
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr
from xrt.tree.clustering import TreeParams


@dataclass(frozen=True, eq=False)
class FoldScores:
    """Scores in [0, 1] of some rows: the best labels of each, every given label, the decoys."""

    best_NL: sp.csr_array
    given_NL: sp.csr_array
    decoys_NL: sp.csr_array


def score_fold(
    X_NF: sp.csr_array,
    Y_NL: sp.csr_array,
    decoys_NL: sp.csr_array,
    names: LabelRows | None,
    held_out_N: np.ndarray,
    params: AuditParams,
    progress: Progress | None = None,
) -> FoldScores:
    """Scores of the rows marked in `held_out_N` (bool) by a linear tree of the other rows."""
    trained, held = np.flatnonzero(~held_out_N), np.flatnonzero(held_out_N)
    X, Y_trained = HybridMatrix.of(as_csr(X_NF[trained])), as_csr(Y_NL[trained])
    if names is not None:
        X, Y_trained = names.join(X, Y_trained)
    threads, search = params.num_threads, SearchParams()
    grower = TreeGrower(X, Y_trained, threads, progress)
    tree = grower.grow(TreeParams(), params.seed)
    del grower
    ranker = train_ranker(X, Y_trained, tree, RankerParams(), params.seed, threads, progress)
    del X, Y_trained
    rows = HybridMatrix.of(as_csr(X_NF[held]))
    best = TreeEnsemble((ranker,)).search(rows, params.candidates, search, threads)
    given, decoys = (
        path_scores(ranker, rows, as_csr(asked_NL[held]), search, threads)
        for asked_NL in (Y_NL, decoys_NL)
    )
    return FoldScores(best, given, decoys)


def in_row_order(parts: list[sp.csr_array], fold_N: np.ndarray) -> sp.csr_array:
    """The rows of all folds, each fold's in its own order, as they stand in the corpus."""
    order = np.argsort(fold_N, kind="stable")
    stacked = sp.vstack(parts, format="csr")
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return as_csr(stacked[back])
