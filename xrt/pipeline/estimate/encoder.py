"""Seconds that fine-tuning and encoding will take, from a few steps made here and now.

n rows that are tried, L labels.
"""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.pipeline.params import PipelineParams

PROBE_ROWS = 384
PROBE_STEPS = 6
WARM_UP_STEPS = 2
ENCODINGS = 1.5
"""How often a training row is encoded: once at the end, and some for the start of the heads."""


@dataclass(frozen=True, kw_only=True)
class EncoderPace:
    """Rows a second that are trained on, rows a second that are encoded, rows of a step."""

    trained: float
    encoded: float
    rows_of_step: float


def encoder_seconds(params: PipelineParams, corpus: Corpus, rows_n: np.ndarray) -> float:
    """Seconds of the matcher's stage on the whole corpus.

    Args:
        params: settings of the run, with an encoder.
        corpus: the training corpus.
        rows_n: positions of rows to try it on; the first PROBE_ROWS of them are taken.

    Returns:
        Seconds of training and encoding.

    Raises:
        ConfigError: the encoder cannot be had.
    """
    pace = measure_pace(params, corpus, rows_n[:PROBE_ROWS])
    trained = params.matcher.num_epochs * corpus.num_instances
    if params.matcher.steps:
        trained = params.matcher.steps * pace.rows_of_step
    return trained / pace.trained + ENCODINGS * corpus.num_instances / pace.encoded


def measure_pace(params: PipelineParams, corpus: Corpus, rows_n: np.ndarray) -> EncoderPace:
    """The pace on some rows: a matcher of one level, their labels, is trained for a few steps.

    Args:
        params: settings of the run, with an encoder.
        corpus: the training corpus, with texts.
        rows_n: positions of the rows to train on.

    Returns:
        Rows a second, and rows of a step.
    """
    from xrt.encoder.batches import BatchPlan
    from xrt.encoder.tokens import TokenStore
    from xrt.encoder.training import fine_tune_matcher
    from xrt.tree.label_tree import LabelTree

    assert corpus.texts is not None
    matcher, clock = params.matcher, _StepClock()
    Y_nL = sp.csr_array(corpus.Y[rows_n])
    used = np.unique(Y_nL.indices)
    with tempfile.TemporaryDirectory(prefix="xrt-estimate-") as folder:
        fine_tune_matcher(
            [corpus.texts[row] for row in rows_n],
            sp.csr_array(Y_nL[:, used]),
            LabelTree.flat(len(used)),
            run_folder=Path(folder),
            encoder=params.encoder,
            params=replace(matcher, steps=PROBE_STEPS),
            trainer=params.trainer,
            progress=clock,
            seed=params.seed,
        )
        lengths = TokenStore.load(Path(folder) / "tokens").lengths
    plan = BatchPlan(lengths, matcher.token_budget, matcher.max_batch_rows, params.seed)
    rows_of_step = len(rows_n) / plan.num_batches
    seconds_of_step = float(np.mean(np.diff(clock.steps)[WARM_UP_STEPS:]))
    return EncoderPace(
        trained=rows_of_step / seconds_of_step,
        encoded=clock.encoded / clock.encoding_seconds,
        rows_of_step=rows_of_step,
    )


class _StepClock:
    """A `Progress` that notes when each training step ended, and what encoding took."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.encoded, self.encoding_seconds = 0, 0.0
        self._what, self._started = "", 0.0

    def start(self, description: str, total: int | None) -> None:
        self._what, self._started = description, time.perf_counter()

    def advance(self, n: int = 1, **figures: float) -> None:
        if self._what.startswith("matcher"):
            self.steps.append(time.perf_counter())
        elif self._what == "encode":
            self.encoded += n

    def finish(self) -> None:
        if self._what == "encode":
            self.encoding_seconds += time.perf_counter() - self._started
        self._what = ""
