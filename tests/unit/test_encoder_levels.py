import numpy as np
import pytest
import scipy.sparse as sp

from xrt.encoder.levels import LevelProblem, bootstrap_head, level_candidates, top_nodes
from xrt.encoder.params import Bootstrap, Candidates, LossParams, MatcherLoss, MatcherParams
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
    targets = LevelProblem(Y, M, TREE, 1).of_rows(np.array([1, 0, 2]))
    assert not targets.dense
    assert entries(targets) == {
        (0, 1): 1.0, (0, 2): 0.0, (0, 5): 1.0,  # label 1 lies outside the candidate cluster
        (1, 0): 1.0, (1, 3): 1.0, (1, 1): 0.0, (1, 4): 0.0,
    }  # fmt: skip


def test_all_nodes_are_told_by_the_positives_alone():
    targets = LevelProblem(Y, None, TREE, 1).of_rows(np.array([0, 2]))
    assert targets.dense
    assert entries(targets) == {(0, 0): 1.0, (0, 3): 1.0}


def test_tfn_and_man_join():
    Y_above = TREE.level_targets(Y)[0]
    embeddings = np.eye(3, dtype=np.float32)
    head = (np.array([[0, 0, 5], [0, 5, 0], [5, 0, 0]], np.float32), np.zeros(3, np.float32))
    M = level_candidates(Y_above, head, embeddings, MatcherParams(man_top_k=1))
    assert M.toarray().tolist() == [[1, 0, 1], [0, 1, 1], [1, 0, 0]]


def test_top_nodes_in_blocks_are_those_of_the_whole_product():
    rng = np.random.default_rng(0)
    E, W = rng.normal(size=(40, 6)).astype(np.float32), rng.normal(size=(9, 6)).astype(np.float32)
    b = rng.normal(size=9).astype(np.float32)
    wanted = np.argsort(-(E @ W.T + b), axis=1)[:, :4]
    assert np.array_equal(top_nodes(E, (W, b), 4), wanted)
    assert top_nodes(E, (W, b), 100).shape == (40, 9)


def test_an_inheriting_child_scores_its_parent_times_its_share():
    targets = TREE.level_targets(Y)
    above = (np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0.1, 0.2, 0.3], np.float32))
    hinge = MatcherParams(loss=LossParams(kind=MatcherLoss.squared_hinge))
    W, b = bootstrap_head(None, targets[1], targets[0], above, TREE, 1, 2, hinge)
    assert W.tolist() == above[0][[0, 1, 2, 0, 1, 2]].tolist()
    np.testing.assert_allclose(b, above[1][[0, 1, 2, 0, 1, 2]])
    _, b_bce = bootstrap_head(None, targets[1], targets[0], above, TREE, 1, 2, MatcherParams())
    assert b_bce[1] == pytest.approx(0.2)  # cluster 1 is label 1 alone here
    assert b_bce[4] < b_bce[1]  # a label nobody has


def test_a_linear_start_ranks_separable_nodes_rightly():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 6
    E = (np.eye(6)[labels] + 0.1 * rng.normal(size=(60, 6))).astype(np.float32)
    Y_NL = sp.csr_array(np.eye(6, dtype=np.float32)[labels])
    targets = TREE.level_targets(Y_NL)
    params = MatcherParams(bootstrap=Bootstrap.linear)
    W, b = bootstrap_head(E, targets[0], None, None, TREE, 0, 6, params)
    clusters = TREE.parents[1][labels]
    assert ((E @ W.T + b).argmax(1) == clusters).all()
    W, b = bootstrap_head(E, targets[1], targets[0], None, TREE, 1, 6, params)
    logits = E @ W.T + b
    siblings = TREE.parents[1][None, :] == clusters[:, None]
    assert (np.where(siblings, logits, -np.inf).argmax(1) == labels).all()


def test_steps_are_one_number_a_list_or_epochs_shared_out():
    assert MatcherParams(steps=[7]).steps_of_levels(3, 100) == [7, 7, 7]
    assert MatcherParams(steps=[1, 2]).steps_of_levels(2, 100) == [1, 2]
    assert MatcherParams(num_epochs=7.0).steps_of_levels(3, 100) == [100, 200, 400]
    assert MatcherParams(num_epochs=0.01).steps_of_levels(3, 10) == [1, 1, 1]
    with pytest.raises(ConfigError, match="2 numbers, the tree has 3"):
        MatcherParams(steps=[1, 2]).steps_of_levels(3, 100)


def test_wide_levels_use_candidates_unless_all_are_wanted():
    assert MatcherParams(dense_level_limit=10).is_dense(10)
    assert not MatcherParams(dense_level_limit=10).is_dense(11)
    assert MatcherParams(dense_level_limit=10, candidates=Candidates.all).is_dense(11)


@pytest.mark.parametrize(
    ("field", "value"),
    [("token_budget", 0), ("num_epochs", 0.0), ("warmup_fraction", 1.5), ("weight_decay", -1.0)],
)
def test_bad_settings_name_the_field(field, value):
    with pytest.raises(ConfigError, match=f"matcher.{field}"):
        MatcherParams(**{field: value})
