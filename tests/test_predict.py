"""`Predictor` over a model that answers what it is told to."""

import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.data.labels import LabelTable
from xrt.errors import ArtifactError, DataError
from xrt.predict import Predictor, Suggestion


class Spelling:
    """Scores label c, one of a..e, by its share of the text's letters."""

    labels = LabelTable.from_ids("abcde", ["Alpha", "", "Gamma", "Delta", ""])

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, texts: list[str], k: int, **_: Any) -> sp.csr_array:
        if k < 1:
            raise DataError(f"k = {k}: ask for at least 1 label")
        self.batches.append(len(texts))
        shares = [[text.count(c) / max(1, len(text)) for c in "abcde"] for text in texts]
        return sp.csr_array(np.array(shares, np.float32).reshape(len(texts), 5))


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(Spelling())  # type: ignore[arg-type]


def test_suggestions_come_best_first_ties_by_the_lower_label(predictor: Predictor):
    (found,) = predictor.predict(["eebbac"], k=3)
    assert [s.label for s in found] == ["b", "e", "a"]
    assert found[2] == Suggestion("a", "Alpha", pytest.approx(1 / 6))
    assert found[0].name == ""


def test_one_text_gives_one_list(predictor: Predictor):
    assert predictor.predict("aab", k=1) == [Suggestion("a", "Alpha", pytest.approx(2 / 3))]
    assert predictor.predict("aab") == predictor.predict(["aab"])[0]


def test_there_may_be_fewer_than_k_or_none(predictor: Predictor):
    assert [len(found) for found in predictor.predict(["ab", "", "xyz"], k=5)] == [2, 0, 0]
    assert predictor.predict([]) == []


def test_low_scores_are_left_out(predictor: Predictor):
    (found,) = predictor.predict(["aaabbc"], min_score=0.3)
    assert [s.label for s in found] == ["a", "b"]


def test_k_below_1_is_refused(predictor: Predictor):
    with pytest.raises(DataError, match="k = 0"):
        predictor.predict("a", k=0)


def test_a_stream_is_read_batch_by_batch(predictor: Predictor):
    taken = itertools.count()
    endless = ("ab"[next(taken) % 2] for _ in itertools.count())
    answers = predictor.stream(endless, k=1, batch_size=4)
    assert [next(answers)[0].label for _ in range(6)] == list("ababab")
    assert next(taken) == 8
    assert predictor.model.batches == [4, 4]  # type: ignore[attr-defined]


def test_texts_may_be_any_sequence(predictor: Predictor):
    for texts in (("a", "b"), np.array(["a", "b"])):
        assert [found[0].label for found in predictor.predict(texts, k=1)] == ["a", "b"]  # type: ignore[arg-type]


def test_no_model_is_refused(tmp_path: Any):
    with pytest.raises(ArtifactError, match="does not exist"):
        Predictor.load(tmp_path / "none")
    with pytest.raises(ArtifactError, match=r"has no manifest\.json"):
        Predictor.load(tmp_path)


def test_prediction_needs_neither_lightning_nor_hydra():
    script = (
        "import sys, xrt.predict; "
        "print(sorted({'lightning', 'hydra', 'omegaconf', 'pytorch_lightning'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
