"""The choice of the path weight finds an optimum that was planted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.fusion.path_weight import PATH_WEIGHTS, choose_path_weight
from xrt.hybrid import HybridMatrix
from xrt.search.beam import SearchParams
from xrt.sparse import as_csr

NUM_LABELS = 12
TRUE = 3


@dataclass
class Planted:
    """Ranks the true label first at one path weight, lower the farther the weight is from it."""

    best: float
    asked: list[SearchParams]

    def search(
        self, X: HybridMatrix, k: int, params: SearchParams, num_threads: int | None = None
    ) -> sp.csr_array:
        self.asked.append(params)
        assert params.path_weight is not None
        place = min(k - 1, round(4 * abs(params.path_weight - self.best)))
        scores_NL = np.tile(np.linspace(1, 0.5, NUM_LABELS), (X.num_rows, 1))
        others = np.delete(np.arange(NUM_LABELS), TRUE)
        order = np.insert(others, place, TRUE)
        ranked_NL = np.empty_like(scores_NL)
        ranked_NL[:, order] = scores_NL
        return as_csr(ranked_NL)


@pytest.mark.parametrize("best", [0.0, 0.5, 1.0, 2.0])
def test_a_planted_optimum_is_found(best: float):
    X, Y = HybridMatrix.of(np.ones((5, 1))), as_csr(np.eye(NUM_LABELS)[[TRUE] * 5])
    trial = Planted(best, [])
    chosen = choose_path_weight(trial, X, Y, SearchParams(beam_size=7))  # type: ignore[arg-type]
    assert chosen.path_weight == best
    assert chosen.figures[best] == {"P@1": 1.0, "nDCG@10": 1.0}
    assert {params.beam_size for params in trial.asked} == {7}
    assert [params.path_weight for params in trial.asked] == list(PATH_WEIGHTS)


@pytest.mark.parametrize("weights", [(0.7, 0.5, 0.35), (0.35, 0.7)])
def test_among_equals_the_first_wins(weights: Sequence[float]):
    class Same(Planted):
        def search(self, X, k, params, num_threads=None):  # type: ignore[no-untyped-def]
            return as_csr(np.eye(NUM_LABELS)[[TRUE] * X.num_rows])

    X, Y = HybridMatrix.of(np.ones((5, 1))), as_csr(np.eye(NUM_LABELS)[[TRUE] * 5])
    chosen = choose_path_weight(Same(0, []), X, Y, SearchParams(), weights=weights)  # type: ignore[arg-type]
    assert chosen.path_weight == weights[0]


def test_a_weight_that_chance_explains_leaves_the_plain_one():
    """Right on one row more, and not on the same rows."""

    class Noisy(Planted):
        def search(self, X, k, params, num_threads=None):  # type: ignore[no-untyped-def]
            rows = np.arange(20)  # eleven right by one, ten others by the other
            right = rows < 11 if params.path_weight == 0.5 else rows >= 10
            return as_csr(np.eye(NUM_LABELS)[np.where(right, TRUE, TRUE + 1)])

    X, Y = HybridMatrix.of(np.ones((20, 1))), as_csr(np.eye(NUM_LABELS)[[TRUE] * 20])
    chosen = choose_path_weight(Noisy(0, []), X, Y, SearchParams(), weights=(0.5, 1.0))  # type: ignore[arg-type]
    assert chosen.figures[0.5]["P@1"] > chosen.figures[1.0]["P@1"]
    assert chosen.path_weight == 1.0
    assert chosen.judgement is not None
    assert not chosen.judgement.ships
    assert chosen.judgement.learnt > chosen.judgement.plain
