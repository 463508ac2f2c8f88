"""Seconds of each stage, from a sample of rows trained on here and now.

n rows of the sample, L labels.
"""

from dataclasses import dataclass, replace

import numpy as np

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.pipeline.budget.plan import rows_of_step
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trainer import Trainer
from xrt.sparse import as_csr

PROBE_ROWS = 384
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
    probed = replace(params, encoder=None, fused=False, num_trees=1, choose=())
    for _ in range(2):  # the first time kernels are compiled, or read from the disk
        trainer = Trainer(probed)
        trainer.fit(small)
    took = {name: trainer.runner.seconds.get(name, 0.0) for name in ("features", "tree", "linear")}
    return LinearPace(
        features=took["features"] if corpus.texts is not None else 0.0,
        tree=took["tree"], rankers=took["linear"], num_labels=len(used),
    )  # fmt: skip


def encoder_seconds(params: PipelineParams, corpus: Corpus, rows_n: np.ndarray) -> float:
    """Seconds of the matcher's stage on the whole corpus.

    Args:
        params: settings of the run, with an encoder.
        corpus: the training corpus, with texts.
        rows_n: positions of rows to try it on; the first PROBE_ROWS of them are taken.

    Returns:
        Seconds of training and encoding.

    Raises:
        ConfigError: the encoder cannot be had.
        TrainingError: a process died.
    """
    from xrt.encoder.pace import encoder_shape, measure_pace

    assert params.encoder is not None
    assert corpus.texts is not None
    rows_n = rows_n[:PROBE_ROWS]
    texts = [corpus.texts[row] for row in rows_n]
    pace = measure_pace(
        texts, as_csr(corpus.Y[rows_n]), params.encoder, params.matcher, params.trainer,
        seed=params.seed,
    )  # fmt: skip
    trained = params.matcher.num_epochs * corpus.num_instances
    if params.matcher.steps:
        lengths_n = encoder_shape(params.encoder, texts, params.seed).lengths_n
        trained = params.matcher.steps * rows_of_step(params, lengths_n, params.encoder.max_length)
    return trained * pace.trained + ENCODINGS * corpus.num_instances * pace.encoded
