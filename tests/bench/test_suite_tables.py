"""Row-wise figures, tables and the judgement of a change in the suite."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from bench import suite_comparison, suite_record
from bench.judge import Truth
from bench.paired import METRICS, RowFigures
from bench.suites import suite
from xrt.metrics.propensity import inverse_propensities, psp_at
from xrt.metrics.ranking import judge
from xrt.sparse import as_csr

NUM_ROWS = 40


def line_of(system, name="bibtex", view="given", **figures):
    return {
        "key": f"{name}{view}{system}{figures}", "set": name, "group": "real", "view": view,
        "system": system, "seed": 0, "short": True, "threads": 2, "changes": {},
        "date": "2026-01-01", "commit": "abc", "command": "c", "load_average": 0.5,
        "machine": {"processor": "P", "processors": 2, "memory_gb": 8, "python": "3.11"},
        "version": "1", "settings": "defaults", "num_train": 100, "num_test": NUM_ROWS,
        "num_labels": 9, "train_seconds": 2.0, "predict_seconds": 0.5, "peak_memory_mb": 200.0,
        "rows_train_seconds": 3.0, "rows_test_seconds": 0.5, "run_seconds": 60.0, **figures,
    }  # fmt: skip


def rows_of(share, truth="t"):
    """Figures with hits in the first rows, in all metrics alike."""
    gains = np.zeros((NUM_ROWS, len(METRICS)), np.float32)
    gains[: round(share * NUM_ROWS)] = 1
    return RowFigures(gains, np.ones_like(gains), truth)


def written(folder: Path, name: str, runs) -> Path:
    """A file of lines, with the figures of their rows beside it."""
    output = folder / f"{name}.jsonl"
    for number, (line, rows) in enumerate(runs):
        rows.save(suite_record.rows_folder(output) / f"{number}.npz")
        with output.open("a") as file:
            file.write(json.dumps({**line, "rows_file": f"{number}.npz"}) + "\n")
    return output


def test_figures_of_rows_are_those_of_the_metrics(tmp_path: Path):
    rng = np.random.default_rng(0)
    Y_tst = as_csr(sp.csr_matrix(rng.random((50, 30)) < 0.2, dtype=np.float32))
    scores = sp.csr_matrix(rng.random((50, 30)) * (rng.random((50, 30)) < 0.6))
    sp.save_npz(tmp_path / "predicted.npz", scores)
    truth = Truth(Y_tst, inverse_propensities(np.arange(30), 100), {})
    rows = RowFigures.of(truth, tmp_path / "predicted.npz")
    told, judged = rows.figures(), truth.judged(tmp_path / "predicted.npz")
    for name in ("P@1", "P@3", "P@5", "R@10", "PSP@5"):
        assert told[name] == pytest.approx(judged[name], abs=2e-5)
    ranking = judge(Y_tst, as_csr(scores), 10)
    assert told["PSP@5"] == pytest.approx(psp_at(ranking, truth.weights_L)[4], abs=2e-5)
    rows.save(tmp_path / "rows.npz")
    assert RowFigures.load(tmp_path / "rows.npz").figures() == told


def test_errors_are_those_of_the_paired_difference():
    rng = np.random.default_rng(1)
    base = (rng.random((400, len(METRICS))) < 0.5).astype(np.float32)
    other = base.copy()
    other[:10] = 1 - other[:10]
    ones = np.ones_like(base)
    difference, error = RowFigures(base, ones, "t").minus(RowFigures(other, ones, "t"))
    paired = (base - other).astype(float)
    np.testing.assert_allclose(difference, paired.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(error, paired.std(axis=0, ddof=1) / 20, rtol=1e-6)
    assert (error < base.std(axis=0) / 20 / 2).all()


def test_the_error_of_a_ratio_of_sums_is_that_of_resampling():
    rng = np.random.default_rng(2)
    possible = rng.gamma(2.0, 1.0, (500, len(METRICS))).astype(np.float32)
    ours, theirs = (possible * (rng.random(possible.shape) < p) for p in (0.6, 0.5))
    difference, error = RowFigures(ours, possible, "t").minus(RowFigures(theirs, possible, "t"))
    draws = rng.integers(500, size=(1000, 500))
    resampled = [
        (ours[rows, 0].sum() - theirs[rows, 0].sum()) / possible[rows, 0].sum() for rows in draws
    ]
    assert difference[0] == pytest.approx((ours - theirs)[:, 0].sum() / possible[:, 0].sum())
    assert error[0] == pytest.approx(np.std(resampled), rel=0.1)


def test_other_test_rows_are_not_paired():
    with pytest.raises(ValueError, match="not the same"):
        rows_of(0.5).minus(rows_of(0.5, truth="other"))


def test_record_has_the_difference_to_the_best_peer_the_worst_and_the_mean(tmp_path: Path):
    output = written(
        tmp_path,
        "a",
        [
            (line_of("xrt-linear"), rows_of(0.5)),
            (line_of("bonsai"), rows_of(0.6)),
            (line_of("pecos"), rows_of(0.4)),
            (line_of("xrt-linear", "depends", "own"), rows_of(0.9)),
            (line_of("bonsai", "depends", "own", train_seconds=7.0), rows_of(0.7)),
        ],
    )
    text = suite.render_file(output)
    assert "50.00 (-10.00 ± 4.80▼)" in text
    assert "90.00 (+20.00 ± 6.41▲)" in text
    assert "**-10.00 ± 4.80▼** bibtex, given: bonsai" in text
    assert "| **mean** |  | +5.00 |" in text
    assert "| 2 / 10 | 80 / 40 |" in text  # a peer's rows are made on its clock, xrt's are within
    assert "- bibtex, given: P@1 -10.00 ± 4.80▼ (bonsai)" in text
    assert "- depends" not in text


def test_the_model_with_an_encoder_stands_beside_the_linear_one(tmp_path: Path):
    runs = [(line_of("xrt-linear", "yso", "own"), rows_of(0.5))]
    assert "With an encoder" not in suite.render_file(written(tmp_path, "linear", runs))
    runs += [(line_of("xrt-deep", "yso", "own"), rows_of(0.75))]
    text = suite.render_file(written(tmp_path, "deep", runs))
    assert "| yso | 75.00 (+25.00 ± 6.93▲)" in text
    assert "| **mean** | +25.00 |" in text
    assert "Below the best peer" not in text  # there is no peer


def test_record_takes_the_last_run_and_the_mean_of_seeds(tmp_path: Path):
    output = written(
        tmp_path,
        "a",
        [
            (line_of("bonsai"), rows_of(0.1)),
            (line_of("bonsai", version="2"), rows_of(0.5)),
            (line_of("xrt-linear"), rows_of(0.4)),
            (line_of("xrt-linear") | {"seed": 1}, rows_of(0.8)),
        ],
    )
    assert "60.00 (+10.00 ±" in suite.render_file(output)


def test_a_change_must_be_better_on_average_and_worse_nowhere(tmp_path: Path, capsys):
    before = written(
        tmp_path,
        "before",
        [
            (line_of("xrt-linear"), rows_of(0.5)),
            (line_of("xrt-linear", "yso", "own"), rows_of(0.5)),
        ],
    )
    after = {
        name: written(
            tmp_path,
            name,
            [
                (line_of("xrt-linear"), rows_of(first)),
                (line_of("xrt-linear", "yso", "own", train_seconds=6.0), rows_of(second)),
            ],
        )
        for name, first, second in (("good", 0.5, 0.7), ("mixed", 0.3, 0.9), ("same", 0.5, 0.5))
    }
    assert suite.main(["--compare", str(before), str(after["good"])]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Yes: +10.000")
    assert "| 3.00 |" in text
    assert suite.main(["--compare", str(before), str(after["mixed"])]) == 1
    text = capsys.readouterr().out
    assert text.startswith("No: +10.000")
    assert "- bibtex, given: P@1 -20.00 ± 6.41" in text
    assert suite.main(["--compare", str(before), str(after["same"])]) == 1
    with pytest.raises(SystemExit, match="not found"):
        suite_comparison.compared(before, tmp_path / "none.jsonl")


def test_files_without_a_shared_set_are_not_compared(tmp_path: Path):
    before = written(tmp_path, "before", [(line_of("xrt-linear"), rows_of(0.5))])
    after = written(tmp_path, "after", [(line_of("xrt-linear"), rows_of(0.5, truth="other"))])
    with pytest.raises(SystemExit, match="no set and view"):
        suite_comparison.compared(before, after)
