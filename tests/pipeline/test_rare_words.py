"""Whether terms of one text count is chosen on folds of a small corpus."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.estimators.linear import XRLinear
from xrt.features.tfidf_params import FEW_TEXTS, TfidfParams
from xrt.pipeline.choosing.rare_words import (
    FEWEST_ROWS,
    MANY_FOLDS,
    MIN_DF,
    NUM_FOLDS,
    choose_min_df,
    divide,
)
from xrt.pipeline.params import PipelineParams
from xrt.sparse import as_csr

NUM_LABELS = 6
PARAMS = PipelineParams(choose=("features",), num_threads=1)


def pairs_of_words(num_rows: int, misleading: bool) -> tuple[list[str], sp.csr_array]:
    """Texts with a word that tells the label in two of three, and words that stand in two texts
    each: of the same label, or of others.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(num_rows) % NUM_LABELS
    texts = [f"label{label} same" if rng.random() < 0.67 else "same" for label in labels]
    for turn in range(3):
        order = rng.permutation(num_rows)
        if not misleading:
            order = order[np.argsort(labels[order], kind="stable")]
        for place, row in enumerate(order):
            texts[row] += f" rare{turn}x{place // 2}"
    return texts, as_csr(np.eye(NUM_LABELS, dtype=np.float32)[labels])


def corpus_of(texts: list[str], Y_NL: sp.csr_array) -> Corpus:
    names = tuple(map(str, range(NUM_LABELS)))
    return Corpus(texts, Y_NL, LabelTable(names, ("",) * NUM_LABELS))


def chosen_on(num_rows: int, misleading: bool, **changes: Any) -> Any:
    texts, Y_NL = pairs_of_words(num_rows, misleading)
    corpus = replace(corpus_of(texts, Y_NL), **changes)
    return choose_min_df(PARAMS, corpus, np.arange(num_rows))


def test_words_of_two_texts_that_mislead_are_left_out():
    choices = chosen_on(90, misleading=True)
    assert dict(choices.values) == {MIN_DF: 2}
    assert choices.num_held_out == 90
    stands, other = choices.tried
    assert other.gain == pytest.approx(other.figures["criterion"] - stands.figures["criterion"])
    assert other.gain > 0
    assert "chosen: terms of two texts and more" in choices.message


def test_words_of_two_texts_that_tell_count_where_they_would_not_by_size():
    texts, Y_NL = pairs_of_words(FEW_TEXTS, misleading=False)
    estimator = XRLinear(num_threads=1, num_trees=1, fused=False, max_leaf_size=8).fit(texts, Y_NL)
    assert dict(estimator.choices_.values) == {MIN_DF: 1}
    assert estimator.choices_.tried[1].gain > 0.1
    assert "1,000 rows are too few to choose other settings on" in estimator.choices_.to_text()
    assert estimator.model_.features.params.min_df == 1


def test_what_is_there_by_size_stays_where_it_is_better():
    choices = chosen_on(90, misleading=False)
    assert choices.values == {}
    assert choices.tried[1].gain < 0
    assert "not chosen: terms of two texts and more" in choices.message


def test_rows_count_by_their_weights():
    """Words of two texts tell in the first half and mislead in the second, which weighs little."""
    halves = [pairs_of_words(90, misleading) for misleading in (False, True)]
    texts = halves[0][0] + [text.replace("rare", "other") for text in halves[1][0]]
    Y_NL = as_csr(sp.vstack([half[1] for half in halves]))
    weights_N = np.repeat(np.array([1.0, 1e-3], np.float32), 90)
    corpus = replace(corpus_of(texts, Y_NL), row_weights=weights_N)
    choices = choose_min_df(PARAMS, corpus, np.arange(180))
    assert choices.values == {}
    assert choices.tried[1].gain < 0


@pytest.mark.parametrize(
    ("arguments", "num_rows"),
    [
        ({"features": TfidfParams(min_df=2)}, 90),
        ({"choose": ()}, 90),
        ({"choose": ("ranker",)}, 90),
        ({}, FEWEST_ROWS - 1),
    ],
)
def test_nothing_is_tried_where_it_is_given_or_rows_are_too_few(
    arguments: dict[str, Any], num_rows: int
):
    texts, Y_NL = pairs_of_words(num_rows, misleading=True)
    estimator = XRLinear(num_threads=1, num_trees=1, **arguments).fit(texts, Y_NL)
    choices = getattr(estimator, "choices_", None)
    assert choices is None or not choices.tried


@pytest.mark.parametrize(("num_rows", "num_folds"), [(90, MANY_FOLDS), (FEW_TEXTS, NUM_FOLDS)])
def test_folds_keep_groups_together_and_have_every_row_once(num_rows: int, num_folds: int):
    groups_N = np.random.default_rng(0).integers(num_rows // 3, size=num_rows)
    folds = divide(groups_N, num_rows, seed=0)
    assert len(folds) == num_folds
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(num_rows))
    assert not set.intersection(*(set(groups_N[fold]) for fold in folds[:2]))
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 12
    assert [f.tolist() for f in folds] == [f.tolist() for f in divide(groups_N, num_rows, seed=0)]


def test_rows_of_one_group_are_no_two_folds_and_nothing_is_chosen():
    (fold,) = divide(np.zeros(30, int), 30, seed=0)
    assert len(fold) == 30
    texts, Y_NL = pairs_of_words(30, misleading=True)
    choices = choose_min_df(PARAMS, corpus_of(texts, Y_NL), np.zeros(30, int))
    assert choices.values == {}
    assert "all rows stay together" in choices.message


def test_a_vocabulary_that_would_be_empty_is_not_tried():
    texts = [f"w{row}" for row in range(30)]
    Y_NL = as_csr(np.eye(NUM_LABELS, dtype=np.float32)[np.arange(30) % NUM_LABELS])
    choices = choose_min_df(PARAMS, corpus_of(texts, Y_NL), np.arange(30))
    assert choices.values == {}
    assert "terms of two texts and more cannot be tried" in choices.message
