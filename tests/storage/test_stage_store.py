"""Runs that share finished stages: made once, whole, and independent of one another afterwards."""

import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from xrt.storage.stage_store import StageStore
from xrt.storage.stages import read_stage, run_stage


class Maker:
    """Writes a file, and counts."""

    def __init__(self, text: str = "made") -> None:
        self.text = text
        self.made = 0

    def __call__(self, folder: Path) -> None:
        self.made += 1
        (folder / "inner").mkdir()
        (folder / "inner" / "output.txt").write_text(self.text)


def run(folder: Path, maker, store: StageStore | None, value: int = 1) -> str:
    result = run_stage(folder, "matcher", 1, {"value": value}, {}, maker, store=store)
    return (result.folder / "inner" / "output.txt").read_text()


def test_the_second_run_takes_what_the_first_has_made(tmp_path, caplog):
    store, maker = StageStore(tmp_path / "runs" / ".stages"), Maker()
    first, second = tmp_path / "runs" / "0", tmp_path / "runs" / "1"
    assert run(first, maker, store) == "made"
    with caplog.at_level(logging.INFO):
        assert run(second, maker, store) == "made"
    assert maker.made == 1
    assert "matcher: unchanged, kept (taken from" in caplog.text
    assert read_stage(first, "matcher").output_hash == read_stage(second, "matcher").output_hash
    files = [run / "stages/matcher/inner/output.txt" for run in (first, second)]
    assert files[0].stat().st_ino == files[1].stat().st_ino  # no second copy
    assert run(tmp_path / "runs" / "2", maker, store, value=2) == "made"
    assert maker.made == 2
    assert run(tmp_path / "runs" / "3", maker, None) == "made"
    assert maker.made == 3


def test_a_damaged_stage_of_the_store_is_told_and_made_again(tmp_path, caplog):
    store, maker = StageStore(tmp_path / "store"), Maker()
    run(tmp_path / "0", maker, store)
    place = next(path for path in (tmp_path / "store").iterdir() if path.is_dir())
    output = place / "inner" / "output.txt"
    output.unlink()  # its link in the run folder stays
    output.write_text("other")
    assert run(tmp_path / "1", maker, store) == "made"
    assert maker.made == 2
    assert "unusable" in caplog.text
    assert output.read_text() == "made"


def test_without_hard_links_files_are_copied(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    store, maker = StageStore(tmp_path / "store"), Maker()
    run(tmp_path / "0", maker, store)
    assert run(tmp_path / "1", maker, store) == "made"
    assert maker.made == 1


def _make_slowly(folder: Path, store: StageStore, told: Path) -> None:
    def make(target: Path) -> None:
        with open(told, "a") as file:
            file.write("x")
        time.sleep(1.0)
        Maker()(target)

    run(folder, make, store)


@pytest.mark.ddp
def test_two_runs_at_once_make_a_stage_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    store, told = StageStore(tmp_path / "store"), tmp_path / "told"
    runs = [tmp_path / "0", tmp_path / "1"]
    processes = [context.Process(target=_make_slowly, args=(run, store, told)) for run in runs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert told.read_text() == "x"
    for folder in runs:
        assert (folder / "stages/matcher/inner/output.txt").read_text() == "made"
