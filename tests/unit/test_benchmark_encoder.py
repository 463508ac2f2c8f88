"""The encoder's benchmark: xrt's side runs, and the record is made of the lines alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.sparse as sp

from tests.unit.test_benchmark_synthetic import load_script
from xrt.encoder.resolve import resolve_encoder

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"
sys.path.insert(0, str(SCRIPTS))  # it has siblings of its own
benchmark = load_script("encoder")


def line(system: str, number: int, pace: float, **more) -> dict:
    return {
        "system": system, "what": "pace", "round": number, "max_length": 64, "threads": 2,
        "date": "2026-01-02", "commit": "abc", "command": "python it.py", "peak_gb": 1.0,
        "machine": {"processors": 2, "processor": "P"}, "versions": {"torch": "2"},
        "documents_per_second": pace, "rows_of_step": 32, **more,
    }  # fmt: skip


def test_ratios_are_taken_within_a_round():
    lines = [line("pecos", 1, 10.0), line("xrt", 1, 50.0), line("xrt", 2, 90.0),
             line("pecos", 2, 30.0), line("pecos", 3, 10.0), line("xrt", 3, 80.0)]  # fmt: skip
    record = benchmark.render(lines)
    assert "| 64 | xrt | 32 | 80.0 (50.0, 90.0, 80.0) | 5.00 (3.00-8.00) | 1.0 |" in record
    assert "| 64 | pecos | 32 | 10.0 (10.0, 30.0, 10.0) | 1.00 (1.00-1.00) | 1.0 |" in record


def test_a_failed_run_is_left_out_and_nothing_is_said_of_nothing():
    failed = line("pecos", 1, 0.0, error="exit status 1")
    assert "pecos" not in benchmark.render([failed, line("xrt", 1, 50.0)])
    assert benchmark.render([failed]) == "Nothing ran to its end.\n"


def test_whole_runs_have_their_figures():
    whole = line("pecos", 1, 0.0, what="full", train_seconds=4000.4, predict_seconds=111.0)
    whole |= {"P@1": 0.489, "P@3": 0.3, "P@5": 0.2, "R@10": 0.454, "PSP@5": 0.25}
    row = "| pecos, 64 tokens | 4000 | 111 | 48.90 | 30.00 | 20.00 | 45.40 | 25.00 | 1.0 |"
    assert row in benchmark.render([whole])


def test_the_command_line_shows_no_path_of_this_machine(tmp_path):
    args = ["--peer-python", str(tmp_path / "python"), "--data", str(tmp_path), "--encoder", "e"]
    assert str(tmp_path) not in benchmark.shown_command(benchmark.parse_arguments(args))
    with pytest.raises(SystemExit):
        benchmark.parse_arguments(["--data", str(tmp_path), "--encoder", "e"])


def test_the_matcher_is_timed_from_step_to_step(tmp_path):
    texts = [f"lamp {n} on a table of wood {n % 7}" for n in range(100)]
    encoder = resolve_encoder("tiny-random", work_folder=tmp_path, texts=texts)
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    labels = sp.csr_matrix(([1.0] * 100, ([*range(100)], [n % 7 for n in range(100)])))
    sp.save_npz(tmp_path / "Y_clusters.npz", labels)
    asked = {
        "encoder": str(encoder), "max_length": 16, "threads": 1, "batch_rows": 8, "steps": 12,
    }  # fmt: skip
    command = [sys.executable, str(SCRIPTS / "encoder_xrt.py"), "pace"]
    subprocess.run([*command, str(tmp_path), str(tmp_path), json.dumps(asked)], check=True)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["documents_per_second"] > 0
    assert figures["steps"] == 8  # of twelve, less four to warm up
    assert 7 < figures["rows_of_step"] <= 8
