"""Models in other processes: forked, spawned, pickled, copied; and how many threads they take."""

import contextlib
import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from tests.deep_models import deep_model
from xrt import processors, threads
from xrt.errors import ConfigError
from xrt.estimators import XRLinear, XRTransformer
from xrt.model import XrtModel
from xrt.predict import Predictor
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.faiss_index import faiss_threads
from xrt.threads import default_num_threads, openmp_threads, torch_threads

Tiny = tuple[list[str], sp.csr_array, tuple[str, ...]]


@pytest.fixture(scope="module")
def deep(tiny_corpus: Tiny, tmp_path_factory: pytest.TempPathFactory) -> XrtModel:
    return deep_model(tiny_corpus, tmp_path_factory.mktemp("tiny") / "encoder")


@pytest.fixture
def many_threads(monkeypatch) -> None:
    """The libraries' own threads are there before anything forks, whatever the machine."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(4)
    faiss.omp_set_num_threads(4)
    torch.ones(2000, 2000) @ torch.ones(2000, 2000)
    yield
    torch.set_num_threads(before[0])
    faiss.omp_set_num_threads(before[1])


def in_a_fork(answer: Callable[[], Any]) -> Any:
    """What a forked child answers; fails after a minute without one."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(answer()), daemon=True)
    child.start()
    try:
        assert receiver.poll(60), "the forked child gives no answer"
        return receiver.recv()
    finally:
        child.kill()
        child.join()


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
among_threads = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@forks
@among_threads
@pytest.mark.parametrize("num_threads", [None, 1, 4])
def test_a_forked_child_answers_as_its_parent(deep, tiny_corpus, many_threads, num_threads):
    texts = tiny_corpus[0]
    predictor = Predictor(deep, num_threads=num_threads)
    expected = predictor.predict(texts), predictor.predict(texts[0])
    assert in_a_fork(lambda: (predictor.predict(texts), predictor.predict(texts[0]))) == expected

    def from_a_thread() -> Any:
        answers: list = []
        worker = threading.Thread(target=lambda: answers.append(predictor.predict(texts)))
        worker.start()
        worker.join()
        return answers

    assert in_a_fork(from_a_thread) == [expected[0]]
    # and a child of the child
    assert in_a_fork(lambda: in_a_thread_free_fork(lambda: predictor.predict(texts))) == expected[0]


def in_a_thread_free_fork(answer: Callable[[], Any]) -> Any:
    """A fork of a process that may have no children of its own by multiprocessing."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(answer()))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return pickle.loads(pipe.read())


@forks
@among_threads
@pytest.mark.parametrize("num_threads", [None, 4])
def test_embedding_neighbours_answer_in_a_forked_child(rng, many_threads, num_threads):
    embeddings = rng.normal(size=(3000, 32)).astype(np.float32)
    memory = DenseNeighbours(embeddings, np.eye(12)[rng.integers(0, 12, 3000)])
    queries = embeddings[:300]
    expected = memory.vote(queries, 5, num_threads).toarray()
    found = in_a_fork(lambda: memory.vote(queries, 5, num_threads).toarray())
    np.testing.assert_array_equal(found, expected)


@forks
@among_threads
def test_a_forked_child_trains(tiny_corpus: Tiny, many_threads):
    texts, Y_NL, _ = tiny_corpus

    def train() -> np.ndarray:
        estimator = XRLinear(max_leaf_size=3, fused=True, num_threads=2)
        return estimator.fit(texts * 3, sp.vstack([Y_NL] * 3)).predict(texts).toarray()

    np.testing.assert_array_equal(in_a_fork(train), train())


def copies_of(kept: Any, folder: Path) -> dict[str, Any]:
    joblib.dump(kept, folder / "kept.joblib")
    return {
        "pickle": pickle.loads(pickle.dumps(kept)),
        "deepcopy": copy.deepcopy(kept),
        "copy": copy.copy(kept),
        "joblib": joblib.load(folder / "kept.joblib"),
    }


def test_a_deep_predictor_is_copied(deep: XrtModel, tiny_corpus: Tiny, tmp_path: Path):
    texts = tiny_corpus[0]
    predictor = Predictor(deep, num_threads=1)
    expected = predictor.predict(texts), predictor.explain(texts[0])
    for how, twin in copies_of(predictor, tmp_path).items():
        assert twin.predict(texts) == expected[0], how
        assert twin.explain(texts[0]) == expected[1], how
    assert deep.encoder is not None
    assert "readers" in vars(deep.encoder)  # the one that was copied goes on as before


def test_estimators_that_have_predicted_are_copied(deep, tiny_corpus, tmp_path):
    texts, Y_NL, _ = tiny_corpus
    transformer, linear = XRTransformer(num_threads=1), XRLinear(max_leaf_size=3, num_threads=1)
    transformer.model_ = deep
    linear.fit(texts, Y_NL)
    for estimator in (transformer, linear):
        expected = estimator.predict(texts).toarray()
        for how, twin in copies_of(estimator, tmp_path).items():
            np.testing.assert_array_equal(twin.predict(texts).toarray(), expected, err_msg=how)


def test_a_loaded_predictor_is_copied(deep: XrtModel, tiny_corpus: Tiny, tmp_path: Path):
    transformer = XRTransformer(num_threads=1)
    transformer._keep(deep, np.ones(len(deep.labels), np.int64), len(tiny_corpus[0]))
    transformer.save(tmp_path / "m")
    predictor = Predictor.load(tmp_path / "m", num_threads=1)
    expected = predictor.predict(tiny_corpus[0])
    for how, twin in copies_of(predictor, tmp_path).items():
        assert twin.predict(tiny_corpus[0]) == expected, how


@pytest.mark.slow
def test_a_spawned_process_answers_as_its_parent(deep, tiny_corpus, tmp_path):
    predictor = Predictor(deep, num_threads=1)
    (tmp_path / "p").write_bytes(pickle.dumps((predictor, tiny_corpus[0])))
    code = (
        "import pickle, sys; p, texts = pickle.load(open(sys.argv[1], 'rb')); "
        "print(p.predict(texts))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "p")], capture_output=True, text=True
    )
    assert run.stdout.strip() == str(predictor.predict(tiny_corpus[0])), run.stderr[-500:]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 3),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "5,1"}, 5),
        ({"OMP_NUM_THREADS": "2", "XRT_NUM_THREADS": "4"}, 4),
        ({"XRT_NUM_THREADS": "0", "OMP_NUM_THREADS": "2"}, 2),
        ({"XRT_NUM_THREADS": "many"}, 3),
        ({"XRT_NUM_THREADS": "-2"}, 3),
        ({"XRT_NUM_THREADS": "²"}, 3),
        ({"XRT_NUM_THREADS": ""}, 3),
        ({"XRT_NUM_THREADS": "9" * 30}, threads.MAX_THREADS),
    ],
)
def test_one_rule_of_threads(monkeypatch, environment, expected):
    """Three processors are left of eight by the quota of a container, or by the affinity."""
    for name in ("XRT_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for quota, affinity in ((3, range(8)), (8, range(3))):
        monkeypatch.setattr(processors, "cpu_quota", lambda quota=quota: quota)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, a=affinity: set(a), raising=False)
        assert default_num_threads() == openmp_threads() == openmp_threads(0) == expected


def test_libraries_take_the_threads_that_were_asked(deep, tiny_corpus, monkeypatch):
    counts: dict[str, set[int]] = {"faiss": set(), "torch": set()}
    assert deep.encoder is not None
    neighbours, reader = deep.source(DenseNeighbours), deep.encoder.readers[0]

    class Index:
        def search(self, queries: np.ndarray, k: int) -> Any:
            counts["faiss"].add(faiss.omp_get_max_threads())
            return None, np.zeros((len(queries), k), np.int64)

    def read(texts: list[str], progress: Any) -> np.ndarray:
        counts["torch"].add(torch.get_num_threads())
        return np.ones((len(texts), 32), np.float32)

    monkeypatch.setattr(neighbours.index, "_made", Index())
    monkeypatch.setattr(reader, "read", read)
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    for num_threads in (1, 3):
        Predictor(deep, num_threads=num_threads).predict(tiny_corpus[0][:3])
        # blocks of queries are searched on threads of their own, on each of them FAISS has one
        assert counts == {"faiss": {1}, "torch": {num_threads}}
        assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == before
        counts["faiss"].clear(), counts["torch"].clear()
    monkeypatch.setenv("XRT_NUM_THREADS", "1")
    Predictor(deep).predict(tiny_corpus[0][:3])
    assert counts == {"faiss": {1}, "torch": {1}}


def test_threads_of_libraries_are_given_back_after_a_fault():
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    with contextlib.suppress(KeyError), torch_threads(before[0] + 1), faiss_threads(before[1] + 1):
        assert torch.get_num_threads() == before[0] + 1
        raise KeyError
    assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == before


@pytest.mark.parametrize("num_threads", [-1, 1.5, "2", True, [2]])
def test_numbers_of_threads_that_cannot_be(deep: XrtModel, tiny_corpus: Tiny, num_threads: Any):
    linear = XRLinear(num_threads=num_threads)
    linear.model_ = deep
    for ask in (
        lambda: Predictor(deep, num_threads=num_threads),
        lambda: Predictor.load("nowhere", num_threads=num_threads),
        lambda: linear.fit(*tiny_corpus[:2]),
        lambda: linear.predict(["red"]),
    ):
        with pytest.raises(ConfigError, match="num_threads = "):
            ask()
