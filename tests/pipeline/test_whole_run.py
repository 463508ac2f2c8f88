"""Text in, model folder out: what a training run promises, on 24 labels and a random encoder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.small_corpora import fit_in_folder, make_rows, write_rows
from xrt.data.formats import read_corpus
from xrt.data.labels import LabelTable
from xrt.fusion.fusion import Fusion
from xrt.model import XrtModel
from xrt.pipeline import DatasetParams, PipelineParams, TrainOutcome, train
from xrt.pipeline.trainer import Trainer
from xrt.predict import Predictor
from xrt.search.beam import SearchParams
from xrt.sources.label_names import LabelNames
from xrt.sources.name_meanings import NameMeanings
from xrt.sources.registry import SOURCES
from xrt.storage.reading import read_json_bounded

TEXTS = [row["title"] for row in make_rows(40, seed=9)]
LABELS = 24
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(params: PipelineParams, run_folder: Path, data: Path) -> XrtModel:
    """The model of the run as its stages hold it, never saved as a model."""
    return fit_in_folder(params, read_corpus(data / "trn.jsonl"), run_folder).model


def linear_of(model: XrtModel) -> XrtModel:
    """The linear trees alone, their scores as they are."""
    return replace(model, fusion=Fusion({"linear": 1.0}), calibration=None)


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
    staged = fit_in_folder(settings, corpus, tmp_path).model
    in_memory = Trainer(settings).fit(corpus).model
    assert in_memory.search == staged.search
    np.testing.assert_array_equal(
        dense(in_memory.predict(TEXTS, LABELS)), dense(staged.predict(TEXTS, LABELS))
    )


def test_fusion_is_not_below_the_linear_model_on_its_validation_rows(run_folder: Path):
    chosen = read_json_bounded(run_folder / "stages" / "fusion" / "fused" / "scores.json")
    alone = chosen["figures"]["alone"]
    assert set(alone) == set(SOURCES) - {LabelNames.name, NameMeanings.name}, (
        "these labels have no names"
    )
    value = {name: sum(figures.values()) for name, figures in alone.items()}
    weighted = sum(chosen["figures"]["weighted"].values())
    assert weighted >= max(value.values()) >= value["linear"]
    assert sum(chosen["fusion"]["weights"].values()) == pytest.approx(1.0)


def test_every_report_tells_the_recall_of_candidates(run_folder: Path, model: XrtModel):
    told = read_json_bounded(run_folder / "report.json")["candidates"]
    assert [rows.split(" ", 1)[1] for rows in told] == ["held-out training rows", "test rows"]
    page, card = ((run_folder / name).read_text() for name in ("report.html", "model/README.md"))
    for rows, measured in told.items():
        used = [name for name in SOURCES if name in model.fusion.sources]
        sources = used if len(used) == 1 else {*used, "union"}
        assert set(measured["recall"]) == set(measured["per_row"]) == set(sources)
        for name, recall in measured["recall"].items():
            assert 0 < recall <= max(measured["recall"].values())
            assert f"| {rows} | {name} | {recall:.4f} |" in card
        assert rows in page
    assert "Recall of true labels among the candidates" in page


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
    head = manifest["indexes"]["matcher"]
    assert head == {
        "kind": "SQfp16", "vectors": LABELS, "recall": 1.0, "rows": head["rows"],
    }  # fmt: skip
    assert head["rows"] in ("held-out", "training")
    assert read_json_bounded(run_folder / "report.json")["indexes"] == manifest["indexes"]
    assert ">FAISS indexes<" in page


def test_outcome_is_the_models_side_by_side(params: PipelineParams, copied: Path):
    outcome = train(params, copied)
    assert isinstance(outcome, TrainOutcome)
    assert set(outcome.reports) == {"linear", "deep"}
    assert outcome.reports["linear"].value("P@1") > 0.4
    lines = outcome.to_text().splitlines()
    assert lines[0].split() == ["linear", "deep"]
    assert any(line.startswith("P@1 ") for line in lines)
    assert outcome.verdict is not None
    assert outcome.verdict.ships_deep
    figures = outcome.verdict.held_out.deep
    assert outcome.objective == (figures["P@1"] + figures["nDCG@10"]) / 2
    assert f"the deep model scores {100 * outcome.objective:.2f}," in outcome.to_text()


def test_without_an_encoder_it_is_the_linear_model(
    params: PipelineParams, copied: Path, model: XrtModel, stages_that_run: Any
):
    alone = replace(params, encoder=None, fused=False)
    assert stages_that_run(alone, copied) == set()
    predictor = Predictor.load(copied / "model")
    assert predictor.model.kind == "linear"
    assert not (copied / "model" / "encoder").exists()
    expected_NL = dense(linear_of(model).predict(TEXTS, 5))
    np.testing.assert_array_equal(dense(predictor.scores(TEXTS, 5)), expected_NL)


def test_without_a_row_to_hold_out_there_is_no_objective(params: PipelineParams, tmp_path: Path):
    rows = [{"title": "always the same", "labels": [str(n)]} for n in range(9)]
    trn = write_rows(tmp_path / "trn.jsonl", rows)
    alone = replace(params, encoder=None, dataset=DatasetParams(trn=str(trn)))
    assert train(alone, tmp_path / "run").objective is None


def test_without_a_test_file_it_tells_no_figures(params: PipelineParams, copied: Path):
    alone = replace(params, encoder=None, dataset=replace(params.dataset, tst=None))
    outcome = train(alone, copied)
    assert outcome.reports == {}
    assert outcome.objective is not None
    assert 0.3 < outcome.objective < 1
    assert "\nmodel:" in outcome.to_text()
    assert (copied / "report.html").is_file()


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
