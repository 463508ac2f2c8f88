"""Whether the most probable row ships or each attribute's most probable value: what held-out rows
say. N rows, A attributes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xrt.applications.attributes.decoder import AttributeDecoder, Weighed
from xrt.pipeline.params import Decode


def choose_way(
    decoder: AttributeDecoder,
    weighed: Sequence[Weighed],
    given_NA: np.ndarray,
    asked: Decode = Decode.auto,
) -> AttributeDecoder:
    """The decoder with the way that gets more whole rows right, `row` where both are equal.

    Args:
        decoder: A decoder that has learnt its weights.
        weighed: Held-out rows, weighed with weights that they have not taught.
        given_NA: What these rows give, label columns int32 (N, A) or -1.
        asked: `row` or `each` ships in any case; `auto` chooses.

    Returns:
        The decoder with its `way`, with `by_score`, the attributes whose best-scored value is more
        often right than their most probable one, and with the figures of both ways.
    """
    names = decoder.space.attributes
    probable = decoder.best(weighed, Decode.each).columns_NA
    scored = np.concatenate([part.scored_NA for part in weighed])
    decoder = replace(
        decoder, by_score=tuple(np.array(names)[_num_right(scored, given_NA)
        > _num_right(probable, given_NA)].tolist()),
    )  # fmt: skip
    figures = {
        way.value: right_values(names, decoder.best(weighed, way).columns_NA, given_NA)
        for way in (Decode.row, Decode.each)
    }
    alone = right_values(names, scored, given_NA)
    items = [figures[way.value]["item accuracy"] or 0.0 for way in (Decode.row, Decode.each)]
    better = Decode.each if items[1] > items[0] else Decode.row
    way = better if asked is Decode.auto else asked
    told = {
        "ships": way.value,
        "chosen on held-out rows": asked is Decode.auto,
        "rows": len(given_NA),
        **figures,
        "best score alone": alone,
        "each by score": list(decoder.by_score),
    }
    return replace(decoder, way=way, figures={**decoder.figures, "decode": told})


def right_values(
    names: Sequence[str], columns_NA: np.ndarray, given_NA: np.ndarray
) -> dict[str, Any]:
    """The share of rows with all given values right, and for each attribute the share of its values
    that are; None where nothing is given.
    """
    is_given_NA = given_NA >= 0
    judged_N = is_given_NA.any(axis=1)
    whole_N = ((columns_NA == given_NA) | ~is_given_NA).all(axis=1)[judged_N]
    num_given_A = is_given_NA.sum(axis=0).tolist()
    num_right_A = _num_right(columns_NA, given_NA).tolist()
    return {
        "item accuracy": float(whole_N.mean()) if len(whole_N) else None,
        "accuracy": {
            name: right / given if given else None
            for name, right, given in zip(names, num_right_A, num_given_A, strict=True)
        },
    }


def choice_text(figures: dict[str, Any]) -> str:
    """What was chosen and why, in one line."""
    ways = ", ".join(
        f"decode={way} {_percent(figures[way]['item accuracy'])}" for way in ("row", "each")
    )
    reason = "the better ships" if figures["chosen on held-out rows"] else "as the settings say"
    return (
        f"decode={figures['ships']}, {reason}; item accuracy on {figures['rows']:,} held-out "
        f"training rows: {ways}, best score of each attribute alone "
        f"{_percent(figures['best score alone']['item accuracy'])}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _num_right(columns_NA: np.ndarray, given_NA: np.ndarray) -> np.ndarray:
    """Given values that are right: int64 (A,)."""
    right_A: np.ndarray = ((columns_NA == given_NA) & (given_NA >= 0)).sum(axis=0)
    return right_A
