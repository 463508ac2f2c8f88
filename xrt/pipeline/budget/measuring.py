"""What each choice of a plan takes: a few steps of the encoder made here and now, and the time that
the linear model took.

N training rows, n of a sample, L labels, H hidden width.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from xrt.encoder.pace import Pace, encoder_shape, measure_pace
from xrt.encoder.params import EncoderParams
from xrt.encoder.validation import SAMPLE
from xrt.pipeline.budget.linear_times import LinearTimes
from xrt.pipeline.budget.plan import (
    Choice,
    Cost,
    Plan,
    kept_settings,
    linear_plan,
    make_plan,
    possible_choices,
)
from xrt.pipeline.params import PipelineParams
from xrt.sparse import as_csr

logger = logging.getLogger(__name__)

LENGTH_ROWS = 1_000
"""Texts whose tokens are counted."""
PACE_ROWS = 128
"""Rows of which each pace is measured."""
MOST_MEASURED = 0.03
"""Share of the budget after which no further pace is measured; the first always is."""
BACKWARD = 2 / 3
"""Share of a training step that is spent on the way back, which frozen layers do without."""
STARTS = 1.3
"""How often a training row is read: once for the rankers, some for the start of the heads."""


def plan_for(
    params: PipelineParams,
    texts: Sequence[str],
    labels_of: Callable[[np.ndarray], object],
    times: LinearTimes,
    *,
    remaining: Callable[[], float],
    seconds: float,
    names: Collection[str] = (),
    now: Callable[[], float] = time.perf_counter,
) -> Plan:
    """Measure, and choose what fits.

    Args:
        params: settings of the run, with an encoder and a budget.
        texts: the N training texts.
        labels_of: gives the labels of some rows, (n, L).
        times: what the linear model took.
        remaining: tells the seconds that are left.
        seconds: of the whole budget.
        names: full names of settings that are given.
        now: the clock, seconds.

    Returns:
        The plan.

    Raises:
        ConfigError: the encoder cannot be had.
    """
    assert params.encoder is not None
    if remaining() <= times.rankers(1, 0):  # not even as many linear ones: nothing is measured
        return linear_plan(remaining(), times.rankers(1, 0) + times.fusion, 0.0)
    given = kept_settings(params, names)
    rng = np.random.default_rng(params.seed)
    rows_n = np.sort(rng.choice(len(texts), min(len(texts), LENGTH_ROWS), replace=False))
    shape = encoder_shape(params.encoder, [texts[row] for row in rows_n], params.seed)
    choices = possible_choices(params, given, shape.lengths_n, shape.layers, shape.positions)
    few_n = rng.permutation(rows_n)[:PACE_ROWS]
    few_texts, Y_nL = [texts[row] for row in few_n], as_csr(labels_of(few_n))

    def measure(encoder: EncoderParams) -> Pace:
        return measure_pace(
            few_texts, Y_nL, encoder, params.matcher, params.trainer, seed=params.seed
        )

    paces = measure_choices(
        params.encoder, choices, measure, shape.lengths_n, shape.layers,
        seconds=MOST_MEASURED * seconds, now=now,
    )  # fmt: skip
    costs = costs_of(paces, times, len(texts), shape.width)
    return make_plan(
        params, given, costs, lengths_n=shape.lengths_n, num_rows=len(texts),
        num_layers=shape.layers, remaining=remaining(), seconds=seconds,
    )  # fmt: skip


def measure_choices(
    encoder: EncoderParams,
    choices: Sequence[Choice],
    measure: Callable[[EncoderParams], Pace],
    lengths_n: np.ndarray,
    num_layers: int,
    *,
    seconds: float,
    now: Callable[[], float],
) -> dict[Choice, Pace]:
    """The pace of each choice: measured as long as there is time, then from those that were.

    A middle length is measured first, then the longest, the shortest, and frozen layers. Between
    lengths a row takes its share of tokens; frozen layers save their way back.

    Args:
        encoder: the encoder.
        choices: what is to be known.
        measure: measures.
        lengths_n: tokens of a sample of texts.
        num_layers: layers of the encoder.
        seconds: time for all measurements but the first.
        now: the clock, seconds.

    Returns:
        A pace for each choice.
    """
    lengths = sorted({choice.max_length for choice in choices})
    frozen = sorted({choice.frozen_layers for choice in choices})
    middle = lengths[len(lengths) // 2]
    wanted = [
        (length, frozen[0]) for length in dict.fromkeys((middle, lengths[-1], lengths[0], *lengths))
    ]
    wanted[2:2] = [(middle, layers) for layers in frozen[1:]]
    started, found = now(), dict[tuple[int, int], Pace]()
    for length, layers in wanted:
        if found and now() - started > seconds:
            break
        pace = measure(replace(encoder, max_length=length, frozen_layers=layers))
        found[length, layers] = pace
        logger.info("%d tokens, %d layers frozen: %.1f rows/s trained, %.1f rows/s read",
                    length, layers, 1 / pace.trained, 1 / pace.encoded)  # fmt: skip
    whole = without_disturbance(
        {length: pace for (length, layers), pace in found.items() if layers == frozen[0]}
    )
    saved = {layers: _saved(found, middle, frozen[0], layers, num_layers) for layers in frozen}
    paces = {}
    for choice in choices:
        tokens = {length: float(np.minimum(lengths_n, length).mean()) for length in whole}
        wide = float(np.minimum(lengths_n, choice.max_length).mean())
        trained = _between({tokens[n]: pace.trained for n, pace in whole.items()}, wide)
        encoded = _between({tokens[n]: pace.encoded for n, pace in whole.items()}, wide)
        paces[choice] = Pace(trained=trained * saved[choice.frozen_layers], encoded=encoded)
    return paces


def without_disturbance(whole: Mapping[int, Pace]) -> dict[int, Pace]:
    """The paces without what other work on the machine added: shorter texts take no longer.

    Args:
        whole: the pace that was measured at each length.

    Returns:
        A pace for each length.
    """
    paces: dict[int, Pace] = {}
    trained = encoded = float("inf")
    for length in sorted(whole, reverse=True):
        trained = min(trained, whole[length].trained)
        encoded = min(encoded, whole[length].encoded)
        paces[length] = Pace(trained=trained, encoded=encoded)
    return paces


def _saved(
    found: Mapping[tuple[int, int], Pace], length: int, none: int, layers: int, num_layers: int
) -> float:
    """What a step with frozen layers takes, beside one without."""
    if (length, layers) in found:
        return min(1.0, found[length, layers].trained / found[length, none].trained)
    return 1 - BACKWARD * (layers - none) / max(1, num_layers)


def _between(seconds_of: Mapping[float, float], tokens: float) -> float:
    """Seconds at so many tokens: between the nearest that were measured, in proportion beyond."""
    known = sorted(seconds_of)
    if tokens <= known[0] or tokens >= known[-1]:
        nearest = known[0] if tokens <= known[0] else known[-1]
        return seconds_of[nearest] * tokens / max(nearest, 1e-9)
    return float(np.interp(tokens, known, [seconds_of[each] for each in known]))


def costs_of(
    paces: Mapping[Choice, Pace], times: LinearTimes, num_rows: int, width: int
) -> dict[Choice, Cost]:
    """What each choice takes.

    Args:
        paces: of each choice.
        times: what the linear model took.
        num_rows: training rows, N.
        width: of the embeddings, H.

    Returns:
        The costs.
    """
    read = STARTS * num_rows + times.num_tests + 0.1 * times.num_names
    return {
        choice: Cost(
            row=pace.trained,
            validation=min(SAMPLE, num_rows) * pace.encoded,
            encoding=read * pace.encoded,
            rankers=times.rankers(choice.num_deep_trees, width),
            fusion=2 * times.fusion + times.tests,
        )
        for choice, pace in paces.items()
    }
