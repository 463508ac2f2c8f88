"""Estimators as folders: saved, opened again, and refused where they are something else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.data.corpus import Corpus, LabelTable
from xrt.data.formats import write_corpus
from xrt.errors import ArtifactError, XrtError
from xrt.estimators import XRLinear, XRTransformer
from xrt.evaluate import evaluate_model
from xrt.features.tfidf_params import TfidfParams
from xrt.predict import Predictor
from xrt.progress import SilentProgress
from xrt.storage.artifact import open_artifact

Tiny = tuple[list[str], sp.csr_array, tuple[str, ...]]


def linear(**settings: Any) -> XRLinear:
    return XRLinear(**{"max_leaf_size": 3, "num_threads": 1, **settings})


def dense(scores_NL: sp.csr_array) -> np.ndarray:
    return scores_NL.toarray()


@pytest.fixture(scope="module")
def fitted(tiny_corpus: Tiny) -> XRLinear:
    texts, Y_NL, _ = tiny_corpus
    return linear().fit(texts, Y_NL)


def test_what_was_saved_is_loaded_with_its_settings(tiny_corpus: Tiny, tmp_path: Path):
    texts, Y_NL, _ = tiny_corpus
    features = TfidfParams(char_ngrams=(2, 3), min_df=1)
    estimator = linear(seed=3, beam_size=2, features=features, progress=SilentProgress())
    estimator.fit(texts, Y_NL)
    assert estimator.save(tmp_path / "m") == tmp_path / "m"
    loaded = XRLinear.load(tmp_path / "m")
    assert loaded.get_params() == {**estimator.get_params(), "progress": None}
    expected_NL = dense(estimator.predict(texts))
    np.testing.assert_array_equal(dense(loaded.predict(texts)), expected_NL)
    np.testing.assert_array_equal(dense(loaded.fit(texts, Y_NL).predict(texts)), expected_NL)
    np.testing.assert_array_equal(loaded.label_counts_, estimator.label_counts_)
    card = (tmp_path / "m" / "README.md").read_text()
    assert "| Training instances | 32 |" in card
    assert estimator.save(tmp_path / "m") == XRLinear.load(tmp_path / "m").save(tmp_path / "m")
    assert open_artifact(tmp_path / "m").manifest["training"]["num_rows"] == 32


def test_a_setting_of_an_earlier_version_does_not_keep_a_model_shut(
    tiny_corpus: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    texts, Y_NL, _ = tiny_corpus
    estimator = linear(features=TfidfParams(min_df=1)).fit(texts, Y_NL)
    settings = estimator._settings()
    settings["features"]["max_df"] = 0.9
    monkeypatch.setattr(estimator, "_settings", lambda: settings)
    estimator.save(tmp_path / "m")
    assert XRLinear.load(tmp_path / "m").features == TfidfParams(min_df=1)


def test_a_saved_estimator_is_a_model_like_any_other(
    fitted: XRLinear, tiny_corpus: Tiny, tmp_path: Path
):
    texts, Y_NL, _ = tiny_corpus
    fitted.save(tmp_path / "m")
    predictor = Predictor.load(tmp_path / "m")
    np.testing.assert_array_equal(
        dense(predictor.scores(texts, 5)), dense(fitted.predict(texts, 5))
    )
    labels = LabelTable.from_ids(str(label) for label in range(Y_NL.shape[1]))
    write_corpus(Corpus(texts=texts, Y=Y_NL, labels=labels), tmp_path / "tst.jsonl")
    assert evaluate_model(tmp_path / "m", tmp_path / "tst.jsonl").value("P@1") == 1.0


def test_the_wrong_kind_and_no_model_are_refused(fitted: XRLinear, tmp_path: Path):
    fitted.save(tmp_path / "m")
    with pytest.raises(ArtifactError, match="a linear model, XRTransformer opens transformer ones"):
        XRTransformer.load(tmp_path / "m")
    with pytest.raises(ArtifactError, match="does not exist"):
        XRLinear.load(tmp_path / "nowhere")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a")
    with pytest.raises(XrtError, match="not a saved model"):
        fitted.save(tmp_path / "notes")
