"""Label features of several trees: made once, weighed by the rows' lengths; how many trees."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.data.corpus import Corpus, LabelTable
from xrt.errors import ConfigError
from xrt.hybrid import HybridMatrix
from xrt.pipeline import PipelineParams, trees
from xrt.pipeline.rows import TrainingRows, hold_out, training_rows
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.trees import TreeGrower, tree_seeds
from xrt.sources.trees import tree_seed
from xrt.sparse import as_csr
from xrt.tree.clustering import TreeParams


@pytest.fixture
def hybrid(checkerboard: tuple[sp.csr_array, sp.csr_array]) -> tuple[HybridMatrix, sp.csr_array]:
    """Rows whose two blocks have length 1 each."""
    X_NF, Y_NL = checkerboard
    return HybridMatrix.of(X_NF, np.eye(4)[np.arange(64) % 4]), Y_NL


@pytest.mark.parametrize("length", [0.5, 3.0])
def test_the_length_of_the_dense_block_reaches_the_tree(
    hybrid: tuple[HybridMatrix, sp.csr_array], length: float
):
    X, Y_NL = hybrid
    Z = TreeGrower(HybridMatrix(X.sparse, X.dense * np.float32(length)), Y_NL, 1).label_features
    ratio_L = np.linalg.norm(Z.dense, axis=1) / np.linalg.norm(Z.sparse.toarray(), axis=1)
    np.testing.assert_allclose(ratio_L, length, rtol=1e-5)


def test_label_features_are_made_once_and_not_before_they_are_needed(
    hybrid: tuple[HybridMatrix, sp.csr_array], monkeypatch: Any
):
    calls = []
    make = trees.pifa_hybrid

    def counted(*rest: Any, **named: Any) -> HybridMatrix:
        calls.append(named)
        return make(*rest, **named)

    monkeypatch.setattr(trees, "pifa_hybrid", counted)
    grower = TreeGrower(*hybrid, 1)
    assert calls == []
    for seed in (0, 1, 2):
        assert grower.grow(TreeParams(max_leaf_size=2), seed).num_labels == 8
    assert len(calls) == 1


def test_as_many_seeds_as_there_are_different_trees():
    assert tree_seeds(TreeParams(max_leaf_size=10), 3, 5, 11) == [tree_seed(5, i) for i in range(3)]
    assert tree_seeds(TreeParams(max_leaf_size=11), 3, 5, 11) == [5]
    assert tree_seeds(TreeParams(max_leaf_size=2, paths="paths.tsv"), 3, 5, 11) == [5]
    with pytest.raises(ConfigError, match="num_trees = 0"):
        PipelineParams(num_trees=0)


def rows_of(texts: list[str], **more: Any) -> TrainingRows:
    labels = LabelTable.from_ids(["a", "b"])
    corpus = Corpus(texts, as_csr(np.ones((len(texts), 2))), labels, **more)
    return training_rows(StageRunner(PipelineParams()), corpus)


def test_at_most_a_tenth_is_held_out_and_nothing_where_no_row_can_be_spared(caplog: Any):
    held = hold_out(rows_of([f"text word{i} other{i}" for i in range(40)]), 100, 0)
    assert held is not None
    assert (len(held.train), len(held.validation), len(held.drawn)) == (36, 4, 0)
    for enough, num_held_out in ((3, 4), (6, 6), (1_000, 10)):
        held = hold_out(
            rows_of([f"text word{i} other{i}" for i in range(40)]), 100, 0, enough=enough
        )
        assert held is not None
        assert (len(held.train), len(held.validation)) == (40 - num_held_out, num_held_out)
    assert caplog.text == ""
    assert hold_out(rows_of(["one text"] * 40), 2, 0, "the path weight stays 1") is None
    assert "the path weight stays 1" in caplog.text


def test_the_newest_rows_are_held_out_and_others_drawn_to_report_on():
    texts = [f"text word{i} other{i}" for i in range(60)]
    held = hold_out(rows_of(texts, times=np.arange(60.0)), 4, 0)
    assert held is not None
    assert held.validation.tolist() == [56, 57, 58, 59]
    assert len(held.drawn) == 2
    assert sorted([*held.train, *held.every]) == list(range(60))
    groups = np.r_[np.zeros(54, int), np.full(6, -1)]
    groups[[3, 59]] = 7
    held = hold_out(rows_of(texts, times=np.arange(60.0), groups=groups), 4, 0)
    assert held is not None
    assert held.validation.tolist() == [55, 56, 57, 58]  # row 59 stays with an old one


def test_texts_that_come_back_later_are_no_group_where_times_are_known():
    texts = [f"text word{i % 20} other{i % 20}" for i in range(40)]
    assert len(set(rows_of(texts).groups().tolist())) == 20
    assert len(set(rows_of(texts, times=np.arange(40.0)).groups().tolist())) == 40
    assert len(set(rows_of(texts, times=np.arange(40.0) % 20).groups().tolist())) == 20
    named = rows_of(texts, groups=np.r_[np.zeros(30, int), np.full(10, -1)]).groups()
    assert len(set(named[:30].tolist())) == 1
    assert len(set(named[30:].tolist())) == 10
