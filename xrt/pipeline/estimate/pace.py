"""Seconds of each stage, from a sample of rows trained on here and now.

n rows of the sample, L labels.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trainer import Trainer
from xrt.sparse import as_csr

PROBE_ROWS = 256
ENCODINGS = 1.5
"""How often a training row is encoded: once at the end, and some for the start of the heads."""


@dataclass(frozen=True, kw_only=True)
class LinearPace:
    """Seconds that a sample's features, one tree and its rankers took, and the sample's labels."""

    features: float
    tree: float
    rankers: float
    num_labels: int


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
    from xrt.encoder.pace import measure_pace

    assert corpus.texts is not None
    assert params.encoder is not None
    few_n, matcher = rows_n[:PROBE_ROWS], params.matcher
    pace = measure_pace(
        [corpus.texts[row] for row in few_n], as_csr(corpus.Y[few_n]), params.encoder, matcher,
        params.trainer, seed=params.seed,
    )  # fmt: skip
    trained = matcher.num_epochs * corpus.num_instances
    if matcher.steps:
        trained = matcher.steps * pace.rows_of_step
    return trained * pace.trained + ENCODINGS * corpus.num_instances * pace.encoded


class _Clock:
    """A `Progress` that notes what each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._step, self._started = "", 0.0

    def start(self, description: str, total: int | None) -> None:
        self._step, self._started = description, time.perf_counter()

    def advance(self, n: int = 1, **figures: float) -> None:
        pass

    def finish(self) -> None:
        if self._step:
            self.seconds[self._step] += time.perf_counter() - self._started
        self._step = ""

    def of(self, *steps: str) -> float:
        return sum(took for name, took in self.seconds.items() if name.startswith(steps))
