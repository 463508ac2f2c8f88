import numpy as np
import pytest
import scipy.sparse as sp
import torch

from xrt.encoder.levels import LevelData, LevelTargets, best_nodes
from xrt.encoder.params import MatcherParams
from xrt.errors import ConfigError
from xrt.tree.label_tree import LabelTree

# labels 0 3 | 1 4 | 2 5 below three clusters
TREE = LabelTree.from_clusters(np.array([0, 1, 2, 0, 1, 2], np.int32), [np.zeros(3, np.int32)])
Y = sp.csr_array(np.array([[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]], np.float32))


def entries(targets) -> dict[tuple[int, int], float]:
    parts = (part.tolist() for part in targets[:3])
    return {(row, node): value for row, node, value in zip(*parts, strict=True)}


def test_candidates_are_the_children_and_positives_whatever_stands_above():
    M = sp.csr_array(np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]], np.float32))
    targets = LevelData(Y, M, TREE, 1).of_rows(np.array([1, 0, 2]))
    assert not targets.dense
    assert entries(targets) == {
        (0, 1): 1.0, (0, 2): 0.0, (0, 5): 1.0,  # label 1 lies outside the candidate cluster
        (1, 0): 1.0, (1, 3): 1.0, (1, 1): 0.0, (1, 4): 0.0,
    }  # fmt: skip


def test_all_nodes_are_told_by_the_positives_alone():
    targets = LevelData(Y, None, TREE, 1).of_rows(np.array([0, 2]))
    assert targets.dense
    assert entries(targets) == {(0, 0): 1.0, (0, 3): 1.0}


def test_a_level_with_candidates_adds_the_children_of_what_the_head_above_likes_now():
    above = TREE.level_targets(Y)[0]
    problem = LevelData(Y, above, TREE, 1)
    best = sp.csr_array(np.array([[0, 0, 1], [0, 0, 0]], np.float32))
    found = entries(problem.of_rows(np.array([0, 2]), best))
    assert found == {(0, 0): 1.0, (0, 3): 1.0, (0, 2): 0.0, (0, 5): 0.0}
    assert entries(problem.of_rows(np.array([0]))) == {(0, 0): 1.0, (0, 3): 1.0}


def test_the_best_candidates_are_the_best_of_all_where_all_are_candidates():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(4, 6)).astype(np.float32))
    dense = LevelData(sp.csr_array((4, 6), dtype=np.float32), None, TREE, 1).of_rows(np.arange(4))
    rows, nodes = np.divmod(rng.permutation(24), 6)
    ragged = LevelTargets(
        torch.from_numpy(rows), torch.from_numpy(nodes), torch.zeros(24), dense=False
    )
    wanted = best_nodes(logits, dense, 4, 6, 2).toarray()
    assert wanted.sum(1).tolist() == [2, 2, 2, 2]
    found = best_nodes(logits[rows, nodes], ragged, 4, 6, 2).toarray()
    assert np.array_equal(found, wanted)
    kept = logits[rows, nodes] == logits.max(1).values[rows]  # a row's best node alone
    few = LevelTargets(*(part[kept] for part in ragged[:3]), dense=False)
    assert best_nodes(logits[rows, nodes][kept], few, 4, 6, 2).sum() == 4


def test_steps_are_given_or_follow_from_epochs():
    assert MatcherParams(steps=7).num_steps(100) == 7
    assert MatcherParams(num_epochs=1.5).num_steps(100) == 150
    assert MatcherParams(num_epochs=0.01).num_steps(10) == 1


def test_wide_levels_use_candidates():
    assert MatcherParams(dense_level_limit=10).is_dense(10)
    assert not MatcherParams(dense_level_limit=10).is_dense(11)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token_budget", 0),
        ("num_epochs", 0.0),
        ("steps", -1),
    ],
)
def test_bad_settings_name_the_field(field, value):
    with pytest.raises(ConfigError, match=f"matcher.{field}"):
        MatcherParams(**{field: value})
