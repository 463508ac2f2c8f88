"""A deep model ships only where it is better, and the run tells what it added."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_corpora import FILLERS, WORDS, make_rows, small_params, write_rows
from xrt.errors import DataError
from xrt.metrics.comparison import BINS_NOTE, FIGURES, Comparison
from xrt.metrics.judgement import JUDGED
from xrt.pipeline import TrainOutcome, train
from xrt.pipeline.verdict import NEXT_STEPS, Verdict
from xrt.predict import Predictor
from xrt.storage.reading import read_json_bounded

Rows = list[dict[str, Any]]


def random_labels(num_rows: int, seed: int) -> Rows:
    """Texts of words, each with a label that has nothing to do with them."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_rows) % 6)
    return [{"title": " ".join(rng.choice(WORDS, 3)), "labels": [f"L{label}"]} for label in labels]


def latin_square(num_rows: int, seed: int) -> Rows:
    """Two words of six, and the label that only both together tell: each word alone goes with
    every label as often.
    """
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(np.arange(num_rows) % 36)
    return [
        {"title": f"{WORDS[pair // 6]} {WORDS[6 + pair % 6]} {FILLERS[rng.integers(4)]}",
         "labels": [f"L{(pair // 6 + pair % 6) % 6}"]}
        for pair in pairs
    ]  # fmt: skip


def run(
    folder: Path, make: Callable[[int, int], Rows], caplog: Any, **changes: Any
) -> tuple[TrainOutcome, list[str]]:
    """Train on 240 rows, test on 30; with the warnings and verdicts told on the way."""
    trn = write_rows(folder / "trn.jsonl", make(240, 0))
    tst = write_rows(folder / "tst.jsonl", make(30, 1))
    params = small_params(trn, tst, **{"always_deep": False, **changes})
    caplog.clear()
    with caplog.at_level(logging.INFO, "xrt"):
        outcome = train(params, folder / "run")
    names = ("xrt.pipeline.verdict", "xrt.storage.stages")
    return outcome, [r.getMessage() for r in caplog.records if r.name in names]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRT_NUM_THREADS", "1")


def test_with_labels_by_chance_the_linear_model_ships_and_is_told(tmp_path: Path, caplog: Any):
    outcome, told = run(tmp_path, random_labels, caplog)
    verdict = outcome.verdict
    assert isinstance(verdict, Verdict)
    assert not verdict.deep_wins
    assert told.count(verdict.message) == 1
    artifact = Predictor.load(outcome.model_folder).artifact
    assert artifact is not None
    assert artifact.kind == "linear"
    for part in ("encoder", "ranker", "matcher", "neighbours"):
        assert not artifact.has(part)
    assert artifact.manifest["verdict"] == verdict.summary()
    assert set(artifact.manifest["metrics"]) == set(outcome.reports) == {"linear", "deep"}
    card = (outcome.model_folder / "README.md").read_text()
    assert "none (linear model)" in card
    assert f"{verdict.message}." in card
    assert "base_model" not in card
    text = outcome.to_text()
    assert f"verdict: {verdict.message}\n" in text
    assert f"next:    {NEXT_STEPS}\n" in text

    forced, told = run(tmp_path, random_labels, caplog, always_deep=True)
    assert [line for line in told if "runs" in line] == [
        "verdict: runs (always_deep: False -> True)"
    ]
    assert Predictor.load(forced.model_folder).model.kind == "transformer"
    assert NEXT_STEPS not in forced.to_text()


def test_where_linear_cannot_see_it_the_deep_model_ships(tmp_path: Path, caplog: Any):
    outcome, told = run(tmp_path, latin_square, caplog)
    verdict = outcome.verdict
    assert verdict is not None
    assert verdict.deep_wins
    assert verdict.gain > 0.1
    assert outcome.reports["deep"].value("P@1") > outcome.reports["linear"].value("P@1")
    assert Predictor.load(outcome.model_folder).model.kind == "transformer"
    assert NEXT_STEPS not in outcome.to_text()
    again, told = run(tmp_path, latin_square, caplog)
    assert again.verdict == verdict
    assert not [line for line in told if "runs" in line]
    assert told.count(verdict.message) == 1


def test_the_report_tells_what_the_encoder_added(tmp_path: Path, caplog: Any):
    outcome, _ = run(tmp_path, make_rows, caplog)
    assert outcome.verdict is not None
    assert outcome.tested is not None
    page = outcome.report_path.read_text()
    assert "<h2>What the encoder added</h2>" in page
    for rows in ("24 held-out training rows", "30 test rows"):
        title = f"nDCG@10 on {rows}, by training frequency of the label"
        assert f"<h3>{title}</h3>" in page
        assert f'aria-label="{title}"' in page
        assert title in outcome.to_text()
    assert page.count(BINS_NOTE) == 2
    report = read_json_bounded(tmp_path / "run" / "report.json")
    assert Verdict.from_dict(report["verdict"]) == outcome.verdict
    tested = Comparison.from_dict(report["tested"])
    assert tested == outcome.tested
    for name in FIGURES:
        assert tested.linear[name] == outcome.reports["linear"].value(name)
        assert tested.deep[name] == outcome.reports["deep"].value(name)
    bins = {bin.name: bin for bin in outcome.reports["deep"].bins if bin.num_pairs}
    assert {bin.name: (bin.num_labels, bin.num_pairs) for bin in tested.bins} == {
        name: (bin.num_labels, bin.num_pairs) for name, bin in bins.items()
    }


def test_without_an_encoder_there_is_no_verdict(tmp_path: Path, caplog: Any):
    outcome, _ = run(tmp_path, make_rows, caplog, encoder=None)
    assert outcome.verdict is None
    assert "verdict" not in outcome.to_text()
    assert "What the encoder added" not in outcome.report_path.read_text()
    assert not (outcome.model_folder / "verdict.json").exists()


def test_without_a_test_file_the_loser_is_not_finished(tmp_path: Path, caplog: Any):
    trn = write_rows(tmp_path / "trn.jsonl", random_labels(240, 0))
    params = small_params(trn, always_deep=False)
    outcome = train(params, tmp_path / "run")
    assert outcome.verdict is not None
    assert not outcome.verdict.deep_wins
    assert not (tmp_path / "run" / "stages" / "ranker").exists()
    assert "24 held-out training rows" in outcome.to_text()


def test_rows_that_cannot_judge_are_refused_before_any_work(tmp_path: Path):
    rows = [{"title": "one and the same thing", "labels": [word]} for word in WORDS]  # one group
    params = small_params(write_rows(tmp_path / "trn.jsonl", rows))
    with pytest.raises(
        DataError, match=r"trn\.jsonl: no row can be held out.*24 rows.*give more rows"
    ):
        train(params, tmp_path / "run")
    assert not (tmp_path / "run" / "stages").exists()
    linear = train(replace(params, encoder=None), tmp_path / "run")
    assert linear.verdict is None


def test_what_was_judged_stands_in_report_page_and_summary(tmp_path: Path, caplog: Any):
    outcome, _ = run(tmp_path, make_rows, caplog, encoder=None)
    fusion = next(step for step in outcome.judgements if step.name.startswith("fusion of"))
    assert fusion.plain_name == "linear alone"
    model = Predictor.load(outcome.model_folder).model
    assert (set(model.fusion.sources) == {"linear"}) is not fusion.ships
    report = read_json_bounded(tmp_path / "run" / "report.json")
    assert report["judgements"] == [step.to_dict() for step in outcome.judgements]
    assert JUDGED in outcome.to_text()
    assert fusion.name in outcome.to_text()
    page = outcome.report_path.read_text()
    assert f"<h3>{JUDGED}</h3>" in page
    assert fusion.name in page
    again, _ = run(tmp_path, make_rows, caplog, encoder=None)
    assert again.judgements == outcome.judgements  # read from the stages
