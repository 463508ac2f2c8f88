"""Text in, model folder out: what a training run promises, on 24 labels and a random encoder."""

import contextlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.small_corpora import make_rows, model_bytes, small_params, write_rows
from xrt.data.formats import read_corpus
from xrt.data.labels import LabelTable
from xrt.deep import unit_rows
from xrt.model import XrtModel
from xrt.pipeline import PipelineParams, TrainOutcome, fit, train
from xrt.pipeline.fusing import SOURCES
from xrt.pipeline.linear import train_linear
from xrt.pipeline.run import fit_model
from xrt.predict import Predictor
from xrt.ranker import RankerParams, TreeRanker
from xrt.reading import read_json_bounded
from xrt.search.beam import SearchParams
from xrt.search.mixture import Mixture
from xrt.search.shortlist import IndexKind, Shortlist, ShortlistParams

REPORTING = ("README.md", "manifest.json")  # the two files of a model that tell of the test file
TEXTS = [row["title"] for row in make_rows(40, seed=9)]
LABELS = 24


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of the encoder, and so its bytes, are the same for the same number of threads only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRT_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, num_rows, seed in (("trn", 140, 0), ("tst", 30, 1), ("other", 50, 2)):
        write_rows(folder / f"{name}.jsonl", make_rows(num_rows, seed))
    return folder


@pytest.fixture(scope="module")
def params(data: Path) -> PipelineParams:
    return small_params(data / "trn.jsonl", data / "tst.jsonl")


@pytest.fixture(scope="module")
def run_folder(params: PipelineParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests that change something work on a copy."""
    folder = tmp_path_factory.mktemp("run") / "small"
    train(params, folder)
    return folder


@pytest.fixture(scope="module")
def model(params: PipelineParams, run_folder: Path, data: Path) -> XrtModel:
    """The model of the run as its stages hold it, never saved as a model."""
    return fit_model(params, read_corpus(data / "trn.jsonl"), run_folder)


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "copy"))


def stages_that_run(params: PipelineParams, folder: Path, caplog: Any) -> set[str]:
    """Train, and tell which stages were not taken from what was there."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "xrt.stages"):
        train(params, folder)
    told = [record.getMessage() for record in caplog.records if record.name == "xrt.stages"]
    return {text.split(":")[0] for text in told if ": runs (" in text}


def linear_of(model: XrtModel) -> XrtModel:
    """The linear trees alone, their scores as they are."""
    return replace(
        model, deep=None, neighbours=None, fusion=Mixture({"linear": 1.0}), calibration=None
    )


def dense(scores_NL: sp.csr_array) -> np.ndarray:
    return scores_NL.toarray()


def test_saved_and_loaded_it_scores_as_before(model: XrtModel, run_folder: Path):
    predictor = Predictor.load(run_folder / "model")
    assert predictor.model.kind == "transformer"
    assert predictor.model.labels == model.labels
    expected_NL = dense(model.predict(TEXTS, LABELS))
    assert expected_NL.any(axis=1).all()
    np.testing.assert_array_equal(dense(predictor.scores(TEXTS, LABELS)), expected_NL)


def test_the_linear_part_does_not_know_its_neighbours_in_a_batch(model: XrtModel):
    linear = linear_of(model)
    whole_NL = dense(linear.predict(TEXTS, 5))
    alone_NL = np.vstack([dense(linear.predict([text], 5)) for text in TEXTS])
    np.testing.assert_array_equal(alone_NL, whole_NL)


def test_batches_and_order_move_scores_by_rounding_only(run_folder: Path):
    predictor = Predictor.load(run_folder / "model")
    whole_NL = dense(predictor.scores(TEXTS, LABELS))
    alone_NL = np.vstack([dense(predictor.scores([text], LABELS)) for text in TEXTS])
    np.testing.assert_allclose(alone_NL, whole_NL, atol=1e-5)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled_NL = dense(predictor.scores([TEXTS[i] for i in order], LABELS))
    np.testing.assert_allclose(shuffled_NL, whole_NL[order], atol=1e-5)


def test_a_stream_is_answered_as_a_batch_is(run_folder: Path):
    predictor = Predictor.load(run_folder / "model")
    texts = [*TEXTS, "", "\U0001f600 данные \u202e"]
    whole = predictor.predict(texts, k=3)
    streamed = list(predictor.stream(iter(texts), k=3, batch_size=7))
    assert len(streamed) == len(whole)
    for one, other in zip(streamed, whole, strict=True):
        assert [s.score for s in one] == pytest.approx([s.score for s in other], abs=1e-5)
    assert list(predictor.stream(iter([]))) == []


def test_a_second_run_runs_nothing_and_writes_the_same_bytes(
    params: PipelineParams, copied: Path, caplog: Any
):
    before = model_bytes(copied / "model")
    assert stages_that_run(params, copied, caplog) == set()
    assert model_bytes(copied / "model") == before


def test_a_changed_ranker_leaves_features_trees_and_matcher_alone(
    params: PipelineParams, copied: Path, caplog: Any
):
    before = model_bytes(copied / "model")
    changed = replace(params, ranker=RankerParams(cost_positive=2.0))
    rankers = {"linear", "fit-linear", "fit-ranker", "ranker"}
    assert stages_that_run(changed, copied, caplog) == {*rankers, "fusion", "verdict"}
    after = model_bytes(copied / "model")
    assert after["linear/level.1/entry_values.npy"] != before["linear/level.1/entry_values.npy"]
    assert after["encoder/model.safetensors"] == before["encoder/model.safetensors"]


def test_a_changed_search_only_weighs_the_sources_anew(
    params: PipelineParams, copied: Path, caplog: Any
):
    changed = replace(params, search=SearchParams(beam_size=3))
    assert stages_that_run(changed, copied, caplog) == {"fusion", "verdict"}
    assert Predictor.load(copied / "model").model.search.beam_size == 3


def test_neither_the_test_file_nor_an_interruption_changes_a_byte_of_the_model(
    params: PipelineParams, run_folder: Path, data: Path, tmp_path: Path, monkeypatch: Any
):
    """The same training file elsewhere, with another test file, stopped before two stages."""
    other = replace(params, dataset=replace(params.dataset, tst=str(data / "other.jsonl")))
    begin = fit.run_stage
    for stage in ("tree", "ranker"):

        def stop(run: Path, name: str, *rest: Any, stage: str = stage, **named: Any) -> Any:
            if name == stage:
                raise KeyboardInterrupt
            return begin(run, name, *rest, **named)

        monkeypatch.setattr(fit, "run_stage", stop)
        with pytest.raises(KeyboardInterrupt):
            train(other, tmp_path / "elsewhere")
        assert not (tmp_path / "elsewhere" / "model").exists()
    monkeypatch.setattr(fit, "run_stage", begin)
    train(other, tmp_path / "elsewhere")
    elsewhere = tmp_path / "elsewhere" / "model"
    assert model_bytes(elsewhere, *REPORTING) == model_bytes(run_folder / "model", *REPORTING)
    told = [read_json_bounded(folder / "manifest.json")["metrics"]
            for folder in (elsewhere, run_folder / "model")]  # fmt: skip
    assert told[0] != told[1]


def test_several_trees_and_a_chosen_path_weight_are_part_of_every_model(
    params: PipelineParams, copied: Path, data: Path, caplog: Any
):
    search = SearchParams(path_weight=None)
    changed = replace(params, num_trees=2, search=search)
    added = {"trial-tree", "trial-linear", "path-weight", "tree-2", "linear-2", "fit-tree-2"}
    added |= {"fit-linear-2", "fusion", "verdict"}
    assert stages_that_run(changed, copied, caplog) == added
    assert stages_that_run(changed, copied, caplog) == set()
    saved = Predictor.load(copied / "model").model
    assert len(saved.linear.trees) == 2
    chosen = read_json_bounded(copied / "stages" / "path-weight" / "path_weight.json")
    assert saved.search == replace(search, path_weight=chosen["path_weight"])
    kept = fit_model(changed, read_corpus(data / "trn.jsonl"), copied)
    np.testing.assert_array_equal(
        dense(saved.predict(TEXTS, LABELS)), dense(kept.predict(TEXTS, LABELS))
    )
    first = TreeRanker.load(copied / "stages" / "linear" / "ranker")
    assert first.num_weights == saved.linear.trees[0].num_weights
    alone = replace(changed, encoder=None, num_trees=3)
    added = {"tree-3", "linear-3", "fit-tree-3", "fit-linear-3", "linear-fusion"}
    assert stages_that_run(alone, copied, caplog) == added
    assert (copied / "model" / "linear" / "2" / "level.1").is_dir()


@pytest.mark.parametrize(("named", "fused"), [(False, False), (True, False), (True, True)])
def test_files_and_memory_make_the_same_linear_model(
    params: PipelineParams, data: Path, tmp_path: Path, named: bool, fused: bool
):
    search = SearchParams(path_weight=None)
    settings = replace(params, encoder=None, num_trees=2, search=search, fused=fused)
    corpus = read_corpus(data / "trn.jsonl")
    if named:
        names = tuple(corpus.texts[row] for row in range(corpus.num_labels))
        corpus = replace(corpus, labels=LabelTable(corpus.labels.ids, names))
    staged = fit_model(settings, corpus, tmp_path)
    in_memory = train_linear(
        corpus, features=settings.features, tree=settings.tree, ranker=settings.ranker,
        search=settings.search, seed=settings.seed, num_trees=2, num_threads=1,
        validation_rows=settings.validation_rows, fused=fused,
    )  # fmt: skip
    assert in_memory.search == staged.search
    np.testing.assert_array_equal(
        dense(in_memory.predict(TEXTS, LABELS)), dense(staged.predict(TEXTS, LABELS))
    )


def test_fusion_is_not_below_the_linear_model_on_its_validation_rows(run_folder: Path):
    chosen = read_json_bounded(run_folder / "stages" / "fusion" / "fused" / "scores.json")
    alone = chosen["figures"]["alone"]
    assert set(alone) == set(SOURCES)
    value = {name: sum(figures.values()) for name, figures in alone.items()}
    weighted = sum(chosen["figures"]["weighted"].values())
    assert weighted >= max(value.values()) >= value["linear"]
    assert sum(chosen["mixture"]["weights"].values()) == pytest.approx(1.0)


def test_report_and_manifest_tell_of_both_models(run_folder: Path):
    page = (run_folder / "report.html").read_text()
    assert ">linear<" in page
    assert ">deep<" in page
    for chart in ("Reliability of scores", "Matcher on held-out rows", "Matcher&#x27;s loss"):
        assert f'aria-label="{chart}"' in page
    manifest = read_json_bounded(run_folder / "model" / "manifest.json")
    assert set(manifest["metrics"]) == {"linear", "deep"}
    assert manifest["training"] == {"num_rows": 140, "num_labels": LABELS}
    report = read_json_bounded(run_folder / "report.json")["models"]["deep"]
    assert 0 <= report["metrics"]["ECE@5"] <= 1
    assert sum(report["reliability"]["num_predicted"]) == 30 * 5
    assert str(run_folder.parent) not in (run_folder / "model" / "manifest.json").read_text()


def test_outcome_is_the_models_side_by_side(params: PipelineParams, copied: Path):
    outcome = train(params, copied)
    assert isinstance(outcome, TrainOutcome)
    assert set(outcome.reports) == {"linear", "deep"}
    assert outcome.reports["linear"].value("P@1") > 0.4
    lines = outcome.to_text().splitlines()
    assert lines[0].split() == ["linear", "deep"]
    assert any(line.startswith("P@1 ") for line in lines)


def test_without_an_encoder_it_is_the_linear_model(
    params: PipelineParams, copied: Path, model: XrtModel, caplog: Any
):
    alone = replace(params, encoder=None, fused=False)
    assert stages_that_run(alone, copied, caplog) == set()
    predictor = Predictor.load(copied / "model")
    assert predictor.model.kind == "linear"
    assert not (copied / "model" / "encoder").exists()
    expected_NL = dense(linear_of(model).predict(TEXTS, 5))
    np.testing.assert_array_equal(dense(predictor.scores(TEXTS, 5)), expected_NL)


def test_without_a_test_file_it_tells_no_figures(params: PipelineParams, copied: Path):
    alone = replace(params, encoder=None, dataset=replace(params.dataset, tst=None))
    outcome = train(alone, copied)
    assert outcome.reports == {}
    assert outcome.to_text().startswith("model:")
    assert (copied / "report.html").is_file()


def test_a_shortlist_of_all_nodes_searches_as_an_endless_beam_does(model: XrtModel):
    assert model.deep is not None
    ranker = model.deep.ranker
    num_nodes = ranker.tree.num_nodes(0)
    params = ShortlistParams(index=IndexKind.flat, width=num_nodes)
    sides = np.random.default_rng(0).normal(size=(num_nodes, 32))
    every = Shortlist(unit_rows(sides), params, level=0)
    search = SearchParams(beam_size=num_nodes)
    ranked = replace(model, fusion=Mixture({"ranker": 1.0}), calibration=None, search=search)
    root = replace(ranked, deep=replace(model.deep, shortlists=()))
    short = replace(ranked, deep=replace(model.deep, shortlists=(every,)))
    assert num_nodes >= 4
    np.testing.assert_allclose(
        dense(short.predict(TEXTS, LABELS)), dense(root.predict(TEXTS, LABELS)), atol=1e-5
    )


@pytest.mark.parametrize("index", [IndexKind.flat, IndexKind.hnsw])
def test_a_shortlist_is_saved_with_the_model(
    params: PipelineParams, copied: Path, caplog: Any, index: IndexKind, data: Path
):
    shortlist = ShortlistParams(index=index, width=4, hnsw_neighbors=4)
    changed = replace(params, shortlist=shortlist)
    assert stages_that_run(changed, copied, caplog) == {"fusion", "verdict"}
    loaded = Predictor.load(copied / "model").model
    kept = fit_model(changed, read_corpus(data / "trn.jsonl"), copied)
    for one in (loaded, kept):
        assert one.deep is not None
        assert [index.params for index in one.deep.shortlists] == [shortlist]
    ranked = [
        replace(one, fusion=Mixture({"ranker": 1.0}), calibration=None).predict(TEXTS, 5)
        for one in (loaded, kept)
    ]
    assert np.diff(ranked[0].indptr).min() == 5
    np.testing.assert_array_equal(dense(ranked[0]), dense(ranked[1]))


KILLED = """
import sys
from pathlib import Path
from tests.small_corpora import small_params
from xrt.pipeline import train
train(small_params(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3])
"""


@contextlib.contextmanager
def training_process(data: Path, folder: Path) -> Iterator[subprocess.Popen]:
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root), "XRT_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-c", KILLED, data / "trn.jsonl", data / "tst.jsonl", folder]
    process = subprocess.Popen([str(arg) for arg in argv], env=env, stderr=subprocess.DEVNULL,
                               start_new_session=True)  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    params: PipelineParams, run_folder: Path, data: Path, tmp_path: Path
):
    rng = random.Random(0)
    folder = tmp_path / "killed"
    num_kills = 0
    for sign in ("stages/features", "scratch/matcher-*/level-0", "stages/fit-ranker", "model"):
        if any(folder.glob(sign)):
            continue  # the last kill came late
        with training_process(data, folder) as process:
            while not any(folder.glob(sign)) and process.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.random() * 0.1)
            num_kills += process.poll() is None
    assert num_kills >= 2
    train(params, folder)
    assert model_bytes(folder / "model") == model_bytes(run_folder / "model")
    assert not list(folder.glob(".tmp-*"))
    assert not list((folder / "stages").glob(".tmp-*"))


def test_a_model_does_not_tell_where_it_was_made(tmp_path):
    from xrt.encoder.params import EncoderParams
    from xrt.pipeline.params import DatasetParams
    from xrt.pipeline.saving import _encoder_name, _portable
    from xrt.tree.clustering import TreeParams

    folder = tmp_path / "my-encoder"
    folder.mkdir()
    params = PipelineParams(
        dataset=DatasetParams(trn=str(tmp_path / "trn.jsonl"), labels=str(tmp_path / "labels.tsv")),
        tree=TreeParams(paths=str(tmp_path / "paths.tsv")),
        encoder=EncoderParams(name=str(folder)),
    )
    assert str(tmp_path) not in str(_portable(params))
    assert _encoder_name(EncoderParams(name="minilm")) == "minilm"
