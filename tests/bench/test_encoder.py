"""The encoder's benchmark: xrt's side runs, and the record is made of the lines alone."""

import json

import numpy as np
import scipy.sparse as sp

from bench.own.encoder import pace
from bench.suites import encoder
from xrt.config import build, compose, pipeline_params


def line(system: str, number: int, pace: float, **more) -> dict:
    return {
        "what": "pace", "system": system, "round": number, "max_length": 64, "threads": 2,
        "date": "2026-01-02", "commit": "abc", "command": "python it.py", "load_average": 0.5,
        "machine": {"processors": 2, "processor": "P", "memory_gb": 8, "python": "3.11"},
        "versions": {"torch": "2"}, "settings": "own", "num_rows": 4096, "num_clusters": 512,
        "documents_per_second": pace, "rows_of_step": 32, "steps": 40, "warm_up": 5, "peak_gb": 1.0,
        **more,
    }  # fmt: skip


def test_ratios_are_taken_within_a_round():
    lines = [line("pecos", 1, 10.0), line("xrt", 1, 50.0), line("xrt", 2, 90.0),
             line("pecos", 2, 30.0), line("pecos", 3, 10.0), line("xrt", 3, 80.0)]  # fmt: skip
    told = encoder.render(lines)
    assert "| 64 | xrt | 32 | 80 (50 to 90) | 5 (3 to 8) | 1 |" in told
    assert "| 64 | pecos | 32 | 10 (10 to 30) | 1 (1 to 1) | 1 |" in told
    assert "first 5 steps are not" in told
    assert "## Failed" not in told
    assert "## Whole runs" not in told


def test_a_failed_run_is_told_and_the_others_stand():
    failed = line("pecos", 1, 0.0, error="exit status 1")
    told = encoder.render([failed, line("xrt", 1, 50.0)])
    assert "- pace, 64 tokens, round 1, pecos: exit status 1" in told
    assert "| 64 | xrt | 32 | 50 | - | 1 |" in told
    assert "exit status 1" in encoder.render([failed])


def test_whole_runs_have_their_figures():
    whole = line("pecos", 1, 0.0, what="full", train_seconds=4000.4, predict_seconds=111.0)
    whole |= {"P@1": 0.489, "P@3": 0.3, "P@5": 0.2, "R@10": 0.454}
    whole |= {"PSP@1": 0.2, "PSP@3": 0.22, "PSP@5": 0.25}
    ours = whole | {"system": "xrt", "train_seconds": 1000.1}
    row = "| 64 | {} | 111 | 48.90 | 30.00 | 20.00 | 45.40 | 20.00 | 22.00 | 25.00 | 1 |"
    told = encoder.render([whole, ours, ours | {"round": 2}])
    assert row.format("pecos | 4000 | 1.00") in told
    assert row.format("xrt | 1000 | 0.25") in told
    assert row.format("xrt | 1000 | -") in told  # no run of PECOS in that round
    assert "## Steps" not in told


def test_the_command_line_shows_no_path_of_this_machine(tmp_path):
    args = [
        "--peers", "pecos_transformer", "--peer-python", str(tmp_path / "python"), "--data",
        str(tmp_path), "--encoder", "e",
    ]  # fmt: skip
    shown = encoder.command_of(encoder.parse_arguments(args))
    assert str(tmp_path) not in shown
    assert "--peer-python PEERS/bin/python --data DATA" in shown
    assert "--max-length 128 64" in shown
    shown = encoder.command_of(encoder.parse_arguments([*args, "--full"]))
    assert "--systems pecos xrt xrt-upper --max-length 64 --full --full-steps 300" in shown
    assert "--frozen-layers" not in shown  # the preset's


def test_whole_runs_are_of_presets_that_freeze_as_many_layers_as_their_names_say():
    presets = encoder.PRESETS
    frozen = {
        system: build(pipeline_params(), compose([f"experiment={preset}"])).encoder.frozen_layers
        for system, preset in presets.items()
    }
    assert frozen == {"xrt": 0, "xrt-upper": 4}


def test_a_system_of_the_peer_stands_for_the_peer():
    args = encoder.parse_arguments(["--systems", "pecos", "xrt", "--encoder", "e"])
    assert args.peers == ["pecos_transformer"]
    args = encoder.parse_arguments(["--encoder", "e"])
    assert args.peers == []
    assert args.systems == ["xrt", "xrt-32", "xrt-upper"]


def test_the_matcher_is_timed_from_step_to_step(tmp_path):
    from xrt.encoder.resolve import resolve_encoder

    texts = [f"lamp {n} on a table of wood {n % 7}" for n in range(100)]
    folder = resolve_encoder("tiny-random", work_folder=tmp_path, texts=texts)
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    labels = sp.csr_matrix((np.ones(100), (np.arange(100), np.arange(100) % 7)))
    sp.save_npz(tmp_path / "Y_clusters.npz", labels)
    settings = {
        "encoder": str(folder), "max_length": 16, "threads": 1, "batch_rows": 8, "steps": 12,
        "warm_up": 4, "frozen_layers": 1,
    }  # fmt: skip
    figures = pace(tmp_path, settings)
    assert "1 lower layers as they were" in figures["settings"]
    assert figures["documents_per_second"] > 0
    assert figures["steps"] == 8  # of twelve, less four to warm up
    assert 7 < figures["rows_of_step"] <= 8
    assert figures["step_ms"] > 0
