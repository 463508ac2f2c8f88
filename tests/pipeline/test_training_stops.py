"""Training that is interrupted, or runs out of disk: a clear error, and what was there stays."""

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from tests.small_corpora import make_rows, model_bytes, small_params, write_rows
from xrt.errors import CapacityError
from xrt.hybrid import HybridMatrix
from xrt.linear import solver
from xrt.pipeline import train
from xrt.sources.ranker import RankerParams, TreeRanker, train_ranker
from xrt.sparse import as_csr
from xrt.tree.label_tree import LabelTree


def corpus(rows=400, labels=64, features=50):
    rng = np.random.default_rng(0)
    X = sp.random_array((rows, features), density=0.2, rng=rng, format="csr", dtype=np.float32)
    Y = sp.csr_array((np.ones(rows, np.float32), (np.arange(rows), rng.integers(0, labels, rows))),
                     shape=(rows, labels))  # fmt: skip
    parents = (np.arange(labels) // 8).astype(np.int32)
    return HybridMatrix.of(X), as_csr(Y), LabelTree.from_clusters(parents, [np.zeros(8, np.int32)])


def test_streamed_weights_equal_those_kept_in_memory(tmp_path):
    X, Y, tree = corpus()
    kept = train_ranker(X, Y, tree, RankerParams(), 0)
    streamed = train_ranker(X, Y, tree, RankerParams(), 0, folder=tmp_path / "ranker")
    streamed.save(tmp_path / "ranker")
    loaded = TreeRanker.load(tmp_path / "ranker")
    for t in range(tree.depth):
        for name in ("row_columns", "row_ptr", "entry_children", "entry_values", "dense", "bias"):
            expected = getattr(kept.levels[t], name)
            np.testing.assert_array_equal(getattr(streamed.levels[t], name), expected)
            np.testing.assert_array_equal(getattr(loaded.levels[t], name), expected)


def test_half_precision_is_kept_in_memory_and_on_disk(tmp_path):
    X, Y, tree = corpus()
    params = RankerParams(half=True)
    kept = train_ranker(X, Y, tree, params, 0)
    streamed = train_ranker(X, Y, tree, params, 0, folder=tmp_path / "ranker")
    for one, other in zip(kept.levels, streamed.levels, strict=True):
        assert one.entry_values.dtype == other.entry_values.dtype == np.float16
        np.testing.assert_array_equal(one.entry_values, other.entry_values)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    X, Y, tree = corpus()

    def no_space(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", no_space)
    with pytest.raises(CapacityError, match=r"No space left.*free some space"):
        train_ranker(X, Y, tree, RankerParams(), 0, num_threads=2, folder=tmp_path / "ranker")
    assert not list(tmp_path.rglob("*.npy"))


def test_a_full_disk_leaves_the_earlier_model_as_it_was(tmp_path, monkeypatch):
    trn = write_rows(tmp_path / "trn.jsonl", make_rows(300, 0))
    params = replace(small_params(trn), encoder=None)
    model = train(params, tmp_path / "run").model_folder
    before = model_bytes(model)

    write = os.pwrite

    def no_space(descriptor, data, offset):
        if len(data) < 100:  # the lock file's few bytes
            return write(descriptor, data, offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", no_space)
    with pytest.raises(CapacityError, match=r"disk full.*what was there is unchanged"):
        train(replace(params, seed=1), tmp_path / "run")
    assert model_bytes(model) == before
    monkeypatch.undo()
    train(replace(params, seed=1), tmp_path / "run")
    assert model_bytes(model) != before


@pytest.fixture
def ctrl_c_heard() -> Iterator[None]:
    """A shell that starts pytest in the background makes it deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_heard")
def test_ctrl_c_stops_kernels_that_are_at_work(tmp_path, monkeypatch):
    """One flat level, thousands of sweeps to go: without the signal it would take minutes."""
    X, Y, _ = corpus(rows=60_000, labels=32)
    params = RankerParams(cost_positive=1e4)
    monkeypatch.setattr(solver, "EPSILON", 1e-4)
    monkeypatch.setattr(solver, "MAX_SWEEPS", 1_000_000)
    ctrl_c = [threading.main_thread().ident, signal.SIGINT]
    timer = threading.Timer(1.5, signal.pthread_kill, ctrl_c)
    train_ranker(*corpus(), RankerParams(), 0)  # compiled before the clock runs
    started = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        train_ranker(X, Y, LabelTree.flat(32), params, 0, num_threads=2, folder=tmp_path / "ranker")
    assert time.monotonic() - started < 15
    assert not list(tmp_path.rglob("*.npy"))
