"""Builds a shortlist: vectors fitted to the rankers' scores, and the width that recall asks for.

N rows, K nodes of the opening level, H columns of the embedding. An exhaustive opening level scores
every node exactly; its best `beam_size` nodes of a row are what a shortlist should find. Scores
come from the whole row, TF-IDF included, which an index over embeddings does not see: recall is
measured, not assumed.
"""

import logging

import numpy as np

from xrt.hybrid import HybridMatrix
from xrt.linear.scoring import RowBlock
from xrt.search.beam import SearchParams
from xrt.sources.opening_level import OpeningLevel
from xrt.sources.ranker import TreeRanker
from xrt.sources.shortlist import Shortlist, ShortlistParams
from xrt.sparse import best_columns
from xrt.threads import run_blocks

logger = logging.getLogger(__name__)

WIDTHS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Widths that are tried, the smallest first; a tree with fewer nodes ends with all of them."""
MEASURED_ROWS = 500
FITTED_ROWS = 10_000
"""Rows that vectors are fitted to."""
RIDGE = 1e-3
"""Penalty on squared weights for each fitted row."""
SCORED_ROWS = 256
"""Rows whose scores of all nodes are held at once by a thread."""


def build_shortlist(
    ranker: TreeRanker,
    level: int,
    X: HybridMatrix,
    unit_NH: np.ndarray,
    params: ShortlistParams,
    num_threads: int | None = None,
) -> Shortlist:
    """An index over the nodes of `level`, from training rows; its width may be still to choose.

    Fitted vectors v and offsets b make v · embedding + b nearest, in squares, to the log score of
    the node's path; the mean over all nodes is taken off, since it ranks nothing.

    Args:
        ranker: tree and weights.
        level: the level to open at, from 0.
        X: N hybrid rows of training.
        unit_NH: embeddings of the rows, of length 1, (N, H).
        params: kind and width of the index.
        num_threads: threads; None for the default.

    Returns:
        The shortlist, fitted on at most FITTED_ROWS of the rows.
    """
    opened = OpeningLevel(ranker.levels, ranker.tree, level)
    rows = sample_rows(X.num_rows, FITTED_ROWS)
    vectors_KH, offsets_K = fit_vectors(opened, X.take(rows), unit_NH[rows], num_threads)
    return Shortlist(vectors_KH, params, level, offsets_K)


def fit_vectors(
    opened: OpeningLevel,
    X: HybridMatrix,
    unit_NH: np.ndarray,
    num_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression of the exact scores on the embedding: float32 (K, H) and (K,).

    Args:
        opened: the levels down to the one that is opened.
        X: N hybrid rows.
        unit_NH: embeddings of the rows, of length 1, (N, H).
        num_threads: threads; None for the default.

    Returns:
        Vectors and offsets of the nodes.
    """
    rows_NM = np.column_stack([unit_NH, np.ones(len(unit_NH))]).astype(np.float64)
    num_columns = rows_NM.shape[1]
    products_MK = np.zeros((num_columns, opened.num_nodes))
    for low in range(0, X.num_rows, 4 * SCORED_ROWS):
        part = slice(low, min(X.num_rows, low + 4 * SCORED_ROWS))
        scores_nK = exhaustive_scores(opened, X, part, num_threads)
        products_MK += rows_NM[part].T @ (scores_nK - scores_nK.mean(axis=1, keepdims=True))
    gram_MM = rows_NM.T @ rows_NM + RIDGE * len(rows_NM) * np.eye(num_columns)
    fitted_KM = np.linalg.solve(gram_MM, products_MK).T.astype(np.float32)
    return fitted_KM[:, :-1], fitted_KM[:, -1]


def exhaustive_scores(
    opened: OpeningLevel,
    X: HybridMatrix,
    part: slice,
    num_threads: int | None = None,
) -> np.ndarray:
    """The log scores of all nodes for some of the rows: float32 (n, K).

    Args:
        opened: the levels down to the one that is opened.
        X: hybrid rows.
        part: first row and the row behind the last, n rows.
        num_threads: threads; None for the default.

    Returns:
        Log scores.
    """
    starts = range(part.start, part.stop, SCORED_ROWS)

    def score(block: int) -> np.ndarray:
        low = starts[block]
        rows = RowBlock.of(X, low, min(part.stop, low + SCORED_ROWS))
        return opened.all_scores(rows)

    parts = run_blocks(score, len(starts), num_threads)
    return np.concatenate(parts) if parts else np.zeros((0, opened.num_nodes), np.float32)


def choose_width(
    shortlist: Shortlist,
    ranker: TreeRanker,
    X: HybridMatrix,
    unit_NH: np.ndarray,
    search: SearchParams,
    what: str,
    num_threads: int | None = None,
) -> None:
    """Measure recall on at most MEASURED_ROWS of the rows, and set width and recall.

    A width that is given is measured alone. Else it is the smallest of the ladder that reaches the
    target, or the widest. `what` says in the log what rows these are.

    Args:
        shortlist: the shortlist; its `width` and `recall` are set.
        ranker: tree and weights.
        X: N hybrid rows.
        unit_NH: embeddings of the rows, of length 1, (N, H).
        search: how trees are searched.
        what: what rows these are.
        num_threads: threads; None for the default.
    """
    rows = sample_rows(X.num_rows, MEASURED_ROWS)
    X, unit_NH = X.take(rows), unit_NH[rows]
    opened = shortlist.opening_level(ranker)
    scores_NK = exhaustive_scores(opened, X, slice(0, len(rows)), num_threads)
    best_NB = best_columns(scores_NK, min(search.beam_size, scores_NK.shape[1]))
    num_nodes, target = shortlist.num_nodes, shortlist.params.recall_target
    ladder = sorted({min(width, num_nodes) for width in WIDTHS})
    if shortlist.params.width is not None:
        ladder = [shortlist.params.width]
    for width in ladder:
        shortlist.width = width
        share = recall(shortlist.nodes(unit_NH), best_NB, opened)
        shortlist.recall = share
        if share >= target:
            break
    message = (
        f"shortlist ({shortlist.kind.value}): {shortlist.width} of {num_nodes} nodes hold "
        f"{100 * share:.2f} % of the best {search.beam_size} on {len(rows)} {what} rows"
    )
    if share < target:
        message += f"; {100 * target:g} % was asked for and is not reached"
    logger.info(message)


def recall(nodes_NW: np.ndarray, best_NB: np.ndarray, opened: OpeningLevel) -> float:
    """Share of the best nodes that are looked at: the named ones and their siblings.

    Args:
        nodes_NW: named nodes of each row, -1 for none, (N, W).
        best_NB: best nodes of each row, (N, B).
        opened: the levels down to the one that is opened.

    Returns:
        0 to 1; 1 where there are no best nodes.
    """
    if not best_NB.size:
        return 1.0
    parents_K = opened.parents_K
    looked_at = np.zeros((len(nodes_NW), int(parents_K.max()) + 1), bool)
    rows_N, places = np.nonzero(nodes_NW >= 0)
    looked_at[rows_N, parents_K[nodes_NW[rows_N, places]]] = True
    return float(np.take_along_axis(looked_at, parents_K[best_NB], axis=1).mean())


def sample_rows(num_rows: int, count: int) -> np.ndarray:
    """At most `count` rows, evenly spread: the same ones each time.

    Args:
        num_rows: rows to choose from.
        count: most rows to choose.

    Returns:
        Row numbers, ascending, int64.
    """
    return np.unique(np.linspace(0, num_rows - 1, min(num_rows, count)).astype(np.int64))
