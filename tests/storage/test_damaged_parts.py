"""Arrays that compiled code indexes with: a wrong number is refused before code follows it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference.slow_linear import sparse_weights
from xrt import XRLinear
from xrt.errors import ArtifactError
from xrt.hybrid import HybridMatrix
from xrt.linear.scoring import step
from xrt.linear.weights import LevelWeights, node_weights
from xrt.search.beam import SearchParams, beam_search
from xrt.sources.ranker import TreeRanker
from xrt.sparse import load_csr, save_csr


@pytest.fixture(scope="module")
def ranker(checkerboard: tuple[sp.csr_array, sp.csr_array]) -> TreeRanker:
    """A tree of two levels with weights of 16 columns."""
    estimator = XRLinear(branching=2, max_leaf_size=2, num_threads=1).fit(*checkerboard)
    trained: TreeRanker = estimator.model_.trees.trees[0]
    assert trained.tree.depth > 1
    return trained


def change(path: Path, change: Callable[[np.ndarray], None]) -> None:
    array = np.load(path).copy()
    change(array)
    np.save(path, array)


def put(place: int, value: float) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array.reshape(-1)[place] = value

    return change


def reverse(array: np.ndarray) -> None:
    array[:] = array[::-1].copy()


AT_ONCE = [
    ("chunk_ptr", put(1, 2**40)),
    ("chunk_ptr", put(1, -1)),
    ("chunk_ptr", put(0, 1)),
    ("chunk_ptr", reverse),
    ("row_ptr", put(0, 1)),
    ("row_ptr", put(-1, 2**40)),
    ("bias", put(0, np.nan)),
    ("bias", put(0, np.inf)),
    ("bias", put(0, -3e38)),
    ("bias", put(-1, 2.0**40)),
]
"""What is refused when weights are opened."""

WHEN_READ = [
    ("row_columns", put(0, 1300)),
    ("row_columns", put(0, -1)),
    ("row_columns", put(-1, 2**31 - 1)),
    ("row_columns", reverse),
    ("row_ptr", put(1, 2**40)),
    ("row_ptr", put(1, -(2**40))),
    ("row_ptr", put(2, 0)),
    ("entry_children", put(0, 255)),
    ("entry_children", put(-1, 200)),
    ("entry_values", put(0, np.nan)),
    ("entry_values", put(-1, -np.inf)),
    ("entry_values", put(0, 3e38)),
]
"""What is found when a chunk is first read."""


@pytest.mark.parametrize(("name", "damage"), AT_ONCE)
def test_wrong_pointers_and_biases_of_weights_are_refused_at_once(
    ranker: TreeRanker, tmp_path: Path, name: str, damage: Callable[[np.ndarray], None]
) -> None:
    ranker.save(tmp_path)
    change(tmp_path / "level.1" / f"{name}.npy", damage)
    with pytest.raises(ArtifactError, match=r"level\.1"):
        TreeRanker.load(tmp_path)


def every_cluster(level: LevelWeights, X: HybridMatrix) -> sp.csr_array:
    return sp.csr_array(np.ones((X.num_rows, len(level.child_ptr) - 1), np.float32))


def search_one_row(level: LevelWeights, X: HybridMatrix) -> None:
    row, params = X.take(np.array([0])), SearchParams(beam_size=99)
    beam_search([level], row, 5, params, start=every_cluster(level, row))


def take_nodes(level: LevelWeights, X: HybridMatrix) -> None:
    for cluster in range(len(level.child_ptr) - 1):
        node_weights(level, cluster, int(level.children[level.child_ptr[cluster]]))


READERS: dict[str, Callable[[LevelWeights, HybridMatrix], object]] = {
    "all": lambda level, X: level.check(),
    "one row": search_one_row,
    "rows": lambda level, X: step(level, X, every_cluster(level, X), 3),
    "matrix": lambda level, X: sparse_weights(level),
    "nodes": take_nodes,
}


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize(("name", "damage"), WHEN_READ)
def test_no_damaged_chunk_is_read(
    ranker: TreeRanker,
    checkerboard: tuple[sp.csr_array, sp.csr_array],
    tmp_path: Path,
    name: str,
    damage: Callable[[np.ndarray], None],
    how: str,
) -> None:
    ranker.save(tmp_path)
    change(tmp_path / "level.1" / f"{name}.npy", damage)
    level = TreeRanker.load(tmp_path).levels[1]
    with pytest.raises(ArtifactError, match=r"level\.1: weights of cluster \d+ are damaged"):
        READERS[how](level, HybridMatrix.of(checkerboard[0]))


def test_sound_weights_of_both_types_pass(ranker: TreeRanker, tmp_path: Path) -> None:
    for kind in (np.float32, np.float16):
        halved = TreeRanker(ranker.tree, tuple(level.astype(kind) for level in ranker.levels))
        halved.save(tmp_path / np.dtype(kind).name)
        loaded = TreeRanker.load(tmp_path / np.dtype(kind).name)
        for level in loaded.levels:
            level.check()
            level.check(np.arange(len(level.child_ptr) - 1, dtype=np.int32))
    path = tmp_path / "float16" / "level.0" / "entry_values.npy"
    change(path, put(0, np.inf))
    with pytest.raises(ArtifactError, match="a weight is not finite, or huge"):
        TreeRanker.load(tmp_path / "float16").levels[0].check()


def test_other_chunks_than_the_damaged_one_are_still_read(
    ranker: TreeRanker, checkerboard: tuple[sp.csr_array, sp.csr_array], tmp_path: Path
) -> None:
    ranker.save(tmp_path)
    change(tmp_path / "level.1" / "entry_children.npy", put(-1, 99))
    level = TreeRanker.load(tmp_path).levels[1]
    X = HybridMatrix.of(checkerboard[0])
    num_clusters = len(level.child_ptr) - 1
    first = sp.csr_array(np.eye(1, num_clusters, dtype=np.float32)[np.zeros(X.num_rows, int)])
    found = step(level, X, first, 9)
    expected = step(ranker.levels[1], X, first, 9)
    np.testing.assert_array_equal(found.toarray(), expected.toarray())


@pytest.mark.parametrize(
    ("name", "damage", "match"),
    [
        ("parents", put(0, -1), "unreadable label tree"),
        ("parents", put(0, 99), "unreadable label tree"),
        ("parents", reverse, "children of level 1"),
        ("children", put(0, -1), "children of level 1"),
        ("children", put(0, 2**31 - 1), "children of level 1"),
        ("children", reverse, "children of level 1"),
        ("child_ptr", put(1, -5), "children of level 1"),
        ("child_ptr", put(1, 2**50), "children of level 1"),
        ("child_ptr", reverse, "children of level 1"),
        ("child_ptr", put(1, 0), "children of level 1"),
    ],
)
def test_a_tree_whose_tables_differ_is_refused(
    ranker: TreeRanker,
    tmp_path: Path,
    name: str,
    damage: Callable[[np.ndarray], None],
    match: str,
) -> None:
    ranker.save(tmp_path)
    path = tmp_path / "tree" / f"{name}.1.npy"
    before = np.load(path)
    change(path, damage)
    if (np.load(path) == before).all():
        pytest.skip("no change")
    with pytest.raises(ArtifactError, match=match):
        TreeRanker.load(tmp_path)


@pytest.mark.parametrize(
    ("part", "values", "match"),
    [
        ("indptr", [0, 2, 1, 3], "row pointers"),
        ("indptr", [0, 1, 2, 4], "row pointers"),
        ("indptr", [0, 1, 3], "do not fit"),
        ("indices", [0, 1, 4], r"outside 0\.\.3"),
        ("indices", [-1, 1, 2], r"outside 0\.\.3"),
        ("indices", [0, 2, 2], "do not ascend"),
        ("indices", [0, 3, 1], "do not ascend"),
        ("data", [1, np.nan, 1], "not finite"),
        ("data", [1, 1], "do not fit"),
    ],
)
def test_a_matrix_that_is_none_is_refused(
    tmp_path: Path, part: str, values: list[float], match: str
) -> None:
    X = sp.csr_array(np.array([[1, 0, 0, 0], [0, 2, 3, 0], [0, 0, 0, 0]], np.float32))
    save_csr(tmp_path, "X", X)
    assert (load_csr(tmp_path, "X").toarray() == X.toarray()).all()
    dtype = np.float32 if part == "data" else np.int32
    np.save(tmp_path / f"X.{part}.npy", np.array(values, dtype))
    with pytest.raises(ArtifactError, match=match):
        load_csr(tmp_path, "X")


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ("[3]", "a list of 2 is needed"),
        ("[3, 4, 5]", "a list of 2 is needed"),
        ("[3.0, 4]", "whole numbers"),
        ("[-3, 4]", "whole numbers"),
        ("[true, 4]", "whole numbers"),
        ('"ab"', "a list of 2 is needed"),
        ("null", "a list of 2 is needed"),
        ("[1099511627776, 4]", "do not fit"),
        ("[3, 2]", r"outside 0\.\.1"),
    ],
)
def test_a_shape_that_is_none_is_refused(tmp_path: Path, shape: str, match: str) -> None:
    X = sp.csr_array(np.array([[1, 0, 0, 0], [0, 2, 3, 0], [0, 0, 0, 0]], np.float32))
    save_csr(tmp_path, "X", X)
    (tmp_path / "X.shape.json").write_text(f'{{"shape": {shape}}}')
    with pytest.raises(ArtifactError, match=match):
        load_csr(tmp_path, "X")
