"""What a budget would be spent on, told without a training."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from xrt.data.corpus import Corpus
from xrt.features.tfidf import TfidfFeatures
from xrt.pipeline.budget.duration import seconds_of
from xrt.pipeline.budget.linear_times import LinearTimes
from xrt.pipeline.budget.measuring import LENGTH_ROWS, plan_for
from xrt.pipeline.budget.plan import Plan
from xrt.pipeline.estimate.stages import estimate
from xrt.pipeline.params import PipelineParams

OF_TREES = ("label tree", "linear rankers")
"""How the names of the stages begin that make the linear model's trees."""
FUSION = 0.5
"""Seconds of scoring held-out rows and of fusion, beside those of a tree."""


def prospect(
    params: PipelineParams, corpus: Corpus, names: Collection[str] = (), num_tests: int = 0
) -> Plan:
    """Plan from an estimate of the linear model; the encoder's pace is measured as in a run.

    Args:
        params: settings of the run, with an encoder and a budget.
        corpus: the training corpus, with texts.
        names: full names of settings that are given.
        num_tests: rows of the test file.

    Returns:
        The plan.

    Raises:
        ConfigError: the encoder cannot be had.
    """
    assert params.budget is not None
    assert corpus.texts is not None
    linear = estimate(replace(params, encoder=None, budget=None), corpus)
    trees = [stage.seconds or 0.0 for stage in linear.stages if stage.name.startswith(OF_TREES)]
    tree = sum(trees) / params.num_trees
    rng = np.random.default_rng(params.seed)
    size = min(corpus.num_instances, LENGTH_ROWS)
    rows_n = np.sort(rng.choice(corpus.num_instances, size, replace=False))
    X_nF = TfidfFeatures(params.features).fit_transform([corpus.texts[row] for row in rows_n])
    times = LinearTimes(
        tree=tree, fusion=FUSION * tree, nonzeros=X_nF.nnz / size, num_tests=num_tests
    )
    seconds = seconds_of(params.budget)
    spent = (linear.seconds or 0.0) + times.fusion
    return plan_for(
        params, corpus.texts, lambda rows: corpus.Y[rows], times,
        remaining=lambda: seconds - spent, seconds=seconds, names=names,
    )  # fmt: skip
