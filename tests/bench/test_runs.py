"""Row sets and child processes of the linear benchmark."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from bench import rows
from bench.record import shown_command
from bench.suites import linear


def test_names_of_row_sets():
    for name in ("tibkat", "hybrid", "synthetic-2k", "synthetic-1m"):
        assert rows.row_set_name(name) == name
    for name in ("synthetic", "synthetic-2000", "../tibkat"):
        with pytest.raises(ValueError, match=r".*"):
            rows.row_set_name(name)


def test_row_sets_are_kept_and_made_anew_when_settings_change(tmp_path: Path):
    rows.make_rows("synthetic-1k", tmp_path, None, max_train_rows=50)
    first = (tmp_path / "X_trn.npz").stat().st_mtime_ns
    (tmp_path / "train.txt").write_text("of these rows")
    rows.make_rows("synthetic-1k", tmp_path, None, max_train_rows=50)
    assert (tmp_path / "X_trn.npz").stat().st_mtime_ns == first
    rows.make_rows("synthetic-1k", tmp_path, None, max_train_rows=60, max_test_rows=30)
    assert sp.load_npz(tmp_path / "X_trn.npz").shape[0] == 60
    assert sp.load_npz(tmp_path / "Y_tst.npz").shape[0] == 30
    assert not (tmp_path / "train.txt").exists()


def test_projections_are_unit_rows_that_keep_what_is_near():
    X = sp.csr_matrix(np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 0, 1], [0, 0, 0]], np.float32))
    E = rows.unit_rows(rows.projected(X, 384, seed=0))
    np.testing.assert_allclose(np.linalg.norm(E, axis=1), [1, 1, 1, 0], atol=1e-6)
    assert E[0] @ E[1] > 0.9
    assert abs(E[0] @ E[2]) < 0.3


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("exit 3", "exit status 3"),
        ("kill -SEGV $$", "ended by signal 11"),
        ("kill -KILL $$", "want of memory"),
        ("exec sleep 9", "not done after 0.5 s"),
        (None, "No such file"),
    ],
)
def test_a_system_that_fails_is_an_error_in_words(tmp_path: Path, program, told):
    python = tmp_path / "python"
    if program is not None:
        python.write_text(f"#!/bin/sh\n{program}\n")
        python.chmod(0o755)
    args = argparse.Namespace(threads=1, timeout=0.5)
    line = linear.run_system("pecos", str(python), tmp_path, tmp_path, None, args)
    assert told in line["error"]
    assert set(line) == {"error"}


def test_the_command_shows_no_path_of_the_machine(tmp_path: Path):
    home = str(tmp_path)
    args = linear.parse_arguments([
        "--peers", "libpecos", "napkinxc", "--peer-python", f"{home}/python",
        f"napkinxc={home}/other", "--data", home, "--embeddings", f"{home}/e.npy", "--keep-rows",
        home, "--rows", "hybrid", "--systems", "pecos",
    ])  # fmt: skip
    shown = shown_command("linear", args, linear.SHOWN)
    assert home not in shown
    assert shown.startswith("python -m bench linear --peers libpecos napkinxc --peer-python")
    interpreters = "--peer-python PEERS/bin/python napkinxc=NAPKINXC/bin/python"
    assert f"{interpreters} --data DATA --embeddings e.npy --rows hybrid" in shown


def test_systems_are_those_of_the_peers():
    assert linear.parse_arguments([]).systems == [*linear.OWN]
    args = linear.parse_arguments(["--peers", "omikuji"])
    assert args.systems == [*linear.OWN, "parabel", "bonsai"]
    assert linear.parse_arguments(["--systems", "xrt-fast", "bonsai"]).peers == ["omikuji"]
