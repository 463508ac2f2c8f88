"""Any text is answered: alone as among others, soon, and without memory that stays."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from tests.deep_models import deep_model
from tests.torture_texts import SIGNS, torture_texts
from xrt.errors import DataError
from xrt.predict import Predictor
from xrt.sources.linear_trees import LinearTrees
from xrt.sources.registry import by_name

NO_TEXTS = (None, float("nan"), 7, b"red", ["red"], {"text": "red"}, object(), np.float32(1))


@pytest.fixture(scope="module")
def predictors(tiny_corpus, tmp_path_factory) -> dict[str, Predictor]:
    model = deep_model(tiny_corpus, tmp_path_factory.mktemp("tiny") / "encoder")
    bare = Predictor(Predictor(model).model, num_threads=2)
    linear = Predictor(
        type(model)(model.labels, model.features, by_name([model.source(LinearTrees)])),
        num_threads=2,
    )
    return {"linear": linear, "deep": bare}


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def check(predictor: Predictor, texts: list[str]) -> None:
    """Each text alone gets the scores that it gets among the others, within 10 CPU seconds."""
    labels = predictor.model.labels.ids
    together = predictor.score(texts, labels)
    assert np.isfinite(together).all()
    ranked = predictor.predict(texts)
    for row, text in enumerate(texts):
        start = time.process_time()
        alone = predictor.score([text], labels)[0]
        np.testing.assert_allclose(alone, together[row], atol=1e-4, err_msg=repr(text[:80]))
        seconds = time.process_time() - start
        assert seconds < 10, f"{seconds:.0f} s for {text[:80]!r}"
    assert all(0 < len(found) <= 5 for found in ranked)


@pytest.mark.parametrize("kind", ["linear", "deep"])
def test_every_odd_sign_is_answered(predictors, kind):
    check(predictors[kind], [*SIGNS, *(f"red {sign} mug" for sign in SIGNS)])


@pytest.mark.parametrize("kind", ["linear", "deep"])
def test_torture_texts_are_answered(predictors, kind):
    check(predictors[kind], torture_texts(60, seed=1, longest=200_000))


@pytest.mark.parametrize("kind", ["linear", "deep"])
@pytest.mark.parametrize("value", NO_TEXTS, ids=lambda value: type(value).__name__)
def test_what_is_no_text_is_named_by_its_row(predictors, kind, value):
    texts = torture_texts(9, seed=2, longest=1000)
    for row in (0, 5, 9):
        with pytest.raises(DataError, match=f"^text {row} is "):
            predictors[kind].predict([*texts[:row], value, *texts[row:]])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "deep"])
def test_two_thousand_torture_texts(predictors, kind):
    predictor = predictors[kind]
    check(predictor, torture_texts(50, seed=3, longest=10_000_000))  # what is made once
    before = resident()
    for seed in range(40):
        check(predictor, torture_texts(50, seed=100 + seed, longest=10_000_000))
    grown = resident() - before
    assert grown < 500 << 20, f"{grown >> 20} MB"
