"""`xrt sweep`: values that are searched, trials side by side, stopped, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import ROOT
from tests.cli import sweep_run
from tests.processes import ends_with_the_test
from tests.small_corpora import make_rows, write_rows
from xrt.cli import main, trials
from xrt.cli.space import Choice, Interval, split_space
from xrt.cli.trials import is_hopeless
from xrt.errors import ConfigError

optuna = pytest.importorskip("optuna")


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Trials that take no time, in the folder of the test."""
    monkeypatch.setattr(trials, "TRAIN", sweep_run.STAND_IN)
    monkeypatch.chdir(tmp_path)


def studied(folder: Path) -> list:
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
    )
    return optuna.load_study(study_name=folder.name, storage=storage).trials


def test_values_are_written_as_hydras_sweepers_take_them():
    fixed, space = split_space([
        "experiment=quickstart", "encoder=minilm,tiny", "search.beam_size=range(2,9,3)",
        "matcher.encoder_learning_rate=tag(log,interval(1e-5,1e-3))",
        "ranker.cost_positive=interval(0.5,2)",
        "num_trees=interval(1,4)", "seed=choice(1,2)", "dataset.text_columns=[a,b]",
    ])  # fmt: skip
    assert fixed == ["experiment=quickstart", "dataset.text_columns=[a,b]"]
    assert space == {
        "encoder": Choice(("minilm", "tiny")),
        "search.beam_size": Choice(("2", "5", "8")),
        "matcher.encoder_learning_rate": Interval(1e-5, 1e-3, False, True),
        "ranker.cost_positive": Interval(0.5, 2, False, False),
        "num_trees": Interval(1, 4, True, False),
        "seed": Choice(("1", "2")),
    }


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("num_trees", "not a setting"),
        ("num_trees=interval(4,1)", "LOW must be below HIGH"),
        ("num_trees=interval(a,b)", "write interval"),
        ("num_trees=tag(log,interval(0,1))", "above 0 for a logarithm"),
        ("num_trees=1,1", "each value once"),
        ("num_trees=range(1.5)", "whole numbers"),
    ],
)
def test_values_that_cannot_be_read_are_refused(word, message):
    with pytest.raises(ConfigError, match=message):
        split_space([word])


def test_a_grid_is_gone_through_by_two_workers_and_the_best_is_told(tmp_path, stand_ins, capsys):
    words = ["name=grid", "search.beam_size=5,7,13,20", "--sampler", "grid", "--trials", "9"]
    assert main(["sweep", *words, "--workers", "2"]) == 0
    output = capsys.readouterr()
    assert "failed (error: 13 brings bad luck)" in output.err
    assert "best:    search.beam_size=7" in output.out
    folder = tmp_path / "runs" / "grid-sweep"
    done = [trial for trial in studied(folder) if trial.state.name == "COMPLETE"]
    assert sorted(trial.params["search.beam_size"] for trial in done) == ["20", "5", "7"]
    assert max(trial.value for trial in done) == 1.0
    table = output.out.split("\n\n")[1].splitlines()
    assert "beam_size" in table[0]
    assert [line.split()[0] for line in table[1:] if line.split()[0].isdigit()] == [
        str(trial.number) for trial in sorted(done, key=lambda one: -one.value)
    ]


def test_a_trial_below_the_median_is_stopped(tmp_path, stand_ins, capsys):
    values = ["search.beam_size=5,6,7,8,9,-1", "--sampler", "grid", "--trials", "9", "--prune"]
    started = time.monotonic()
    assert main(["sweep", "name=pruned", *values]) == 0
    found = studied(tmp_path / "runs" / "pruned-sweep")
    states = {trial.params["search.beam_size"]: trial.state.name for trial in found}
    assert states.pop("-1") == "PRUNED"
    assert set(states.values()) == {"COMPLETE"}
    assert time.monotonic() - started < 55  # the trial itself would have taken a minute
    assert "stopped, below the median" in capsys.readouterr().out


def test_the_median_counts_by_the_same_validation():
    others = [[0.1, 0.4, 0.9], [0.2, 0.5, 0.9], [0.1, 0.6, 0.9], [0.2, 0.5, 0.9]]
    assert is_hopeless([0.1, 0.3], others)
    assert not is_hopeless([0.1, 0.5], others)
    assert not is_hopeless([0.1], others)
    assert not is_hopeless([0.1, 0.3], others[:3])
    assert not is_hopeless([0.1, 0.3, 0.3], others)  # they were at their end by then


def test_a_killed_sweep_goes_on_and_no_trial_is_lost_or_made_twice(tmp_path):
    argv = [sys.executable, sweep_run.__file__, "sweep", "name=killed", "seed=2",
            "search.beam_size=interval(1,12)", "--sampler", "random", "--workers", "2",
            "--trials", "5"]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder = tmp_path / "runs" / "killed-sweep"
    with open(tmp_path / "out", "wb") as out:
        first = subprocess.Popen(
            argv, cwd=tmp_path, env=env, stdout=out, stderr=out, start_new_session=True
        )
    with ends_with_the_test(first):
        deadline = time.monotonic() + 120
        while not (folder / "1" / "starts").is_file():
            assert time.monotonic() < deadline, (tmp_path / "out").read_text()
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with open(folder / "journal.log", "a") as journal:
        journal.write('{"cut off')
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = studied(folder)
    assert [trial.number for trial in found] == list(range(5))
    assert {trial.state.name for trial in found} == {"COMPLETE"}
    for trial in found:
        outcome = json.loads((folder / str(trial.number) / "outcome.json").read_text())
        assert outcome["settings"]["search"]["beam_size"] == trial.params["search.beam_size"]


def test_sigterm_ends_a_sweep_and_its_trials(tmp_path):
    argv = [sys.executable, sweep_run.__file__, "sweep", "name=ended", "seed=50",
            "search.beam_size=1,2,3"]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(argv, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)  # fmt: skip
    with ends_with_the_test(process):
        deadline = time.monotonic() + 120
        while not (tmp_path / "runs/ended-sweep/0/starts").is_file():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 143
        assert process.stderr is not None
        assert "the same command goes on" in process.stderr.read()
        process.stderr.close()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search.beam_size=5"], "nothing to search"),
        (["search.beam_sze=5,6"], "no such setting"),
        (["search.beam_size=0,5"], "at least 1 is needed"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_in_one_line(words, message, stand_ins, capsys):
    assert main(["sweep", *words]) == 2
    assert message in capsys.readouterr().err


def test_other_values_in_the_same_folder_are_refused(stand_ins, capsys):
    assert main(["sweep", "name=a", "search.beam_size=5,7", "--trials", "1"]) == 0
    assert main(["sweep", "name=a", "search.beam_size=5,8", "--trials", "2"]) == 2
    assert "give this one a name of its own" in capsys.readouterr().err


@pytest.mark.slow
def test_real_trials_share_what_does_not_change(tmp_path, monkeypatch, capsys):
    trn = write_rows(tmp_path / "trn.jsonl", make_rows(60, seed=0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    words = ["name=real", "dataset=files", f"dataset.trn={trn}", "encoder=tiny", "linear=default",
             "tree.max_leaf_size=4", "matcher.steps=4", "search.beam_size=2,5"]  # fmt: skip
    assert main(["sweep", *words, "--sampler", "grid", "--trials", "3"]) == 0
    log = (tmp_path / "runs" / "real-sweep" / "1.log").read_text()
    assert "matcher: unchanged, kept" in log
    assert "best:    search.beam_size=" in capsys.readouterr().out
