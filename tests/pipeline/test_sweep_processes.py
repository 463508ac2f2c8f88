"""A sweep of runs of several processes: a folder for each run, and none for a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.pipeline import sweep_run
from tests.small_corpora import make_rows, write_rows

SETTINGS = ("name=mine", "num_threads=1", "dataset=files", "encoder=tiny", "trainer=ddp_sim",
            "tree.max_leaf_size=4", "matcher.steps=4", "always_deep=true")  # fmt: skip


@pytest.mark.ddp
@pytest.mark.parametrize("seeds", [[3], pytest.param([3, 4], marks=pytest.mark.slow)])
def test_a_sweep_of_two_processes_a_run_leaves_one_whole_folder_a_run(tmp_path, seeds):
    trn = write_rows(tmp_path / "trn.jsonl", make_rows(60, seed=0))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "XRT_NUM_THREADS": "1"}
    swept = "seed=" + ",".join(map(str, seeds))
    argv = [sys.executable, sweep_run.__file__, "train", "-m", *SETTINGS, f"dataset.trn={trn}"]
    done = subprocess.run([*argv, swept], cwd=tmp_path, env=env, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"mine-sweep", ".stages"}
    sweep = tmp_path / "runs" / "mine-sweep"
    runs = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    assert runs == [str(number) for number in range(len(seeds))]
    weights = set()
    for number, seed in zip(runs, seeds, strict=True):
        assert (sweep / number / "model").is_dir()
        first, second = (
            json.loads((tmp_path / f"told-{seed}-{rank}.json").read_text()) for rank in (0, 1)
        )
        assert first.pop("process") != second.pop("process")
        assert first == second
        assert first["world_size"] == 2
        assert f"seed={seed}" in first["params"]
        assert Path(first["root"]).is_relative_to(sweep / number)
        weights.add(first["weights"])
    assert len(weights) == len(seeds)
