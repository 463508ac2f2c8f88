"""Whether a term that stands in one text alone counts, where a corpus is too small for a contest.

In some small corpora such terms are names that come back, in others noise that makes rows long, and
no number of rows tells which. So every row is judged by a model that did not see it: the rows are
divided into folds, and for each fold one tree is trained on the others with either vocabulary,
made of the others' texts alone. It takes less than the training that follows.

N rows, E figures.
"""

import time
from dataclasses import replace

import numpy as np

from xrt.data.corpus import Corpus
from xrt.errors import XrtError
from xrt.features.tfidf_params import FEW_TEXTS
from xrt.hybrid import HybridMatrix
from xrt.pipeline.choosing.choices import PLAIN, Choices, Tried, Values, with_values
from xrt.pipeline.choosing.trial import FIGURES, figures_of_rows, take_subsample
from xrt.pipeline.linear import linear_training
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.rows import training_rows
from xrt.pipeline.runner import StageRunner
from xrt.sources.base import CANDIDATES, SourceRows
from xrt.sources.linear_trees import LinearTrees

MIN_DF = "features.min_df"
FEWEST_ROWS = 20
"""Rows of a corpus on which this is chosen: every fold of fewer leaves too few to learn from."""
NUM_FOLDS = 3
MANY_FOLDS = 10
"""Folds below FEW_TEXTS rows, where a third of the rows is missed."""
ASPECTS = ("features",)
_QUICK: Values = {"num_trees": 1, "fused": False}


def has_rare_words(params: PipelineParams, corpus: Corpus) -> bool:
    """Whether there is anything to choose here.

    Args:
        params: the settings that stand.
        corpus: N training rows.

    Returns:
        False without texts, where `features.min_df` was given, `choose` leaves out the features, or
        there are fewer than FEWEST_ROWS rows.
    """
    return (
        corpus.texts is not None
        and "features" in params.choose
        and params.features.min_df is None
        and corpus.num_instances >= FEWEST_ROWS
    )


def choose_min_df(params: PipelineParams, corpus: Corpus, groups_N: np.ndarray) -> Choices:
    """Choose how many texts a term must occur in: one or two.

    The better of the two is taken, for neither is plainer than the other.

    Args:
        params: the settings that stand.
        corpus: N training rows with texts.
        groups_N: rows that stay together, (N,).

    Returns:
        What was chosen.
    """
    stands = params.features.min_df_for(corpus.num_instances)
    folds = divide(groups_N, corpus.num_instances, params.seed)
    weights_N = corpus.row_weights
    share_N = np.ones(corpus.num_instances) if weights_N is None else weights_N.astype(np.float64)
    share_N = share_N / share_N.sum()
    if len(folds) < 2:
        return _stay("all rows stay together: none can be judged by a model of others")
    tried: list[Tried] = []
    figures: list[np.ndarray] = []
    for min_df in (stands, 3 - stands):
        started = time.perf_counter()
        values: Values = {MIN_DF: min_df}
        try:
            figures_NE = _judge(with_values(params, {**_QUICK, **values}), corpus, folds)
        except XrtError as err:
            return _stay(f"terms of {_texts(min_df)} and more cannot be tried: {err}")
        figures.append(figures_NE)
        difference_N = figures_NE[:, 0] - figures[0][:, 0]
        gain = float(share_N @ difference_N)
        tried.append(
            Tried(
                name=PLAIN if min_df == stands else f"terms of {_texts(min_df)} and more",
                values={} if min_df == stands else values,
                num_rows=corpus.num_instances - len(folds[0]), one_tree=True,
                figures=dict(zip(FIGURES, (share_N @ figures_NE).tolist(), strict=True)),
                gain=gain,
                standard_error=float(np.sqrt((share_N**2) @ (difference_N - gain) ** 2)),
                seconds=time.perf_counter() - started,
            )
        )  # fmt: skip
    other = tried[1]
    better = other.gain > 0
    found = f"{100 * other.gain:+.2f} ± {100 * other.standard_error:.2f} over the rows, each by "
    return Choices(
        values=other.values if better else {},
        aspects=ASPECTS, num_held_out=corpus.num_instances, tried=tuple(tried),
        message=f"{'chosen' if better else 'not chosen'}: {other.name} ({found}a model of the "
        f"others); {corpus.num_instances:,} rows are too few to choose other settings on",
    )  # fmt: skip


def divide(groups_N: np.ndarray, num_rows: int, seed: int) -> list[np.ndarray]:
    """Divide rows into folds, group by group.

    Args:
        groups_N: the group of each row, (N,).
        num_rows: N.
        seed: of the order of the groups.

    Returns:
        The positions of the rows of each fold, ascending; a fold has rows, and no row is in two.
    """
    num_folds = MANY_FOLDS if num_rows < FEW_TEXTS else NUM_FOLDS
    _, group_N, sizes_G = np.unique(groups_N, return_inverse=True, return_counts=True)
    order_G = np.random.default_rng([seed, 2]).permutation(len(sizes_G))
    behind_G = np.empty(len(sizes_G))
    behind_G[order_G] = np.cumsum(sizes_G[order_G]) - sizes_G[order_G] / 2
    fold_N = (behind_G * num_folds / num_rows).astype(int)[group_N]
    folds = [np.flatnonzero(fold_N == fold) for fold in range(num_folds)]
    return [fold for fold in folds if len(fold)]


def _judge(params: PipelineParams, corpus: Corpus, folds: list[np.ndarray]) -> np.ndarray:
    """FIGURES of each row by a model of the other folds: (N, E)."""
    figures_NE = np.zeros((corpus.num_instances, len(FIGURES)))
    for held_out in folds:
        train = np.setdiff1d(np.arange(corpus.num_instances), held_out)
        sample = take_subsample(corpus, train, held_out)
        runner = StageRunner(params)
        rows = training_rows(runner, sample.corpus.subset(sample.train))
        linear = LinearTrees.fit(linear_training(runner, rows, None))
        assert linear is not None
        assert rows.features is not None
        assert sample.corpus.texts is not None
        texts = [sample.corpus.texts[row] for row in sample.held_out]
        held = SourceRows(HybridMatrix.of(rows.features.transform(texts)))
        search = replace(params.search, path_weight=1.0 if params.search.path_weight is None else
                         params.search.path_weight)  # fmt: skip
        scores = linear.score(held, CANDIDATES, search, runner.num_threads)
        figures_NE[held_out] = figures_of_rows(sample.truth_ML, scores)
    return figures_NE


def _stay(why: str) -> Choices:
    return Choices(aspects=ASPECTS, message=f"{why}; the settings stay as they are")


def _texts(number: int) -> str:
    return "one text" if number == 1 else "two texts"
