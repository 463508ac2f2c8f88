"""XRTransformer: judged, saved and opened again."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from tests.small_corpora import model_bytes
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.errors import ConfigError, DataError
from xrt.estimators import XRLinear, XRTransformer
from xrt.fusion.fusion import Fusion
from xrt.pipeline import PipelineParams
from xrt.storage.artifact import open_artifact

Tiny = tuple[list[str], sp.csr_array, tuple[str, ...]]


def dense(scores_NL: sp.csr_array) -> np.ndarray:
    return scores_NL.toarray()


def test_a_transformer_goes_round(tiny_corpus: Tiny, tmp_path: Path):
    texts, Y_NL, _ = tiny_corpus
    settings: dict[str, Any] = {
        "encoder": "tiny-random", "max_length": 8, "num_epochs": 0.5, "always_deep": True
    }  # fmt: skip
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    first = XRTransformer(**settings, num_threads=1).fit(texts, Y_NL)
    # later stages must end on SIGTERM, too
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    scores_NL = dense(first.predict(texts, 3))
    assert first.model_.kind == "transformer"
    assert scores_NL.shape == Y_NL.shape
    kept = XRTransformer(**settings, num_threads=2, run_folder=str(tmp_path / "run"))
    np.testing.assert_array_equal(dense(kept.fit(texts, Y_NL).predict(texts, 3)), scores_NL)
    kept.save(tmp_path / "m")
    first.save(tmp_path / "memory")  # every part but what tells of threads, the same bytes
    in_memory, in_folder = (
        model_bytes(tmp_path / name, "manifest.json", "README.md") for name in ("memory", "m")
    )
    assert in_memory == in_folder
    assert any(name.startswith("encoder/") for name in in_folder)
    assert str(tmp_path) not in (tmp_path / "m" / "manifest.json").read_text()
    loaded = XRTransformer.load(tmp_path / "m")
    assert loaded.verdict_ == kept.verdict_ == first.verdict_
    assert loaded.get_params() == {**kept.get_params(), "run_folder": None}
    np.testing.assert_array_equal(dense(loaded.predict(texts, 3)), scores_NL)
    ranked = replace(loaded.model_, fusion=Fusion({"ranker": 1.0}))
    with pytest.raises(DataError, match="reads texts, not rows of features"):
        ranked.predict(loaded.model_.rows_of(texts))
    with pytest.raises(DataError, match=r"k = 0"):
        loaded.predict(texts, 0)


def test_a_transformer_that_is_not_better_is_the_linear_model(
    tiny_corpus: Tiny, tmp_path: Path, caplog: Any
):
    texts, Y_NL, _ = tiny_corpus
    estimator = XRTransformer(encoder="tiny-random", max_length=8, num_epochs=0.1, num_threads=1)
    estimator.fit(texts, Y_NL)
    assert not estimator.verdict_.deep_wins
    assert estimator.model_.kind == "linear"
    warned = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert warned[-1] == estimator.verdict_.message
    assert all(message.startswith("validation: 3 rows wanted") for message in warned[:-1])
    scores_NL = dense(estimator.predict(texts, 3))
    np.testing.assert_array_equal(scores_NL > 0.5, Y_NL.toarray() > 0)
    estimator.save(tmp_path / "m")
    assert open_artifact(tmp_path / "m").kind == "linear"
    assert "The linear model is saved." in (tmp_path / "m" / "README.md").read_text()
    again = XRTransformer.load(tmp_path / "m")
    assert again.verdict_ == estimator.verdict_
    assert again.get_params() == estimator.get_params()
    np.testing.assert_array_equal(dense(again.predict(texts, 3)), scores_NL)
    assert XRLinear.load(tmp_path / "m").model_.kind == "linear"
    with pytest.raises(DataError, match="no row can be held out to judge the encoder"):
        estimator.fit([texts[0]] * 3, np.eye(3))


def test_a_model_outlives_the_folder_that_it_was_trained_in(tiny_corpus: Tiny, tmp_path: Path):
    texts, Y_NL, _ = tiny_corpus
    estimator = XRTransformer(
        encoder="tiny-random", max_length=8, num_epochs=0.1, num_threads=1, always_deep=True
    ).fit(texts, Y_NL)
    estimator.save(tmp_path / "m")
    loaded = XRTransformer.load(tmp_path / "m")
    np.testing.assert_array_equal(dense(loaded.predict(texts)), dense(estimator.predict(texts)))


def test_all_settings_at_once_with_lightnings_own_objects(tiny_corpus: Tiny, tmp_path: Path):
    texts, Y_NL, _ = tiny_corpus
    params = PipelineParams(
        encoder=EncoderParams(name="tiny-random", max_length=8),
        matcher=MatcherParams(steps=3),
        always_deep=True,
        num_threads=1,
    )
    counter = Counter()
    logger = CSVLogger(tmp_path, name="mine")
    estimator = XRTransformer(params=params, callbacks=[counter], logger=logger)
    estimator.fit(texts, Y_NL)
    assert counter.steps == 3
    assert estimator.model_.kind == "transformer"
    assert list(tmp_path.rglob("metrics.csv"))
    estimator.save(tmp_path / "m")
    assert XRTransformer.load(tmp_path / "m").get_params()["params"] is None
    with pytest.raises(ConfigError, match="beam_size: params has all settings"):
        XRTransformer(params=params, beam_size=3).fit(texts, Y_NL)
    with pytest.raises(ConfigError, match="encoder is None"):
        XRTransformer(params=PipelineParams()).fit(texts, Y_NL)


class Counter(Callback):
    """Counts steps."""

    steps = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps += 1
