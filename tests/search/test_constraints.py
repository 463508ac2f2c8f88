"""Allowed and forbidden labels: nothing else is given, and nothing is lost on the way to them."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference.slow_constraints import enterable, permitted
from xrt.data.labels import LabelTable
from xrt.errors import DataError
from xrt.hybrid import HybridMatrix
from xrt.search import beam
from xrt.search.beam import SearchParams, beam_search, constrained_search
from xrt.search.constraints import Constraint, constraint_of
from xrt.sources.label_head import LabelHead
from xrt.sources.neighbours import SparseNeighbours
from xrt.sources.ranker import RankerParams, TreeRanker, train_ranker
from xrt.sparse import as_csr
from xrt.tree.clustering import TreeParams, build_tree

NUM_LABELS, NUM_ROWS = 30, 40
LABELS = LabelTable.from_ids([f"l{label}" for label in range(NUM_LABELS)])
EVERY = range(NUM_LABELS)
FULL = SearchParams(beam_size=NUM_LABELS)
Trained = tuple[HybridMatrix, sp.csr_array, TreeRanker]


def ids(*columns: int) -> list[str]:
    return [f"l{column}" for column in columns]


@pytest.fixture(scope="module")
def trained() -> Trained:
    rng = np.random.default_rng(0)
    centres = rng.random((NUM_LABELS, 25)) * (rng.random((NUM_LABELS, 25)) < 0.3)
    labels = rng.integers(0, NUM_LABELS, (NUM_ROWS, 2))
    Y = np.zeros((NUM_ROWS, NUM_LABELS), np.float32)
    np.put_along_axis(Y, labels, 1, axis=1)
    X = HybridMatrix.of(sp.csr_array(centres[labels].sum(1)))
    shape = TreeParams(branching=2, max_leaf_size=4, max_top_nodes=3)
    tree = build_tree(HybridMatrix.of(sp.csr_array(centres)), shape, 0)
    assert tree.depth >= 3
    return X, as_csr(Y), train_ranker(X, as_csr(Y), tree, RankerParams(threshold=0.0), seed=0)


def made(allowed: Any = None, forbidden: Any = None, num_rows: int = NUM_ROWS) -> Constraint:
    found = constraint_of(LABELS, num_rows, allowed, forbidden)
    assert found is not None
    return found


def random_sets(seed: int, size: int) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [ids(*rng.choice(NUM_LABELS, size, replace=False)) for _ in range(NUM_ROWS)]


CASES: dict[str, dict[str, Any]] = {
    "allowed for all": {"allowed": ids(3, 17, 18, 4)},
    "forbidden for all": {"forbidden": ids(*range(20))},
    "both for all": {"allowed": ids(1, 2, 3, 9), "forbidden": ids(2, 7)},
    "allowed for each": {"allowed": random_sets(1, 5)},
    "forbidden for each": {"forbidden": random_sets(2, 22)},
    "each and all": {"allowed": random_sets(3, 9), "forbidden": ids(0, 1)},
    "all and each": {"allowed": ids(*range(15)), "forbidden": random_sets(4, 6)},
}


def columns(sets: Any, row: int) -> set[int] | None:
    if sets is None:
        return None
    of_row = sets if isinstance(sets[0], str) else sets[row]
    return {int(label[1:]) for label in of_row}


def mask(case: dict[str, Any]) -> np.ndarray:
    """True where a label may be given to a row."""
    allowed, forbidden = case.get("allowed"), case.get("forbidden")
    return np.array(
        [
            [permitted(label, columns(allowed, row), columns(forbidden, row)) for label in EVERY]
            for row in range(NUM_ROWS)
        ]
    )


def stored(scores: sp.csr_array) -> np.ndarray:
    """Scores as a dense matrix with NaN where nothing is stored."""
    dense = np.full(scores.shape, np.nan, np.float32)
    rows = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    dense[rows, scores.indices] = scores.data
    return dense


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_with_a_full_beam_it_is_exhaustive_search_without_the_rest(trained: Trained, case: Any):
    X, _, ranker = trained
    found = constrained_search(ranker.levels, ranker.tree, X, NUM_LABELS, FULL, made(**case))
    every = stored(beam_search(ranker.levels, X, NUM_LABELS, FULL))
    np.testing.assert_array_equal(stored(found), np.where(mask(case), every, np.nan))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("t", [0, 1, 2])
def test_nodes_with_something_wanted_below_are_entered(trained: Trained, case: Any, t: int):
    tree = trained[2].tree
    at = made(**case).at(tree, t)
    shape = (NUM_ROWS, tree.num_nodes(t))
    nodes = stored(at.keep(as_csr(sp.csr_array(np.ones(shape, np.float32)))))
    for row in range(NUM_ROWS):
        allowed, forbidden = columns(case.get("allowed"), row), columns(case.get("forbidden"), row)
        wanted = enterable(tree, t, allowed, forbidden)
        assert set(np.flatnonzero(~np.isnan(nodes[row]))) == wanted


def test_a_narrow_beam_is_not_filled_with_what_is_not_wanted(trained: Trained):
    X, _, ranker = trained
    narrow = SearchParams(beam_size=1)
    for label in range(NUM_LABELS):
        only = made(allowed=ids(label))
        found = constrained_search(ranker.levels, ranker.tree, X, 5, narrow, only)
        assert found.indices.tolist() == [label] * NUM_ROWS


def test_blocks_and_threads_change_nothing(trained: Trained, monkeypatch: pytest.MonkeyPatch):
    X, _, ranker = trained
    params, levels, tree = SearchParams(beam_size=3), ranker.levels, ranker.tree
    for case in CASES.values():
        whole = constrained_search(levels, tree, X, 4, params, made(**case))
        with monkeypatch.context() as patch:
            patch.setattr(beam, "CONSTRAINED_ROWS", 7)
            parts = constrained_search(levels, tree, X, 4, params, made(**case), num_threads=2)
        np.testing.assert_array_equal(stored(whole), stored(parts))
        most = np.minimum(4, mask(case).sum(1))
        assert (np.diff(whole.indptr) <= most).all()
        assert np.diff(whole.indptr).min() > 0
    nobody = X.take(np.arange(0))
    assert constrained_search(levels, tree, nobody, 4, params, made(allowed=ids(1))).shape == (
        0,
        30,
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_neighbours_and_head_give_only_what_is_wanted(trained: Trained, case: Any):
    X, Y_NL, _ = trained
    memory, constraint = SparseNeighbours(X.sparse, Y_NL), made(**case)
    votes = stored(memory.vote(X.sparse, NUM_LABELS))
    expected = np.where(mask(case), votes, np.nan)
    found = memory.vote(X.sparse, NUM_LABELS, constraint=constraint)
    np.testing.assert_array_equal(stored(found), expected)
    two = memory.vote(X.sparse, 2, constraint=constraint)
    assert np.nansum(stored(two)) == pytest.approx(np.nansum(-np.sort(-expected, 1)[:, :2]))

    rng = np.random.default_rng(5)
    weights, rows = rng.normal(size=(2, NUM_LABELS, 6)), rng.normal(size=(NUM_ROWS, 6))
    head = LabelHead(weights[0].astype(np.float32), np.zeros(NUM_LABELS, np.float32))
    every = stored(head.top(rows.astype(np.float32), NUM_LABELS))
    few = stored(head.top(rows.astype(np.float32), 3, constraint))
    wanted = np.where(mask(case), every, -1)
    for row in range(NUM_ROWS):
        best3 = np.sort(wanted[row])[::-1][:3]
        np.testing.assert_array_equal(
            np.sort(few[row][~np.isnan(few[row])])[::-1], best3[best3 >= 0]
        )


def test_without_sets_there_is_no_constraint():
    assert constraint_of(LABELS, 3) is None
    all_of_them = constraint_of(LABELS, 3, forbidden=[])
    assert all_of_them is not None
    assert all_of_them.mask(3).all()


@pytest.mark.parametrize(
    ("sets", "message"),
    [({"allowed": ["l1", "nope"]}, "allowed: label 'nope' is none of the model's 30"),
     ({"forbidden": [["l1"], ["nope"]]}, "forbidden, text 1: label 'nope'"),
     ({"allowed": []}, "no label is allowed, so nothing can be suggested"),
     ({"allowed": [["l1"], []]}, "text 1: no label is allowed"),
     ({"allowed": ["l1"], "forbidden": ["l1", "l2"]}, "every allowed label is forbidden, too"),
     ({"allowed": [["l2"], ["l1"]], "forbidden": ["l1"]}, "text 1: every allowed label is"),
     ({"forbidden": [f"l{i}" for i in range(30)]}, "every label is forbidden"),
     ({"allowed": "l1"}, r"allowed: one string .* write \[label\]"),
     ({"allowed": [["l1"]]}, "allowed: 1 sets of labels for 2 texts"),
     ({"allowed": {0}}, "allowed: label 0 is no string"),
     ({"forbidden": ["l1", None]}, "forbidden: label None is no string"),
     ({"forbidden": [["l1"], "l2"]}, "forbidden: 2 sets of labels for 2 texts")],
)  # fmt: skip
def test_what_leaves_nothing_to_suggest_is_refused(sets: dict[str, Any], message: str):
    with pytest.raises(DataError, match=message):
        constraint_of(LABELS, 2, **sets)


def test_a_search_that_is_not_set_up_is_refused(trained: Trained):
    X, _, ranker = trained
    with pytest.raises(DataError, match="k = 0"):
        constrained_search(ranker.levels, ranker.tree, X, 0, FULL, made(allowed=ids(1)))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_sets_for_all_rows_alone_and_written_for_each_row_find_the_same(
    trained: Trained, case: Any
):
    X, _, ranker = trained
    if made(**case).marked_NL.shape[0] > 1:
        case = {name: sets if isinstance(sets[0], str) else sets[0] for name, sets in case.items()}
    shared = made(**case)
    marks = shared.marked_NL[np.zeros(NUM_ROWS, np.int64)]
    of_each = Constraint(as_csr(sp.csr_array(marks)), shared.allows)
    for beam_size in (1, 2, 30):
        params = SearchParams(beam_size=beam_size)
        together, one_by_one = (
            constrained_search(ranker.levels, ranker.tree, X, 4, params, constraint)
            for constraint in (shared, of_each)
        )
        np.testing.assert_array_equal(stored(together), stored(one_by_one))
        for row in range(0, NUM_ROWS, 7):
            alone = X.take(np.array([row]))
            found = constrained_search(ranker.levels, ranker.tree, alone, 4, params, shared)
            np.testing.assert_array_equal(stored(found)[0], stored(together)[row])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_open_nodes_are_those_of_the_slow_twin(trained: Trained, case: Any):
    tree, constraint = trained[2].tree, made(**case)
    if constraint.marked_NL.shape[0] > 1:
        constraint = constraint.rows(0, 1)
    allowed, forbidden = columns(case.get("allowed"), 0), columns(case.get("forbidden"), 0)
    for t, nodes in enumerate(constraint.open_nodes(tree)):
        assert set(np.flatnonzero(nodes).tolist()) == enterable(tree, t, allowed, forbidden)
