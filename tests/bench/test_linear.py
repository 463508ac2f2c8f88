"""Statistics, record and growth plot of the linear benchmark."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.record import medians, read_lines
from bench.suites import growth
from bench.suites import linear as record


def run_of(system, number, seconds, row_set="synthetic-1k", **figures):
    return {
        "row_set": row_set, "round": number, "system": system, "version": "1", "settings": "own",
        "train_seconds": seconds, "train_cpu_seconds": seconds, "predict_seconds": seconds / 10,
        "predict_rows_per_second": 1e4 / seconds, "single_row_p50_ms": seconds,
        "single_row_p99_ms": seconds, "peak_memory_mb": 100.0, "memory_rise_mb": 50.0,
        "model_mb": 1.0, "load_ms": seconds, "threads": 2, "commit": "abc", "date": "2026-01-01",
        "command": "python linear.py", "load_average": 0.5, "num_train": 10, "num_test": 5,
        "num_features": 7, "num_dense": 0, "nonzeros": 40, "num_labels": 1000,
        "machine": {"processor": "P", "processors": 2, "memory_gb": 8, "python": "3.11"},
        "P@1": 0.5, "P@3": 0.4, "P@5": 0.3, "R@10": 0.2, "PSP@5": 0.1, **figures,
    }  # fmt: skip


def failed_run(system, number):
    line = run_of(system, number, 1.0)
    return {key: line[key] for key in line if not key.startswith(("train", "P@"))} | {
        "error": "ended by signal 11"
    }


@pytest.fixture
def lines():
    """The machine is twice as slow in round 2: ratios do not care, medians do."""
    own = [run_of("xrt-fast", number, seconds) for number, seconds in ((1, 1), (2, 2), (3, 1))]
    peer = [run_of("pecos", number, seconds) for number, seconds in ((1, 3), (2, 4), (3, 5))]
    return own + peer


def test_ratios_are_taken_within_rounds(lines):
    runs = record.by_system(lines, "synthetic-1k")
    assert record.ratios(runs["pecos"], runs["xrt-fast"], "train_seconds") == [3, 2, 5]


def test_ratios_leave_out_rounds_that_one_did_not_finish(lines):
    lines[4] = failed_run("pecos", 2)
    runs = record.by_system(lines, "synthetic-1k")
    assert record.ratios(runs["pecos"], runs["xrt-fast"], "train_seconds") == [3, 5]


def test_medians_are_of_numbers(lines):
    told = medians(lines[3:])
    assert told["train_seconds"] == 4
    assert told["settings"] == "own"


def test_record_has_medians_and_median_of_ratios(lines):
    text = record.render(lines)
    assert "| pecos | 4 | - | 4 |" in text
    assert "| xrt-fast beside pecos | 3 (2 to 5) | 3 (2 to 5) |" in text
    assert "## Failed" not in text


def test_record_names_what_failed_and_keeps_the_others(lines):
    text = record.render([*lines, failed_run("bonsai", 1)])
    assert "- synthetic-1k, round 1, bonsai: ended by signal 11" in text
    assert "| pecos | 4 |" in text
    assert "beside bonsai" not in text


def test_record_of_failures_alone():
    assert "ended by signal 11" in record.render([failed_run("bonsai", 1)])


def test_lines_survive_the_file(lines, tmp_path: Path):
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert record.render(read_lines(path)) == record.render(lines)


def test_fits_find_the_law():
    x = np.array([1e4, 1e5, 1e6])
    straight = growth.fit_line(list(zip(x, 0.2 + 0.1 * np.log10(x), strict=True)), power=False)
    assert straight == pytest.approx((0.2, 0.1, 1.0))
    law = growth.fit_line(list(zip(x, 3 * x**1.1, strict=True)), power=True)
    assert law == pytest.approx((np.log10(3), 1.1, 1.0))


def test_growth_takes_medians_of_synthetic_sets_only(lines):
    other = run_of("pecos", 1, 50, row_set="tibkat", num_labels=24_000)
    found = growth.growth_points([*lines, other, failed_run("bonsai", 1)], growth.PANELS[0])
    assert found == {"xrt-fast": [(1000, 1)], "pecos": [(1000, 4)]}


def test_growth_is_drawn(lines, tmp_path: Path):
    larger = [
        run_of(system, 1, 9, row_set="synthetic-10k", num_labels=10_000, nonzeros=400)
        for system in ("xrt-fast", "pecos")
    ]
    notes = growth.draw_growth([*lines, *larger], tmp_path / "growth.svg")
    assert "<svg" in (tmp_path / "growth.svg").read_text()
    assert "![Growth with the number of labels](growth.svg)" in notes
    assert "| pecos | +5 per decade |" in notes[-1]
    assert growth.draw_growth(lines, tmp_path / "none.svg") == []
