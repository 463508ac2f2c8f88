"""Whether the most probable row ships or each attribute's most probable value: what held-out rows
say. N rows, A attributes.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xrt.applications.attributes.decoding.decoder import AttributeDecoder, BatchPosterior
from xrt.applications.attributes.settings import Decode
from xrt.metrics.judgement import Judgement


def choose_way(
    decoder: AttributeDecoder,
    batches: Sequence[BatchPosterior],
    cells_NA: np.ndarray,
    setting: Decode = Decode.auto,
) -> AttributeDecoder:
    """The decoder with the way that gets more whole rows right: `each` where it is better by more
    than chance explains, else `row`, whose values go together.

    Args:
        decoder: A decoder with fitted weights.
        batches: Held-out rows, weighed with weights that were fitted without them.
        cells_NA: What these rows give, label columns int32 (N, A) or -1.
        setting: `row` or `each` ships in any case; `auto` chooses.

    Returns:
        The decoder with its `way`, with `by_score`, the attributes whose best-scored value is more
        often right than their most probable one by a standard error, and with the figures of both
        ways.
    """
    names = decoder.space.attributes
    scored_NA = np.concatenate([part.scored_NA for part in batches])
    probable_NA = decoder.decode_batches(batches, Decode.each).columns_NA
    right = zip(_is_right(scored_NA, cells_NA).T, _is_right(probable_NA, cells_NA).T, strict=True)
    by_score_A = [is_clearly_better(scored, probable, 1.0) for scored, probable in right]
    decoder = replace(decoder, by_score=tuple(itertools.compress(names, by_score_A)))
    row_NA, each_NA = (
        decoder.decode_batches(batches, way).columns_NA for way in (Decode.row, Decode.each)
    )
    is_better = is_clearly_better(_is_whole(each_NA, cells_NA), _is_whole(row_NA, cells_NA))
    better = Decode.each if is_better else Decode.row
    way = better if setting is Decode.auto else setting
    wins, losses = _wins(_is_whole(row_NA, cells_NA), _is_whole(each_NA, cells_NA))
    comparison = {
        "error": math.sqrt(wins + losses) / max(1, len(cells_NA)),
        "ships": way.value,
        "chosen on held-out rows": setting is Decode.auto,
        "rows": len(cells_NA),
        "row": count_right_values(names, row_NA, cells_NA),
        "each": count_right_values(names, each_NA, cells_NA),
        "best score alone": count_right_values(names, scored_NA, cells_NA),
        "each by score": list(decoder.by_score),
    }
    return replace(decoder, way=way, figures={**decoder.figures, "decode": comparison})


def count_right_values(
    names: Sequence[str], columns_NA: np.ndarray, cells_NA: np.ndarray
) -> dict[str, Any]:
    """The share of rows with all given values right, and for each attribute the share of its values
    that are; None where no row gives one.

    Args:
        names: Names of the attributes, in the order of the columns.
        columns_NA: What was decoded, label columns int32 (N, A), -1 for none.
        cells_NA: What the rows give, label columns int32 (N, A), -1 where they give none.

    Returns:
        `item accuracy`, over rows that give a value, and `accuracy` by attribute; fractions of 1.
    """
    whole_N = _is_whole(columns_NA, cells_NA)[(cells_NA >= 0).any(axis=1)]
    num_right_A = _is_right(columns_NA, cells_NA).sum(axis=0).tolist()
    num_values_A = (cells_NA >= 0).sum(axis=0).tolist()
    return {
        "item accuracy": float(whole_N.mean()) if len(whole_N) else None,
        "accuracy": {
            name: right / total if total else None
            for name, right, total in zip(names, num_right_A, num_values_A, strict=True)
        },
    }


def is_clearly_better(is_right_N: np.ndarray, other_N: np.ndarray, num_errors: float = 2.0) -> bool:
    """Whether rows are right more often than by another way: by more than `num_errors` standard
    errors of the difference; with two, chance hardly explains it.

    Args:
        is_right_N: Which rows are right, bool (N,).
        other_N: Which are right by the other way, bool (N,).
        num_errors: Standard errors that the difference has to exceed.

    Returns:
        True where it exceeds them.
    """
    wins, losses = _wins(is_right_N, other_N)
    return wins - losses > num_errors * math.sqrt(wins + losses)


def judge_way(figures: Mapping[str, Any]) -> list[Judgement]:
    """The most probable row beside each attribute's most probable value.

    Args:
        figures: The decoder's figures, with what `choose_way` leaves there.

    Returns:
        The judgement; none where there was nothing to choose on, or no row gives a value.
    """
    if "decode" not in figures:
        return []
    figures = figures["decode"]
    row, each = (figures[way]["item accuracy"] for way in ("row", "each"))
    if row is None or each is None:
        return []
    ships, note = figures["ships"] == Decode.row.value, ""
    if not figures["chosen on held-out rows"]:
        note = "as the settings say"
    elif ships and row <= each:
        note = "not clearly worse, and its values go together"
    return [
        Judgement(
            name="joint decoding (decode=row)", plain_name="each attribute alone (decode=each)",
            figure="item accuracy", plain=each, learnt=row, error=figures["error"], ships=ships,
            note=note,
        )
    ]  # fmt: skip


def describe_choice(figures: dict[str, Any]) -> str:
    """What was chosen and why, in one line.

    Args:
        figures: The comparison that `choose_way` leaves in the decoder's figures, under `decode`.

    Returns:
        The line, without a line end.
    """
    ways = ", ".join(
        f"decode={way} {_percent(figures[way]['item accuracy'])}" for way in ("row", "each")
    )
    reason = ", chosen by" if figures["chosen on held-out rows"] else " as the settings say;"
    return (
        f"decode={figures['ships']}{reason} item accuracy on {figures['rows']:,} held-out training "
        f"rows: {ways}, best score of each attribute alone "
        f"{_percent(figures['best score alone']['item accuracy'])} (decode=each ships where it is "
        "better by more than chance)"
    )


def _wins(is_right_N: np.ndarray, other_N: np.ndarray) -> tuple[int, int]:
    """Rows that are right by one way alone, and by the other alone."""
    return int((is_right_N & ~other_N).sum()), int((other_N & ~is_right_N).sum())


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _is_right(columns_NA: np.ndarray, cells_NA: np.ndarray) -> np.ndarray:
    """Which given values are right: bool (N, A)."""
    right_NA: np.ndarray = (columns_NA == cells_NA) & (cells_NA >= 0)
    return right_NA


def _is_whole(columns_NA: np.ndarray, cells_NA: np.ndarray) -> np.ndarray:
    """Rows with all given values right: bool (N,)."""
    whole_N: np.ndarray = ((columns_NA == cells_NA) | (cells_NA < 0)).all(axis=1)
    return whole_N
