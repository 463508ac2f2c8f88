"""A matcher whose tree has features of its own is kept when the features of the rankers change."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_corpora import make_rows, model_bytes, small_params, write_rows
from xrt.config import build, compose, pipeline_params
from xrt.features.tfidf_params import TfidfParams
from xrt.pipeline import PipelineParams, train
from xrt.predict import Predictor

WORDS = TfidfParams()
BOTH = TfidfParams(char_ngrams=(2, 3))
TEXTS = [row["title"] for row in make_rows(20, seed=9)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRT_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> PipelineParams:
    folder = tmp_path_factory.mktemp("data")
    trn = write_rows(folder / "trn.jsonl", make_rows(140, seed=0))
    return small_params(trn, write_rows(folder / "tst.jsonl", make_rows(30, seed=1)))


def stages_that_run(params: PipelineParams, folder: Path, caplog: Any) -> set[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, "xrt.stages"):
        train(params, folder)
    told = [record.getMessage() for record in caplog.records if record.name == "xrt.stages"]
    return {text.split(":")[0] for text in told if ": runs (" in text}


def test_other_features_keep_the_matcher(params: PipelineParams, tmp_path: Path, caplog: Any):
    run = tmp_path / "run"
    assert {"matcher-tree", "matcher"} <= stages_that_run(params, run, caplog)
    before = model_bytes(run / "model")

    swept = replace(params, features=BOTH, matcher_features=WORDS)
    ran = stages_that_run(swept, run, caplog)
    assert {"features", "matcher-features", "linear", "ranker"} <= ran
    assert not ran & {"matcher-tree", "matcher"}
    after = model_bytes(run / "model")
    assert after["encoder/model.safetensors"] == before["encoder/model.safetensors"]
    assert after["ranker/level.1/entry_values.npy"] != before["ranker/level.1/entry_values.npy"]

    fresh = tmp_path / "fresh"
    train(swept, fresh)
    assert model_bytes(fresh / "model", "model_card.json", "README.md") == model_bytes(
        run / "model", "model_card.json", "README.md"
    )
    scores = Predictor.load(run / "model").scores(TEXTS, 5).toarray()
    np.testing.assert_array_equal(
        Predictor.load(fresh / "model").scores(TEXTS, 5).toarray(), scores
    )


def test_the_same_features_are_not_made_twice(params: PipelineParams, tmp_path: Path, caplog: Any):
    run = tmp_path / "run"
    stages_that_run(params, run, caplog)
    assert stages_that_run(replace(params, matcher_features=WORDS), run, caplog) == set()
    assert not (run / "stages" / "matcher-features").exists()


def test_the_preset_keeps_the_matcher_of_the_one_it_builds_on():
    names = ("tibkat_long", "tibkat_chars")
    plain, chars = (build(pipeline_params(), compose([f"experiment={name}"])) for name in names)
    assert chars.matcher_features == plain.features
    assert chars.features.char_ngrams == (4, 4)
    changed = {"features", "matcher_features", "dataset"}
    for name in vars(plain):
        assert name in changed or getattr(chars, name) == getattr(plain, name), name
