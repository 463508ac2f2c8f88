"""The label tree, candidates and path scores."""

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.errors import ArtifactError, DataError
from xrt.sparse import as_csr
from xrt.tree.candidates import expand, matcher_aware, teacher_forced, union_candidates
from xrt.tree.label_tree import LabelTree
from xrt.tree.path_scores import log_scores, log_sigmoids


def small_tree():
    leaf = np.array([2, 0, 1, 2, 0], np.int32)
    return LabelTree.from_clusters(leaf, [np.zeros(2, np.int32), np.array([0, 1, 1], np.int32)])


def test_chain_of_cluster_matrices_leads_every_label_to_the_root():
    tree = small_tree()
    product = tree.cluster_matrix(2) @ tree.cluster_matrix(1) @ tree.cluster_matrix(0)
    np.testing.assert_array_equal(product.toarray(), np.ones((5, 1)))
    np.testing.assert_array_equal(tree.labels_below(0), [1, 0, 1, 1, 0])
    assert tree.describe() == "2-3-5"


def test_level_targets_are_sums_of_label_weights():
    Y = as_csr(np.array([[1, 0, 0, 1, 0], [0, 0.5, 0, 0, 0], [0, 0, 0, 0, 0]]))
    levels = [level.toarray() for level in small_tree().level_targets(Y)]
    np.testing.assert_array_equal(levels[2], Y.toarray())
    np.testing.assert_array_equal(levels[1], [[0, 0, 2], [0.5, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(levels[0], [[0, 2], [0.5, 0], [0, 0]])


def test_children_are_grouped_by_parent():
    indptr, indices = small_tree().children(2)
    np.testing.assert_array_equal(indptr, [0, 2, 3, 5])
    np.testing.assert_array_equal(indices, [1, 4, 2, 0, 3])


def test_user_given_paths_of_different_depth():
    tree = LabelTree.from_paths([["toys"], ["toys", "cars"], [], ["toys", "cars"]])
    assert tree.describe() == "2-3-4"
    assert tree.parents[2][1] == tree.parents[2][3]
    assert len(set(tree.parents[2])) == 3
    assert LabelTree.from_paths([[], []]).depth == 1


def test_saved_equals_loaded_and_damage_is_told(tmp_path):
    small_tree().save(tmp_path)
    loaded = LabelTree.load(tmp_path)
    assert all(
        np.array_equal(a, b) for a, b in zip(loaded.parents, small_tree().parents, strict=True)
    )
    np.save(tmp_path / "parents.2.npy", np.array([9, 0, 0, 0, 0], np.int32))
    with pytest.raises(ArtifactError, match="unreadable label tree"):
        LabelTree.load(tmp_path)


def test_children_are_read_from_disk_not_sorted_anew(tmp_path, monkeypatch):
    small_tree().save(tmp_path)
    expected = [small_tree().children(t) for t in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(np, "argsort", lambda *args, **kwargs: pytest.fail("sorted"))
        loaded = LabelTree.load(tmp_path)
        result = [loaded.children(t) for t in range(3)]
    for (ptr_a, nodes_a), (ptr_b, nodes_b) in zip(expected, result, strict=True):
        np.testing.assert_array_equal(ptr_a, ptr_b)
        np.testing.assert_array_equal(nodes_a, nodes_b)
    for path in tmp_path.glob("child*"):
        path.unlink()  # a model from before tables were stored
    np.testing.assert_array_equal(LabelTree.load(tmp_path).children(2)[1], expected[2][1])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("children", [1, 4, 2, 0, 5]),
        ("children", [1, 4, 2, 0, -1]),
        ("children", [1, 4, 2, 0]),
        ("child_ptr", [0, 4, 3, 5]),
        ("child_ptr", [0, 2, 3, 6]),
    ],
)
def test_children_out_of_bounds_are_refused(tmp_path, name, values):
    small_tree().save(tmp_path)
    dtype = np.int32 if name == "children" else np.int64
    np.save(tmp_path / f"{name}.2.npy", np.array(values, dtype))
    with pytest.raises(ArtifactError, match="children of level 2"):
        LabelTree.load(tmp_path)


def test_parents_outside_the_level_above_are_refused():
    with pytest.raises(DataError, match="2 nodes above"):
        LabelTree((np.zeros(2, np.int32), np.array([0, 2], np.int32)))
    with pytest.raises(DataError, match="and one label"):
        LabelTree.flat(0)


def test_candidates_contain_all_true_nodes_and_only_children_of_the_beam():
    tree = small_tree()
    Y = as_csr(np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]))
    targets = tree.level_targets(Y)
    scores = as_csr(np.array([[0.1, 0.9, 0.8], [0.2, 0.3, 0.1]]))
    M = union_candidates(teacher_forced(targets[1]), matcher_aware(scores, 1))
    np.testing.assert_array_equal(M.toarray(), [[0, 1, 1], [1, 1, 0]])
    children = expand(M, tree, 2).toarray()
    np.testing.assert_array_equal(children, [[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]])
    assert (children >= (Y.toarray() > 0)).all()


def test_a_score_of_zero_is_still_a_candidate():
    scores = sp.csr_array(
        (np.array([0.0, -1.0], np.float32), np.array([1, 2]), np.array([0, 2])), (1, 3)
    )
    np.testing.assert_array_equal(matcher_aware(scores, 1).toarray(), [[0, 1, 0]])


@pytest.mark.parametrize(
    ("log_of", "f"),
    [
        (log_scores, lambda m: np.exp(-(np.maximum(0, 1 - m) ** 3))),
        (log_sigmoids, lambda m: 1 / (1 + np.exp(-m))),
    ],
)
def test_path_scores_follow_their_formula(log_of, f):
    margins = np.linspace(-2, 3, 21)
    np.testing.assert_allclose(np.exp(log_of(margins)), f(margins), rtol=1e-5)
