"""A finished run on a small corpus, for all tests that look at one or go on from it."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.small_corpora import make_rows, small_params, write_rows
from xrt.pipeline import PipelineParams, train


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
        with caplog.at_level(logging.INFO, "xrt.stages"):
            train(params, folder)
        told = [record.getMessage() for record in caplog.records if record.name == "xrt.stages"]
        return {text.split(":")[0] for text in told if ": runs (" in text}

    return ran
