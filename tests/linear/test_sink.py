"""Sinks: the same bytes whatever the order and the place, nothing left behind when it fails."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.slow_linear import sparse_weights
from xrt.errors import CapacityError, TrainingError
from xrt.linear import sink
from xrt.linear.chunks import sorted_order
from xrt.linear.sink import FolderSink, MemorySink
from xrt.linear.weights import LevelWeights, SolvedBlock
from xrt.tree.label_tree import LabelTree

FEATURES = 30


def tree_with_empty_clusters():
    """Clusters of 0, 3, 0, 7, 1 and 0 nodes."""
    leaf = np.array([3, 1, 3, 3, 1, 3, 4, 3, 3, 1, 3], np.int32)
    return LabelTree.from_clusters(leaf, [np.zeros(6, np.int32)])


def blocks_of(tree, num_dense=3, seed=0):
    """Solved blocks of the last level, at most 3 nodes each: clusters are cut."""
    rng = np.random.default_rng(seed)
    child_ptr, _ = tree.children(1)
    blocks = []
    for cluster in range(len(child_ptr) - 1):
        for first in range(child_ptr[cluster], child_ptr[cluster + 1], 3):
            count = min(3, child_ptr[cluster + 1] - first)
            columns = [
                np.flatnonzero(rng.random(FEATURES) < 0.3 * (node % 3)) for node in range(count)
            ]
            node_ptr = np.concatenate([[0], np.cumsum([len(c) for c in columns])]).astype(np.int64)
            values = rng.normal(size=node_ptr[-1]).astype(np.float32)
            dense = rng.normal(size=(count, num_dense)).astype(np.float32)
            biases = rng.normal(size=count).astype(np.float32)
            used = np.concatenate(columns).astype(np.int32)
            blocks.append(SolvedBlock(cluster, int(first), node_ptr, used, values, dense, biases))
    return blocks


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def filled(made, blocks):
    for block in blocks:
        made.add(block)
    return made


@pytest.mark.parametrize("batch_bytes", [1, 500, 1 << 20])
@pytest.mark.parametrize("num_dense", [0, 3])
@pytest.mark.parametrize("half", [False, True])
def test_folder_and_memory_give_the_same_bytes_in_any_order(
    tmp_path, monkeypatch, batch_bytes, num_dense, half
):
    monkeypatch.setattr(sink, "BATCH_BYTES", batch_bytes)
    tree = tree_with_empty_clusters()
    blocks = blocks_of(tree, num_dense)
    in_memory = filled(MemorySink(tree, 1, FEATURES), blocks).finish()
    in_memory.astype(np.float16 if half else np.float32).save(tmp_path / "memory")
    for order in (blocks, blocks[::-1], blocks[3:] + blocks[:3]):
        made = filled(FolderSink(tmp_path / "level", tree, 1, FEATURES, half=half), order)
        weights = made.finish()
        assert files_of(tmp_path / "level") == files_of(tmp_path / "memory")
        assert weights.folder == tmp_path / "level"
        assert not weights.entry_values.flags.owndata  # mapped, not read
    if not half:
        np.testing.assert_array_equal(
            sparse_weights(weights).toarray(), sparse_weights(in_memory).toarray()
        )


@settings(deadline=None)  # the first example compiles
@given(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**31 - 1)), max_size=40))
def test_columns_are_sorted_and_equal_ones_keep_their_order(columns):
    columns = np.array(columns, np.int32)
    spares = np.empty(len(columns) + 2, np.int64), np.empty(len(columns) + 2, np.int64)
    order = sorted_order(columns, *spares)[: len(columns)]
    np.testing.assert_array_equal(order, np.argsort(columns, kind="stable"))


def test_blocks_may_come_from_several_threads(tmp_path):
    tree = LabelTree.from_clusters(np.repeat(np.arange(40, dtype=np.int32), 9), [np.zeros(40)])
    blocks = blocks_of(tree)
    made = FolderSink(tmp_path / "level", tree, 1, FEATURES)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(made.add, np.random.default_rng(1).permutation(blocks)))
    result = made.finish()
    expected = filled(MemorySink(tree, 1, FEATURES), blocks).finish()
    np.testing.assert_array_equal(
        sparse_weights(result).toarray(), sparse_weights(expected).toarray()
    )


def test_missing_and_double_nodes_are_noticed(tmp_path):
    tree = tree_with_empty_clusters()
    blocks = blocks_of(tree)
    for wrong in (blocks[:-1], blocks[1:], [*blocks, blocks[1]]):
        with pytest.raises(TrainingError, match="solved"):
            filled(MemorySink(tree, 1, FEATURES), wrong).finish()
        with pytest.raises(TrainingError, match="solved"):
            filled(FolderSink(tmp_path / "level", tree, 1, FEATURES), wrong).finish()
        assert not (tmp_path / "level").exists()


def full_disk(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_while_blocks_arrive_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    tree = tree_with_empty_clusters()
    blocks = blocks_of(tree)
    made = FolderSink(tmp_path / "level", tree, 1, FEATURES)
    made.add(blocks[0])
    with monkeypatch.context() as patch:
        patch.setattr(sink.os, "pwrite", full_disk)
        with pytest.raises(CapacityError, match=r"level: .*No space left.* of about .*free some"):
            made.add(blocks[1])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrainingError, match="discarded"):
        made.add(blocks[2])
    with pytest.raises(TrainingError, match="discarded"):
        made.finish()


@pytest.mark.parametrize("fails_at", [0, 5, 13])
@pytest.mark.parametrize("failure", [full_disk, KeyboardInterrupt])
def test_a_failure_while_arrays_are_written_leaves_nothing(
    tmp_path, monkeypatch, fails_at, failure
):
    tree = tree_with_empty_clusters()
    made = filled(FolderSink(tmp_path / "level", tree, 1, FEATURES), blocks_of(tree))
    append, calls = sink.NpyStream.append, []

    def failing(self, items):
        calls.append(items)
        if len(calls) > fails_at:
            if failure is KeyboardInterrupt:
                raise KeyboardInterrupt
            failure()
        return append(self, items)

    monkeypatch.setattr(sink, "BATCH_BYTES", 1)
    monkeypatch.setattr(sink.NpyStream, "append", failing)
    with pytest.raises(KeyboardInterrupt if failure is KeyboardInterrupt else CapacityError):
        made.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_the_last_file_leaves_nothing(tmp_path, monkeypatch):
    tree = tree_with_empty_clusters()
    made = filled(FolderSink(tmp_path / "level", tree, 1, FEATURES), blocks_of(tree))
    monkeypatch.setattr(sink, "write_settings", full_disk)
    with pytest.raises(CapacityError, match="No space left"):
        made.finish()
    assert list(tmp_path.iterdir()) == []


def test_discarding_leaves_nothing_and_spares_the_files_of_others(tmp_path):
    tree = tree_with_empty_clusters()
    filled(FolderSink(tmp_path / "new", tree, 1, FEATURES), blocks_of(tree)).discard()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "level").mkdir()
    (tmp_path / "level" / "note.txt").write_text("mine")
    made = filled(FolderSink(tmp_path / "level", tree, 1, FEATURES), blocks_of(tree))
    assert [path.name for path in (tmp_path / "level").iterdir()] == ["note.txt"]  # scratch: none
    made.discard()
    made.discard()
    assert (tmp_path / "level" / "note.txt").read_text() == "mine"


def test_weights_on_disk_are_saved_where_they_lie_and_elsewhere(tmp_path):
    tree = tree_with_empty_clusters()
    weights = filled(FolderSink(tmp_path / "level", tree, 1, FEATURES), blocks_of(tree)).finish()
    before = files_of(tmp_path / "level")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "level").iterdir()}
    weights.save(tmp_path / "level")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "level").iterdir()} == times
    weights.save(tmp_path / "other")
    assert files_of(tmp_path / "other") == files_of(tmp_path / "level") == before
    for path in (tmp_path / "level").iterdir():
        path.unlink()
    again = LevelWeights.load(tmp_path / "other", tree, 1)
    np.testing.assert_array_equal(
        sparse_weights(again).toarray(), sparse_weights(weights).toarray()
    )


def test_weights_are_copied_where_links_are_not_possible(tmp_path, monkeypatch):
    tree = tree_with_empty_clusters()
    weights = filled(FolderSink(tmp_path / "level", tree, 1, FEATURES), blocks_of(tree)).finish()

    def no_links(*args):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", no_links)
    weights.save(tmp_path / "other")
    assert files_of(tmp_path / "other") == files_of(tmp_path / "level")
