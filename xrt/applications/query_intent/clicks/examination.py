"""How often shoppers look at each position: the position-based model of clicks.

Clicks on item i of query q at position p are Poisson with mean impressions · θ_p · γ_qi. Only pairs
shown at two positions or more tell θ apart from γ, so only these are used. The likelihood is
concave in log θ and log γ; the two are solved for in turns until nothing moves.
"""

import numpy as np
import polars as pl

MAX_POSITION = 100
"""Positions from here on are taken as one."""
_MIN_CLICKS = 200
_NUM_ROUNDS = 300
_TOLERANCE = 1e-6


def examination_by_position(rows: pl.DataFrame) -> np.ndarray | None:
    """Chance of a look at each position, relative to position 1.

    Args:
        rows: Columns `query_id`, `item_id`, `position`, `count`, `impressions`.

    Returns:
        float64 (MAX_POSITION + 1,) by position; 1 at position 1, and at 0 (position not known).
        None where too few clicks fall on pairs that were shown at several positions.
    """
    views = rows.filter((pl.col("position") > 0) & (pl.col("impressions") > 0)).with_columns(
        pl.col("position").clip(upper_bound=MAX_POSITION)
    )
    pairs = (
        views.group_by("query_id", "item_id")
        .agg(pl.col("position").n_unique().alias("places"), pl.col("count").sum().alias("clicks"))
        .filter((pl.col("places") > 1) & (pl.col("clicks") > 0))
        .sort("query_id", "item_id")
        .with_row_index("pair")
    )
    if not len(pairs) or pairs["clicks"].sum() < _MIN_CLICKS:
        return None
    views = views.join(pairs.select("query_id", "item_id", "pair"), on=["query_id", "item_id"])
    views = views.sort("pair", "position")
    return _solve(
        views["pair"].to_numpy().astype(np.int64),
        views["position"].to_numpy().astype(np.int64),
        views["count"].to_numpy(),
        views["impressions"].to_numpy(),
    )


def _solve(
    pair: np.ndarray, position: np.ndarray, clicks: np.ndarray, impressions: np.ndarray
) -> np.ndarray:
    clicks_of_pair = np.bincount(pair, clicks)
    clicks_at = np.bincount(position, clicks, MAX_POSITION + 1)
    theta = np.ones(MAX_POSITION + 1)
    for _ in range(_NUM_ROUNDS):
        attraction = clicks_of_pair / np.maximum(
            np.bincount(pair, impressions * theta[position]), 1e-12
        )
        expected = np.bincount(position, impressions * attraction[pair], MAX_POSITION + 1)
        new = np.where(expected > 0, (clicks_at + 0.5) / (expected + 0.5), 0.0)
        new = new / max(new[1], 1e-12) if new[1] > 0 else new / new.max()
        change, theta = np.abs(new - theta).max(), new
        if change < _TOLERANCE:
            break
    theta[1:] = _carried_on(theta[1:])
    theta[0] = 1.0
    return np.minimum(theta, 1.0)


def _carried_on(theta: np.ndarray) -> np.ndarray:
    """Positions without data take the value of the nearest one above that has some."""
    positions = np.flatnonzero(theta > 0)
    nearest = np.searchsorted(positions, np.arange(len(theta)), side="right") - 1
    return theta[positions[np.maximum(nearest, 0)]]
