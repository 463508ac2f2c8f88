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
    """Scores of held-out rows by linear trees of the other rows.

    Args:
        X_NF: TF-IDF or other rows of length 1, (N, F).
        Y_NL: Given labels, (N, L).
        decoys_NL: Decoys, (N, L).
        names: Rows of label names that join training; None for none.
        labels: The corpus's labels.
        held_out_N: Which rows are scored, bool (N,); the others are learnt from.
        params: Of these, `candidates`, `seed` and `num_threads` are used.
        progress: Shows the training; None shows nothing.

    Returns:
        Scores of the held-out rows H, in their order: (H, L) each.
    """
    trained, held = np.flatnonzero(~held_out_N), np.flatnonzero(held_out_N)
    X, Y_trained = HybridMatrix.of(as_csr(X_NF[trained])), as_csr(Y_NL[trained])
    if names is not None:
        X, Y_trained = names.join(X, Y_trained)
    threads = params.num_threads
    settings = PipelineParams(seed=params.seed, num_threads=threads or 0)
    trees = Trainer(settings, progress=progress).fit_trees(X, Y_trained, labels)
    del X, Y_trained
    rows = HybridMatrix.of(as_csr(X_NF[held]))
    named_HL = trees.search(rows, params.candidates, settings.search, threads)
    best_HL, given_HL, decoys_HL = (  # all trees score all pairs, so that they can be compared
        trees.score_pairs(rows, pairs_HL, settings.search, threads)
        for pairs_HL in (named_HL, as_csr(Y_NL[held]), as_csr(decoys_NL[held]))
    )
    return FoldScores(best_HL, given_HL, decoys_HL)


def in_row_order(parts: list[sp.csr_array], fold_N: np.ndarray) -> sp.csr_array:
    """The rows of all folds as they stand in the corpus.

    Args:
        parts: The rows of each fold, fold 0 first, in their order in the corpus.
        fold_N: Fold of each row, int64 (N,).

    Returns:
        The rows, (N, L).
    """
    order = np.argsort(fold_N, kind="stable")
    stacked = sp.vstack(parts, format="csr")
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return as_csr(stacked[back])
