"""Scores of labels by linear models that have not seen the row.

N rows, L labels, F TF-IDF columns. Each fold's model grows its own tree: a tree of all rows would
know where the labels of held-out rows belong.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.audit_params import AuditParams
from xrt.data.labels import LabelTable
from xrt.hybrid import HybridMatrix
from xrt.pipeline.label_names import LabelNameRows
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trainer import Trainer
from xrt.progress import Progress
from xrt.sources.path_scores import path_scores
from xrt.sparse import as_csr


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
    names: LabelNameRows | None,
    labels: LabelTable,
    held_out_N: np.ndarray,
    params: AuditParams,
    progress: Progress | None = None,
) -> FoldScores:
    """Scores of the rows marked in `held_out_N` (bool) by a linear tree of the other rows."""
    trained, held = np.flatnonzero(~held_out_N), np.flatnonzero(held_out_N)
    X, Y_trained = HybridMatrix.of(as_csr(X_NF[trained])), as_csr(Y_NL[trained])
    if names is not None:
        X, Y_trained = names.join(X, Y_trained)
    threads = params.num_threads
    settings = PipelineParams(seed=params.seed, num_threads=threads or 0)
    trees = Trainer(settings, progress=progress).fit_trees(X, Y_trained, labels)
    del X, Y_trained
    rows = HybridMatrix.of(as_csr(X_NF[held]))
    best = trees.search(rows, params.candidates, settings.search, threads)
    given, decoys = (
        path_scores(trees.trees[0], rows, as_csr(pairs_NL[held]), settings.search, threads)
        for pairs_NL in (Y_NL, decoys_NL)
    )
    return FoldScores(best, given, decoys)


def in_row_order(parts: list[sp.csr_array], fold_N: np.ndarray) -> sp.csr_array:
    """The rows of all folds, each fold's in its own order, as they stand in the corpus."""
    order = np.argsort(fold_N, kind="stable")
    stacked = sp.vstack(parts, format="csr")
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return as_csr(stacked[back])
