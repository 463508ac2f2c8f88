"""Evidence of clicks for each (query, value).

Q queries, I items, L labels, A attributes. All evidence is a few sparse products: what was clicked
(Q x I) times what has which value (I x L). Shares of a value are among the clicks on items of which
the attribute is known, so that values which the catalogue lacks count for none.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from xrt.applications.query_intent.catalogue import Catalogue
from xrt.applications.query_intent.clicks.examination import MAX_POSITION
from xrt.applications.query_intent.labelling_params import LabellingParams

CLICK_FEATURES = (
    "log_clicks",
    "share",
    "log_lift",
    "log_lift_lower",
    "share_lower",
    "log_items",
    "share_over_next",
    "known_share",
    "log_rate_ratio",
    "shown_share",
    "share_of_parent",
    "depth",
    "log_prior",
    "log_query_items",
)


@dataclass(frozen=True)
class ClickMatrices:
    """Sums over a group's rows. `mass`: clicks divided by the chance of a look, scaled so that a
    query's total is its number of clicks; `clicks`: as counted; `items`: distinct clicked items;
    `looks`: impressions times the chance of a look. _QL by label, _QA by attribute known, _Q all.
    """

    mass_QL: sp.csr_array
    mass_QA: sp.csr_array
    clicks_QL: sp.csr_array
    clicks_QA: sp.csr_array
    items_QL: sp.csr_array
    looks_QL: sp.csr_array
    looks_QA: sp.csr_array
    clicks_Q: np.ndarray
    items_Q: np.ndarray
    looks_Q: np.ndarray

    @classmethod
    def of(
        cls,
        rows: pl.DataFrame,
        num_queries: int,
        catalogue: Catalogue,
        examination: np.ndarray | None,
        params: LabellingParams,
    ) -> "ClickMatrices":
        """Sum the rows of a group of queries.

        Args:
            rows: Columns `query_id`, `item_id`, `position`, `count`, `impressions`.
            num_queries: Number of queries Q; each `query_id` is below it.
            catalogue: The catalogue.
            examination: Chance of a look at each position, float64 (MAX_POSITION + 1,); None for 1
                everywhere.
            params: Of these, `min_examination` is used: the least chance that clicks are divided
                by.

        Returns:
            The sums.
        """
        where = rows["query_id"].to_numpy(), rows["item_id"].to_numpy()
        shape = (num_queries, len(catalogue.items))
        position = np.minimum(rows["position"].to_numpy(), MAX_POSITION)
        look = np.ones(len(rows)) if examination is None else examination[position]
        count = rows["count"].to_numpy()
        clicks_QI = _summed(count, where, shape)
        mass_QI = _summed(count / np.maximum(look, params.min_examination), where, shape)
        looks_QI = _summed(rows["impressions"].to_numpy() * look, where, shape)
        clicked_QI = clicks_QI.copy()
        clicked_QI.data = (clicked_QI.data > 0).astype(np.float64)
        total, raw = (np.asarray(m.sum(axis=1)).ravel() for m in (mass_QI, clicks_QI))
        scale = np.where(total > 0, raw / np.maximum(total, 1e-12), 0)
        mass_QI = sp.csr_array(sp.diags_array(scale) @ mass_QI)
        Y, known = catalogue.Y_IL.astype(np.float64), catalogue.known_IA.astype(np.float64)
        return cls(
            mass_QL=_without_zeros(mass_QI @ Y),
            mass_QA=mass_QI @ known,
            clicks_QL=clicks_QI @ Y,
            clicks_QA=clicks_QI @ known,
            items_QL=clicked_QI @ Y,
            looks_QL=looks_QI @ Y,
            looks_QA=looks_QI @ known,
            clicks_Q=raw,
            items_Q=np.asarray(clicked_QI.sum(axis=1)).ravel(),
            looks_Q=np.asarray(looks_QI.sum(axis=1)).ravel(),
        )

    def share_QL(self, catalogue: Catalogue, prior_strength: float) -> sp.csr_array:
        """Smoothed share of each clicked value among clicks of which the attribute is known.

        Args:
            catalogue: The catalogue.
            prior_strength: How many clicks the value's share in the catalogue counts for.

        Returns:
            float64 (Q, L) with a value in (0, 1] for each clicked value, none elsewhere.
        """
        query_P = _row_of(self.mass_QL)
        label_P = self.mass_QL.indices
        known_P = at(self.mass_QA, query_P, catalogue.attribute_L[label_P])
        share_P = smoothed_share(
            self.mass_QL.data, known_P, catalogue.prior_L[label_P], prior_strength
        )
        return sp.csr_array((share_P, label_P, self.mass_QL.indptr), shape=self.mass_QL.shape)


def most_clicked(
    share_QL: sp.csr_array, catalogue: Catalogue, max_values: int
) -> tuple[np.ndarray, np.ndarray]:
    """The values of each attribute and depth with the largest shares.

    Args:
        share_QL: Smoothed shares (Q, L) as `ClickMatrices.share_QL` gives them.
        catalogue: The catalogue.
        max_values: Values kept for each query, attribute and depth.

    Returns:
        Queries and labels of the pairs, two int arrays (P,), in the order of the entries of
        `share_QL`.
    """
    query_P, label_P = _row_of(share_QL), share_QL.indices
    facet_P = _facet(catalogue)[label_P]
    order = np.lexsort((label_P, -share_QL.data, facet_P, query_P))
    group = query_P[order] * (_facet(catalogue).max() + 1) + facet_P[order]
    starts = (
        np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else np.array([], int)
    )
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    top = np.sort(order[rank < max_values])
    return query_P[top], label_P[top].astype(np.int64)


def click_features(
    matrices: ClickMatrices,
    share_QL: sp.csr_array,
    query_P: np.ndarray,
    label_P: np.ndarray,
    catalogue: Catalogue,
    params: LabellingParams,
) -> np.ndarray:
    """Evidence of clicks for P pairs (query, value).

    Args:
        matrices: Sums over the group's rows.
        share_QL: Smoothed shares (Q, L), as `ClickMatrices.share_QL` gives them.
        query_P: Queries, positions in the group, int (P,).
        label_P: Labels, int (P,).
        catalogue: The catalogue.
        params: Of these, `prior_strength` and `z` are used.

    Returns:
        float32 (P, len(CLICK_FEATURES)); NaN where nothing is known.
    """
    attribute_P, prior_P = catalogue.attribute_L[label_P], catalogue.prior_L[label_P]
    mass_P, known_mass_P = (
        at(matrices.mass_QL, query_P, label_P),
        at(matrices.mass_QA, query_P, attribute_P),
    )
    clicks_P, known_P = (
        at(matrices.clicks_QL, query_P, label_P),
        at(matrices.clicks_QA, query_P, attribute_P),
    )
    share_P = smoothed_share(mass_P, known_mass_P, prior_P, params.prior_strength)
    lower_P = wilson_lower(clicks_P, known_P, params.z)
    total_P = matrices.clicks_Q[query_P]
    parent_P = catalogue.parent_L[label_P]
    parent_mass_P = at(matrices.mass_QL, query_P, np.maximum(parent_P, 0))
    columns = (
        np.log1p(total_P),
        share_P,
        np.log(share_P / prior_P),
        np.log(np.maximum(lower_P, 1e-4) / prior_P),
        lower_P,
        np.log1p(at(matrices.items_QL, query_P, label_P)),
        share_P - _best_other(share_QL, query_P, label_P, share_P, catalogue),
        known_mass_P / np.maximum(total_P, 1e-9),
        _log_rate_ratio(matrices, query_P, label_P, attribute_P),
        _ratio(
            at(matrices.looks_QL, query_P, label_P), at(matrices.looks_QA, query_P, attribute_P)
        ),
        np.where(parent_P >= 0, _ratio(mass_P, parent_mass_P), np.nan),
        catalogue.depth_L[label_P].astype(float),
        np.log(prior_P),
        np.log1p(matrices.items_Q[query_P]),
    )
    return np.column_stack(columns).astype(np.float32)


def smoothed_share(
    mass: np.ndarray, known: np.ndarray, prior: np.ndarray, strength: float
) -> np.ndarray:
    """Posterior mean of a share whose prior counts `strength` clicks (Dirichlet).

    Args:
        mass: Clicks on the value, any shape.
        known: Clicks on items of which the attribute is known, same shape.
        prior: Share of the value in the catalogue, same shape.
        strength: How many clicks the prior counts for.

    Returns:
        Shares, same shape.
    """
    return (mass + strength * prior) / (known + strength)


def wilson_lower(successes: np.ndarray, trials: np.ndarray, z: float) -> np.ndarray:
    """Lower end of Wilson's interval for a share; 0 where nothing was tried.

    Args:
        successes: Number of successes, any shape.
        trials: Number of trials, same shape.
        z: Width of the interval in standard deviations.

    Returns:
        Lower ends, 0 to 1, same shape.
    """
    n = np.maximum(trials, 1e-9)
    share = np.clip(successes / n, 0, 1)
    middle = share + z * z / (2 * n)
    spread = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return np.where(trials > 0, np.maximum((middle - spread) / (1 + z * z / n), 0), 0.0)


def at(matrix: sp.csr_array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Entries of a sparse matrix at (row, column) pairs: float64.

    Args:
        matrix: Matrix of any shape.
        rows: Rows of the entries, int (P,).
        columns: Columns of the entries, int (P,).

    Returns:
        float64 (P,); 0 where no entry is stored.
    """
    if not len(rows):
        return np.zeros(0)
    return np.asarray(matrix[rows, columns], dtype=np.float64).ravel()


def _log_rate_ratio(
    matrices: ClickMatrices, query_P: np.ndarray, label_P: np.ndarray, attribute_P: np.ndarray
) -> np.ndarray:
    """Clicks for each look at items with the value against items with another value, as a log.

    Both rates are drawn to the query's own rate, which counts for two looks' worth of clicks.
    """
    clicks, looks = (
        at(matrices.clicks_QL, query_P, label_P),
        at(matrices.looks_QL, query_P, label_P),
    )
    other_clicks = at(matrices.clicks_QA, query_P, attribute_P) - clicks
    other_looks = at(matrices.looks_QA, query_P, attribute_P) - looks
    total_looks = matrices.looks_Q[query_P]
    rate = (matrices.clicks_Q[query_P] + 0.5) / np.maximum(total_looks + 0.5, 1e-9)
    prior_looks = 1.0 / np.maximum(rate, 1e-9)
    with_value = (clicks + 1.0) / (looks + prior_looks)
    without = (other_clicks + 1.0) / (np.maximum(other_looks, 0) + prior_looks)
    return np.where(total_looks > 0, np.log(with_value / without), np.nan)


def _best_other(
    share_QL: sp.csr_array,
    query_P: np.ndarray,
    label_P: np.ndarray,
    share_P: np.ndarray,
    catalogue: Catalogue,
) -> np.ndarray:
    """The highest share of another value of the same attribute and depth."""
    facet_L = _facet(catalogue)
    num_facets = int(facet_L.max()) + 1
    key = _row_of(share_QL) * num_facets + facet_L[share_QL.indices]
    order = np.lexsort((-share_QL.data, key))
    keys, starts = np.unique(key[order], return_index=True)
    ends = np.r_[starts[1:], len(order)]
    first = share_QL.data[order[starts]] if len(starts) else np.zeros(0)
    best_label = share_QL.indices[order[starts]] if len(starts) else np.zeros(0, int)
    has_second = ends - starts > 1
    second = np.zeros(len(starts))
    second[has_second] = share_QL.data[order[starts[has_second] + 1]]
    if not len(keys):
        return np.zeros(len(query_P))
    keys_P = query_P * num_facets + facet_L[label_P]
    place = np.minimum(np.searchsorted(keys, keys_P), len(keys) - 1)
    is_known = keys[place] == keys_P
    other = np.where(best_label[place] == label_P, second[place], first[place])
    return np.where(is_known, other, 0.0)


def _facet(catalogue: Catalogue) -> np.ndarray:
    """A number for each attribute and depth: int64 (L,)."""
    facet_L: np.ndarray = (
        catalogue.attribute_L * (int(catalogue.depth_L.max()) + 1) + catalogue.depth_L
    )
    return facet_L


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(b > 0, a / np.maximum(b, 1e-12), np.nan)


def _row_of(matrix: sp.csr_array) -> np.ndarray:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _summed(
    values: np.ndarray, where: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]
) -> sp.csr_array:
    matrix = sp.csr_array((values.astype(np.float64), where), shape=shape)
    matrix.sum_duplicates()
    return matrix


def _without_zeros(matrix: sp.csr_array) -> sp.csr_array:
    matrix = sp.csr_array(matrix)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix
