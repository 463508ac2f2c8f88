"""Labels that may be one label twice: alike in name, or given to the same rows.

L labels, N rows, P pairs (row, label). Cross-prediction of a by b: the mean out-of-fold
probability of b over the rows that have a and not b. Two labels of one meaning predict each other;
two that are always given together share their rows.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.suggestions.pairs import values_at
from xrt.applications.audit.suggestions.suspects import AssessedPairs
from xrt.data.corpus import Corpus
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.sources.neighbours import NeighbourParams, SparseNeighbours
from xrt.sparse import as_csr, best_places, binarize

MAX_PAIRS = 500
NEAREST_NAMES = 5
MIN_CROSS = 0.2
"""Both labels must predict each other this much, where their names are not alike."""
MIN_SHARED = 0.8
"""Or share this much of their rows (Jaccard), with MIN_ROWS rows in common."""
MIN_ROWS = 3


def similar_labels(
    corpus: Corpus, assessed: AssessedPairs, params: AuditParams
) -> list[dict[str, Any]]:
    """Pairs of labels that are alike in name, rows or cross-prediction.

    Args:
        corpus: The corpus.
        assessed: The judged pairs.
        params: Of these, `similar_names` and `num_threads` are used.

    Returns:
        A record for each pair with similarity of names, share of common rows and cross-prediction
        both ways; the most alike first, at most MAX_PAIRS.
    """
    Y_NL = binarize(as_csr(corpus.Y))
    counts_L = np.bincount(Y_NL.indices, minlength=corpus.num_labels)
    names_LL = _alike_in_name(corpus, params)
    cross_LL = _cross_prediction(Y_NL, assessed, counts_L)
    mutual_LL = as_csr(cross_LL.minimum(as_csr(cross_LL.T)))
    common_LL = as_csr(Y_NL.T.tocsr() @ Y_NL)
    shared_LL = _jaccard(common_LL, counts_L)
    candidates: set[tuple[int, int]] = set()
    for matrix, least in (
        (names_LL, params.similar_names), (mutual_LL, MIN_CROSS), (shared_LL, MIN_SHARED),
    ):  # fmt: skip
        coo = matrix.tocoo()
        frequent = (coo.data >= least) & (coo.row < coo.col)
        candidates |= set(zip(coo.row[frequent].tolist(), coo.col[frequent].tolist(), strict=True))
    pairs = np.array(sorted(candidates), np.int64).reshape(-1, 2)
    a, b = pairs.T
    name, cross, back, shared = (
        values_at(matrix, i, j)
        for matrix, i, j in (
            (names_LL, a, b), (cross_LL, a, b), (cross_LL, b, a), (shared_LL, a, b),
        )
    )  # fmt: skip
    order = best_places(name + np.minimum(cross, back) + shared, MAX_PAIRS)
    ids, names = corpus.labels.ids, corpus.labels.names
    return [
        {
            "labels": [ids[a[i]], ids[b[i]]],
            "names": [names[a[i]], names[b[i]]],
            "rows": [int(counts_L[a[i]]), int(counts_L[b[i]])],
            "name_similarity": round(float(name[i]), 4),
            "shared_rows": round(float(shared[i]), 4),
            "cross_prediction": [round(float(cross[i]), 4), round(float(back[i]), 4)],
        }
        for i in order
    ]


def _alike_in_name(corpus: Corpus, params: AuditParams) -> sp.csr_array:
    """Cosine of character trigrams of each name with the nearest names: (L, L), symmetric."""
    named_L = np.flatnonzero([bool(name) for name in corpus.labels.names])
    shape = (corpus.num_labels, corpus.num_labels)
    if len(named_L) < 2:
        return sp.csr_array(shape, dtype=np.float32)
    trigrams = TfidfParams(word_ngram_max=0, char_ngrams=(3, 3), min_df=1)
    X_RF = TfidfFeatures(trigrams).fit_transform([corpus.labels.names[i] for i in named_L])
    no_labels = sp.csr_array((len(named_L), 1), dtype=np.float32)
    index = SparseNeighbours(X_RF, no_labels, NeighbourParams(num_neighbours=NEAREST_NAMES))
    neighbours = index.nearest(X_RF, params.num_threads, np.arange(len(named_L)))
    rows, places = np.nonzero(neighbours.rows_MW >= 0)
    columns = named_L[neighbours.rows_MW[rows, places]]
    cells = (neighbours.similarities_MW[rows, places], (named_L[rows], columns))
    similar = sp.csr_array(cells, shape=shape)
    return as_csr(similar.maximum(as_csr(similar.T)))


def _cross_prediction(
    Y_NL: sp.csr_array, assessed: AssessedPairs, counts_L: np.ndarray
) -> sp.csr_array:
    """Mean probability of the column's label over rows of the row's label without it: (L, L)."""
    pairs = assessed.pairs
    likely = ~pairs.given_P & (assessed.probability_P >= 0.5 * MIN_CROSS)
    cells = (assessed.probability_P[likely], (pairs.rows_P[likely], pairs.labels_P[likely]))
    predicted_NL = as_csr(sp.csr_array(cells, shape=Y_NL.shape))
    sums_LL = as_csr(Y_NL.T.tocsr() @ predicted_NL)
    common_LL = as_csr(Y_NL.T.tocsr() @ Y_NL)
    coo = sums_LL.tocoo()
    both = values_at(common_LL, coo.row, coo.col)
    without = np.maximum(counts_L[coo.row] - both, 1)
    return as_csr(sp.csr_array((coo.data / without, (coo.row, coo.col)), shape=sums_LL.shape))


def _jaccard(common_LL: sp.csr_array, counts_L: np.ndarray) -> sp.csr_array:
    """Share of the rows of either label that have both, where MIN_ROWS do: (L, L)."""
    coo = common_LL.tocoo()
    frequent = (coo.data >= MIN_ROWS) & (coo.row != coo.col)
    row, column, both = coo.row[frequent], coo.col[frequent], coo.data[frequent]
    share = both / (counts_L[row] + counts_L[column] - both)
    return as_csr(sp.csr_array((share, (row, column)), shape=common_LL.shape))
