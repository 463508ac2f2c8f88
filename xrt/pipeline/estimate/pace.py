"""Seconds of each stage, from a sample of rows trained on here and now.

n rows of the sample, L labels.
"""

import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trainer import Trainer
from xrt.sparse import as_csr

PROBE_ROWS = 384
PROBE_STEPS = 6
WARM_UP_STEPS = 2
ENCODINGS = 1.5
"""How often a training row is encoded: once at the end, and some for the start of the heads."""


@dataclass(frozen=True, kw_only=True)
class LinearPace:
    """Seconds that a sample's features, one tree and its rankers took, and the sample's labels."""

    features: float
    tree: float
    rankers: float
    num_labels: int


@dataclass(frozen=True, kw_only=True)
class EncoderPace:
    """Rows a second that are trained on, rows a second that are encoded, rows of a step."""

    trained: float
    encoded: float
    rows_of_step: float


def measure_linear(params: PipelineParams, corpus: Corpus, rows_n: np.ndarray) -> LinearPace:
    """Train a linear model of one tree on some rows.

    Args:
        params: settings of the run.
        corpus: the training corpus.
        rows_n: positions of the rows to train on.

    Returns:
        What its steps took.
    """
    sample = corpus.subset(rows_n)
    Y_nL = as_csr(sample.Y)
    used = np.unique(Y_nL.indices)
    small = Corpus(
        texts=sample.texts, Y=as_csr(Y_nL[:, used]), X=sample.X,
        labels=LabelTable.from_ids([str(label) for label in used]),
    )  # fmt: skip
    probed = replace(params, encoder=None, fused=False, num_trees=1)
    for _ in range(2):  # the first time kernels are compiled, or read from the disk
        clock, started = _Clock(), time.perf_counter()
        Trainer(probed, progress=clock).fit(small)
        total = time.perf_counter() - started
    tree, rankers = clock.of("label features", "cluster labels"), clock.of("rankers")
    features = max(0.0, total - tree - rankers) if corpus.texts is not None else 0.0
    return LinearPace(features=features, tree=tree, rankers=rankers, num_labels=len(used))


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
    pace = measure_encoder(params, corpus, rows_n[:PROBE_ROWS])
    trained = params.matcher.num_epochs * corpus.num_instances
    if params.matcher.steps:
        trained = params.matcher.steps * pace.rows_of_step
    return trained / pace.trained + ENCODINGS * corpus.num_instances / pace.encoded


def measure_encoder(params: PipelineParams, corpus: Corpus, rows_n: np.ndarray) -> EncoderPace:
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
    matcher, clock = params.matcher, _Clock()
    Y_nL = as_csr(corpus.Y[rows_n])
    used = np.unique(Y_nL.indices)
    with tempfile.TemporaryDirectory(prefix="xrt-estimate-") as folder:
        fine_tune_matcher(
            [corpus.texts[row] for row in rows_n],
            as_csr(Y_nL[:, used]),
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
    seconds_of_step = float(np.mean(np.diff(clock.ticks("matcher"))[WARM_UP_STEPS:]))
    return EncoderPace(
        trained=rows_of_step / seconds_of_step,
        encoded=clock.units["encode"] / clock.seconds["encode"],
        rows_of_step=rows_of_step,
    )


class _Clock:
    """A `Progress` that notes what each step took, how many units it had, and when it advanced."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.units: dict[str, int] = defaultdict(int)
        self._ticks: dict[str, list[float]] = defaultdict(list)
        self._step, self._started = "", 0.0

    def start(self, description: str, total: int | None) -> None:
        self._step, self._started = description, time.perf_counter()

    def advance(self, n: int = 1, **figures: float) -> None:
        self.units[self._step] += n
        self._ticks[self._step].append(time.perf_counter())

    def finish(self) -> None:
        if self._step:
            self.seconds[self._step] += time.perf_counter() - self._started
        self._step = ""

    def of(self, *steps: str) -> float:
        return sum(took for name, took in self.seconds.items() if name.startswith(steps))

    def ticks(self, step: str) -> list[float]:
        return [at for name, ats in self._ticks.items() if name.startswith(step) for at in ats]
