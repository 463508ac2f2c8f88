"""Reports show how often the first label is true for rows drawn at random and for the newest."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tests.small_corpora import make_rows, write_rows
from xrt.fusion.calibration import fit_calibration
from xrt.fusion.fit import FusionFit
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.fusion import Fusion
from xrt.metrics.calibration import NUM_BINS
from xrt.metrics.propensity import PropensityParams
from xrt.pipeline import DatasetParams, PipelineParams, train
from xrt.pipeline.slices import DRAWN, NEWEST, TITLE, measure_slice, slices_table
from xrt.storage.reading import read_json_bounded


def train_dated(folder: Path, time_column: str | None):
    """600 rows, a day each; in the last 150 half of the labels are those of another row."""
    rows = make_rows(600, seed=1)
    for day, row in enumerate(rows):
        row["day"] = day
        if day >= 450 and day % 2:
            row["labels"] = rows[day - 97]["labels"]
    trn = write_rows(folder / "trn.jsonl", rows)
    dataset = DatasetParams(name="dated", trn=str(trn), time_column=time_column)
    train(PipelineParams(dataset=dataset, num_trees=1, num_threads=1), folder / "run")
    report = read_json_bounded(folder / "run" / "report.json")
    return report, (folder / "run" / "report.html").read_text()


def test_the_report_shows_both_slices_where_times_are_known(tmp_path: Path):
    report, page = train_dated(tmp_path, "day")
    newest, drawn = report["slices"][NEWEST], report["slices"][DRAWN]
    assert (newest["rows"], drawn["rows"]) == (150, 75)
    assert newest["P@1"] < drawn["P@1"]
    for each in (newest, drawn):
        assert sum(each["bins"]["predicted"]) == each["rows"]
    assert TITLE in page
    assert "drawn at random: rows" in page


def test_no_slices_without_times(tmp_path: Path):
    report, page = train_dated(tmp_path, None)
    assert "slices" not in report
    assert TITLE not in page


def test_bins_by_hand():
    """Four rows of two labels; the first label of three of them is true."""
    scores = sp.csr_array(np.array([[0.9, 0], [0.9, 0.2], [0.1, 0.3], [0, 0.3]], np.float32))
    Y_true = sp.csr_array(np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32))
    frequencies = LabelFrequencies(np.array([3, 1]), 4, PropensityParams())
    plain = FusionFit(Fusion({"linear": 1.0}), None, {})
    found = measure_slice(plain, {"linear": scores}, Y_true, frequencies)
    assert found == {"rows": 4, "P@1": 0.75, "P@5": pytest.approx(3 / 20)}
    assert slices_table({NEWEST: found}) is None
    curve = fit_calibration(scores, Y_true, frequencies.counts_L, (0,), None)
    fit = FusionFit(Fusion({"linear": 1.0}), curve, {})
    found = measure_slice(fit, {"linear": scores}, Y_true, frequencies)
    bins = found["bins"]
    assert sum(bins["predicted"]) == 4
    right = np.dot(bins["predicted"], bins["precision"])
    assert right == pytest.approx(3)
    gap = np.abs(np.subtract(bins["precision"], bins["mean_score"]))
    assert found["ECE@1"] == pytest.approx(np.dot(bins["predicted"], gap) / 4)
    table = slices_table({NEWEST: found, DRAWN: found})
    assert table is not None
    assert table.rows[-1] == ["all", 4, None, 0.75, 4, None, 0.75]
    assert len(table.rows) - 1 == sum(number > 0 for number in bins["predicted"]) <= NUM_BINS
