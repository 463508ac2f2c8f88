"""The shortlists of a model's hybrid rankers: one index for each tree, and its measured recall."""

import numpy as np
import scipy.sparse as sp

from xrt.hybrid import HybridMatrix, unit_rows
from xrt.pipeline.blocks import Blocks
from xrt.search.beam import SearchParams
from xrt.sources.entry_recall import FITTED_ROWS, MEASURED_ROWS, build_shortlist, choose_width
from xrt.sources.entry_recall import sample_rows as spread
from xrt.sources.shortlist import IndexKind, NodeVectors, Shortlist, ShortlistParams
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr


def make_shortlists(
    params: ShortlistParams,
    search: SearchParams,
    ranker: TreeEnsemble,
    blocks: Blocks,
    X_NF: sp.csr_array,
    Y_NL: sp.csr_array,
    used: np.ndarray,
    num_threads: int | None = None,
) -> tuple[Shortlist, ...]:
    """An index over the clusters just above the labels of each tree; flat trees have none.

    The rankers were trained on the `used` rows. Recall is measured on others where there are any.
    """
    level = ranker.tree.depth - 2
    if params.index is IndexKind.none or level < 0:
        return ()
    width = blocks.tuned_NH.shape[1]

    def taken(rows: np.ndarray) -> tuple[HybridMatrix, np.ndarray]:
        embeddings = blocks.embeddings(rows)
        return blocks.join(as_csr(X_NF[rows]), embeddings), unit_rows(embeddings[:, :width])

    fitted = params.vectors is NodeVectors.fitted
    trained = used[spread(len(used), FITTED_ROWS)] if fitted else used
    X, unit_NH = taken(trained)
    held_out = np.setdiff1d(np.arange(X_NF.shape[0]), used)
    measured = held_out if len(held_out) else used
    sample_X, sample_NH = taken(measured[spread(len(measured), MEASURED_ROWS)])
    what = "held-out" if len(held_out) else "training"
    Y = as_csr(Y_NL[trained])
    found = []
    for tree in ranker.trees:
        shortlist = build_shortlist(tree, level, X, unit_NH, Y, params, search, num_threads)
        choose_width(shortlist, tree, sample_X, sample_NH, search, what, num_threads)
        found.append(shortlist)
    return tuple(found)
