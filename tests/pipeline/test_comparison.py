"""Runs side by side, and what a run leaves for that."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.small_corpora import make_rows, write_rows
from xrt.cli import main
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.errors import ArtifactError, DataError
from xrt.pipeline import PipelineParams, train
from xrt.pipeline.comparison import compare_table, differing, read_runs
from xrt.pipeline.params import DatasetParams
from xrt.search.beam import SearchParams
from xrt.tree.clustering import TreeParams


def write_run(folder: Path, held_out, test=None, **settings) -> Path:
    folder.mkdir(parents=True)
    figures = {
        name: None if value is None else {"value": value, "standard_error": 0.01, "rows": 9}
        for name, value in (("held_out", held_out), ("test", test))
    }
    content = {"criterion": "(P@1 + nDCG@10) / 2", "model": "linear", "seconds": 2.0,
               "model_bytes": 3_000_000, "settings": settings, **figures}  # fmt: skip
    (folder / "outcome.json").write_text(json.dumps(content))
    return folder


def test_the_best_comes_first_and_only_what_differs_is_shown(tmp_path, capsys):
    same = {"seed": 1, "num_threads": 1}
    write_run(tmp_path / "sweep/0", 0.5, 0.61, search={"beam_size": 5, "path_weight": 1}, **same)
    write_run(tmp_path / "sweep/1", 0.6, 0.41, search={"beam_size": 9, "path_weight": 1}, **same)
    write_run(tmp_path / "other", None, 0.3, search={"beam_size": 5, "path_weight": 1}, seed=1,
              num_threads=2)  # fmt: skip
    runs = read_runs([tmp_path / "sweep", tmp_path / "other"])
    assert [run.name for run in runs] == ["1", "0", "other"]
    assert differing(runs) == ["search.beam_size"]
    page = tmp_path / "page.html"
    words = [str(tmp_path / name) for name in ("other", "sweep")]
    assert main(["compare", *words, "--html", str(page)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1][:6] == ["1", "linear", "60.00", "1.00", "41.00", "1.00"]
    assert lines[1][-3:] == ["2.0", "3.0", "9"]
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "search.beam_size" in text
    assert "path_weight" not in text


def test_names_that_are_the_same_are_told_apart(tmp_path):
    for name in ("a", "b"):
        write_run(tmp_path / name / "0", 0.5)
    assert {run.name for run in read_runs([tmp_path / "a", tmp_path / "b"])} == {"a/0", "b/0"}


def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert main(["compare", str(tmp_path)]) == 2
    assert "no finished run" in capsys.readouterr().err
    with pytest.raises(DataError, match="no finished run"):
        read_runs([tmp_path])
    (write_run(tmp_path / "run", 0.5) / "outcome.json").write_text("{}")
    with pytest.raises(ArtifactError, match="incomplete"):
        read_runs([tmp_path / "run"])


@pytest.fixture
def linear(tmp_path: Path) -> PipelineParams:
    dataset = DatasetParams(
        trn=str(write_rows(tmp_path / "trn.jsonl", make_rows(60, seed=0))),
        tst=str(write_rows(tmp_path / "tst.jsonl", make_rows(20, seed=1))),
    )
    return PipelineParams(dataset=dataset, tree=TreeParams(max_leaf_size=4), num_threads=1)


def test_a_linear_run_tells_held_out_and_test_figures_apart(linear, tmp_path):
    outcome = train(linear, tmp_path / "run")
    [run] = read_runs([tmp_path / "run"])
    assert run.content["held_out"]["value"] == outcome.objective
    assert run.content["held_out"]["rows"] == 15  # a quarter of them
    metrics = outcome.reports["linear"].metrics
    value, error = run.figure("test")
    assert value == pytest.approx((metrics["P"][1] + metrics["nDCG"][10]) / 2)
    assert 0 < error < 0.2
    assert run.content["test"]["rows"] == 20
    assert run.content["seconds"] > 0
    assert run.settings["tree.max_leaf_size"] == 4
    assert "linear" in compare_table([run])


def test_runs_with_other_beams_fine_tune_the_encoder_once(linear, tmp_path, caplog):
    store = tmp_path / "runs" / ".stages"
    deep = replace(
        linear, encoder=EncoderParams(name="tiny-random", max_length=8),
        matcher=MatcherParams(steps=2), always_deep=True,
    )  # fmt: skip
    train(deep, tmp_path / "runs/0", stages=store)
    caplog.clear()
    caplog.set_level("INFO")
    wider = replace(deep, search=SearchParams(beam_size=3))
    train(wider, tmp_path / "runs/1", stages=store)
    assert "matcher: unchanged, kept" in caplog.text
    assert "matcher: runs" not in caplog.text
    assert "fusion: runs" in caplog.text
    alone = train(wider, tmp_path / "alone")
    assert read_runs([tmp_path / "runs/1"])[0].figure("held_out")[0] == alone.objective
