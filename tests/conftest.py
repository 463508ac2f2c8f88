"""Small corpora with known answers, a finished run for all tests that look at one or go on from it,
and a guard against the network.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tests.small_corpora import make_rows, small_params, write_rows
from xrt.pipeline import PipelineParams, train

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

COLOURS = ("red", "green", "blue", "black")
THINGS = ("shirt", "mug", "lamp", "chair")
SIZES = ("small", "large")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def tiny_corpus() -> tuple[list[str], sp.csr_array, tuple[str, ...]]:
    """Texts, Y (32, 10) and label names: a text has the labels whose words it holds."""
    names = COLOURS + THINGS + SIZES
    texts = [
        f"a {size} {colour} {thing}" for colour in COLOURS for thing in THINGS for size in SIZES
    ]
    Y_NL = np.array([[name in text.split() for name in names] for text in texts], np.float32)
    return texts, sp.csr_array(Y_NL), names


@pytest.fixture(scope="session")
def checkerboard() -> tuple[sp.csr_array, sp.csr_array]:
    """X (64, 16) and Y (64, 8): row n has features 2c and 2c+1 and label c, with c = n mod 8.

    Every label is linearly separable, so a ranker that works ranks the true label first everywhere.
    """
    rows = np.arange(64)
    labels = rows % 8
    X_NF = np.zeros((64, 16), np.float32)
    X_NF[rows, 2 * labels] = X_NF[rows, 2 * labels + 1] = np.sqrt(0.5)
    Y_NL = np.zeros((64, 8), np.float32)
    Y_NL[rows, labels] = 1.0
    return sp.csr_array(X_NF), sp.csr_array(Y_NL)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums of the encoder, and so its bytes, are the same for the same number of threads only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRT_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`trn.jsonl`, `tst.jsonl`, and another test file, `other.jsonl`."""
    folder = tmp_path_factory.mktemp("data")
    for name, num_rows, seed in (("trn", 140, 0), ("tst", 30, 1), ("other", 50, 2)):
        write_rows(folder / f"{name}.jsonl", make_rows(num_rows, seed))
    return folder


@pytest.fixture(scope="session")
def params(data: Path) -> PipelineParams:
    """A deep model in seconds."""
    return small_params(data / "trn.jsonl", data / "tst.jsonl")


@pytest.fixture(scope="session")
def run_folder(params: PipelineParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on one thread; tests that change something work on a copy."""
    folder = tmp_path_factory.mktemp("run") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRT_NUM_THREADS", "1")
        train(params, folder)
    return folder


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(run_folder, tmp_path / "copy"))


@pytest.fixture
def stages_that_run(
    caplog: pytest.LogCaptureFixture,
) -> Callable[[PipelineParams, Path], set[str]]:
    """Trains, and tells which stages were not taken from what was there."""

    def ran(params: PipelineParams, folder: Path) -> set[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "xrt.storage.stages"):
            train(params, folder)
        of_stages = (record for record in caplog.records if record.name == "xrt.storage.stages")
        messages = [record.getMessage() for record in of_stages]
        return {text.split(":")[0] for text in messages if ": runs (" in text}

    return ran


@pytest.fixture(autouse=True)
def log_files_are_closed() -> Iterator[None]:
    """A run in this process leaves hydra's log file open; it would be told of in a later test."""
    yield
    for handler in logging.root.handlers[:]:
        if type(handler) is logging.FileHandler:
            logging.root.removeHandler(handler)
            handler.close()
