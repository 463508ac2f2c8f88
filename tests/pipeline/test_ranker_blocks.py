"""What the deep model's rankers see: blocks of embeddings, several trees, names of labels."""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_corpora import (
    WORDS,
    fit_in_folder,
    make_rows,
    model_bytes,
    small_params,
    write_rows,
)
from xrt.data.corpus import Corpus
from xrt.data.formats import read_corpus
from xrt.errors import DataError
from xrt.fusion.fusion import Fusion
from xrt.model import XrtModel
from xrt.model_encoder import ModelEncoder
from xrt.pipeline import PipelineParams, train
from xrt.predict import Predictor
from xrt.sources.hybrid_trees import HybridTrees
from xrt.sources.name_meanings import NameMeanings
from xrt.sources.neighbours import NeighbourSource
from xrt.storage.reading import load_array, read_json_bounded

TEXTS = [row["title"] for row in make_rows(30, seed=9)]
ALL = {"embedding_weight": 0.7, "frozen_weight": 0.5, "num_deep_trees": 2}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRT_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> PipelineParams:
    """A corpus whose labels have names: the word that their texts mostly hold."""
    folder = tmp_path_factory.mktemp("data")
    write_rows(folder / "trn.jsonl", make_rows(140, seed=0))
    names = folder / "labels.tsv"
    names.write_text("".join(f"{word.upper()}\t{word}\n" for word in WORDS))
    params = small_params(folder / "trn.jsonl", label_text_weight=0.0)
    return replace(params, dataset=replace(params.dataset, labels=str(names)))


@pytest.fixture(scope="module")
def run_folder(params: PipelineParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without any of it; tests that change something work on a copy."""
    folder = tmp_path_factory.mktemp("run") / "small"
    train(params, folder)
    return folder


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "copy"))


def corpus_of(params: PipelineParams) -> Corpus:
    assert params.dataset.trn is not None
    return read_corpus(params.dataset.trn, label_names=params.dataset.labels)


def stages_that_run(params: PipelineParams, folder: Path, caplog: Any) -> set[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, "xrt.storage.stages"):
        train(params, folder)
    told = [record.getMessage() for record in caplog.records if record.name == "xrt.storage.stages"]
    return {text.split(":")[0] for text in told if ": runs (" in text}


def encoder_of(model: XrtModel) -> ModelEncoder:
    assert model.encoder is not None
    return model.encoder


def ranked(model: XrtModel) -> np.ndarray:
    """Scores of the rankers alone."""
    alone = replace(model, fusion=Fusion({"ranker": 1.0}), calibration=None)
    scores_NL: np.ndarray = alone.predict(TEXTS, len(WORDS)).toarray()
    return scores_NL


def linear(model: XrtModel) -> XrtModel:
    """The linear trees alone."""
    return replace(model, fusion=Fusion({"linear": 1.0}), calibration=None)


def test_all_of_it_is_saved_and_loaded(params: PipelineParams, copied: Path, caplog: Any):
    changed = replace(params, **ALL, label_text_weight=0.5)  # type: ignore[arg-type]
    ran = stages_that_run(changed, copied, caplog)
    assert {"frozen", "label-names", "fit-ranker-2", "ranker-tree-2", "linear"} <= ran
    assert not {"features", "matcher", "matcher-tree"} & ran
    assert stages_that_run(changed, copied, caplog) == set()
    loaded = Predictor.load(copied / "model").model
    hybrid, encoder = loaded.source(HybridTrees), encoder_of(loaded)
    assert len(hybrid.trees) == 2
    assert (encoder.weight, encoder.frozen_weight) == (0.7, 0.5)
    assert loaded.embed(TEXTS).shape == (len(TEXTS), 64)
    kept = fit_in_folder(changed, corpus_of(params), copied).model
    np.testing.assert_array_equal(ranked(loaded), ranked(kept))


def test_a_frozen_block_of_weight_0_is_as_none(params: PipelineParams, copied: Path):
    before = model_bytes(copied / "model")
    assert not (copied / "stages" / "frozen").exists()
    assert not (copied / "model" / "frozen-encoder").exists()
    train(replace(params, frozen_weight=0.0), copied)
    assert model_bytes(copied / "model") == before


def test_rankers_read_both_encoders(params: PipelineParams, copied: Path):
    train(replace(params, frozen_weight=0.5), copied)
    model = Predictor.load(copied / "model").model
    encoder = encoder_of(model)
    assert encoder.frozen is not None
    stages = copied / "stages"
    expected_NM = np.hstack(
        [
            load_array(stages / name / "embeddings.npy", np.float32, 2)
            for name in ("matcher", "frozen")
        ]
    )
    corpus = corpus_of(params)
    assert corpus.texts is not None
    np.testing.assert_allclose(model.embed(corpus.texts), expected_NM, atol=1e-5)
    whole_NL = ranked(model)
    tuned_twice = replace(encoder, frozen=encoder.tuned)
    assert not np.array_equal(ranked(replace(model, encoder=tuned_twice)), whole_NL)
    with pytest.raises(DataError, match="embeddings have 32 columns, this model's have 64"):
        model.predict(TEXTS, embeddings_NM=np.zeros((len(TEXTS), 32), np.float32))


def test_the_first_of_several_trees_is_the_one_alone(params: PipelineParams, copied: Path):
    one = Predictor.load(copied / "model").model.trees
    train(replace(params, num_deep_trees=2), copied)
    model = Predictor.load(copied / "model").model
    ranker = model.trees
    assert (copied / "model" / "ranker" / "1" / "level.1").is_dir()
    for level, alone in zip(ranker.levels, one.levels, strict=True):
        np.testing.assert_array_equal(level.entry_values, alone.entry_values)
        np.testing.assert_array_equal(level.dense, alone.dense)
    first, second = (tree.tree.parents[-1] for tree in ranker.trees)
    assert not np.array_equal(first, second)


def test_names_are_rows_in_training_only(params: PipelineParams, copied: Path):
    before = Predictor.load(copied / "model").model
    train(replace(params, label_text_weight=1.0), copied)
    after = Predictor.load(copied / "model").model
    assert ranked(after).shape == ranked(before).shape
    assert not np.array_equal(ranked(after), ranked(before))
    assert not np.array_equal(
        linear(after).predict(TEXTS, 5).toarray(), linear(before).predict(TEXTS, 5).toarray()
    )
    counts_L = load_array(copied / "model" / "label_counts.npy", np.int64, 1)
    np.testing.assert_array_equal(counts_L, corpus_of(params).Y.sum(axis=0))
    manifest = read_json_bounded(copied / "model" / "manifest.json")
    assert manifest["training"]["num_rows"] == 140
    for source in after.sources.values():
        assert not isinstance(source, NeighbourSource) or source.num_texts == 140
    fused = read_json_bounded(copied / "stages" / "fusion" / "fused" / "scores.json")
    assert NameMeanings.name in fused["figures"]["alone"], "names are a source by their meaning"


def test_other_names_train_rankers_and_fusion_anew(
    params: PipelineParams, copied: Path, caplog: Any, tmp_path: Path
):
    named = replace(params, label_text_weight=0.5)
    train(named, copied)
    names = tmp_path / "labels.tsv"
    names.write_text("".join(f"{word.upper()}\t{word} {word}\n" for word in WORDS))
    other = replace(named, dataset=replace(params.dataset, labels=str(names)))
    ran = stages_that_run(other, copied, caplog)
    assert {"label-names", "linear", "fit-linear", "fit-ranker", "ranker", "fusion"} <= ran
    assert not {"features", "matcher-tree", "matcher"} & ran


def test_an_open_length_is_chosen_on_the_rows_held_out(
    params: PipelineParams, copied: Path, caplog: Any
):
    changed = replace(params, embedding_weight=None, frozen_weight=0.5)
    assert {"block-weights", "frozen", "fit-ranker"} <= stages_that_run(changed, copied, caplog)
    told = read_json_bounded(copied / "stages" / "block-weights" / "weights.json")
    best, plain = told["tried"][told["chosen"]], told["tried"][0]
    assert {one["frozen_weight"] for one in told["tried"]} == {0.0, 0.5}
    assert (plain["weight"], plain["frozen_weight"]) == (1.0, 0.0)
    highest = max((one["P@1"] + one["nDCG@10"]) / 2 for one in told["tried"])
    judged = told["judgement"]
    if judged is None or not judged["ships"]:
        assert told["chosen"] == 0
    if judged is None:
        assert (plain["P@1"] + plain["nDCG@10"]) / 2 == highest
    else:
        assert judged["learnt"] == pytest.approx(highest)
        assert judged["plain"] == pytest.approx((plain["P@1"] + plain["nDCG@10"]) / 2)
    encoder = encoder_of(Predictor.load(copied / "model").model)
    assert encoder.weight == best["weight"]
    assert (encoder.frozen is not None) == (best["frozen_weight"] > 0)
    fixed = replace(params, embedding_weight=best["weight"], frozen_weight=best["frozen_weight"])
    assert stages_that_run(fixed, copied, caplog) == set()
