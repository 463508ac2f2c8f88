"""The labelling model: judges (query, value) pairs from all evidence, and its calibration.

Boosted trees over the features of clicks and words, trained on pairs where both agree.
Probabilities are calibrated by isotonic regression on the queries held out of the trees, one in
four. Trees are trained on one thread, so that they do not depend on how many there are.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from xrt.errors import DataError

_MAX_ITERATIONS = 100
_LEARNING_RATE = 0.1
_MAX_LEAVES = 31
_MIN_LEAF = 40
_MIN_EACH = 20
_HELD_OUT = 4


@dataclass(frozen=True)
class Examples:
    """P judged pairs: features_PF, verdict_P (0 or 1), query_P (all of a query are in one fold),
    weight_P.
    """

    features_PF: np.ndarray
    verdict_P: np.ndarray
    query_P: np.ndarray
    weight_P: np.ndarray

    def joined(self, other: "Examples") -> "Examples":
        """Both, one after the other."""
        return Examples(
            np.concatenate([self.features_PF, other.features_PF]),
            np.concatenate([self.verdict_P, other.verdict_P]),
            np.concatenate([self.query_P, other.query_P]),
            np.concatenate([self.weight_P, other.weight_P]),
        )


class LabellingModel:
    """Probability that a value is meant, for features as in CLICK_FEATURES + WORD_FEATURES."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._trees: Any = None
        self._curve: Any = None
        self._silent_F = np.zeros(0, bool)

    def fit(self, examples: Examples) -> "LabellingModel":
        """Train on judged pairs.

        Raises DataError: clicks and names agree on too few pairs to learn from.
        """
        from sklearn.isotonic import IsotonicRegression

        true = int(examples.verdict_P.sum())
        if min(true, len(examples.verdict_P) - true) < _MIN_EACH:
            raise DataError(
                f"labelling model: clicks and names agree on {true} true and "
                f"{len(examples.verdict_P) - true} false pairs, {_MIN_EACH} of each are needed; "
                "give more clicks, or names to values",
                settings={"names": "to name values"},
            )
        self._silent_F = np.isnan(examples.features_PF).all(axis=0)
        inside = examples.query_P % _HELD_OUT != 0
        if len(np.unique(examples.verdict_P[inside])) < 2 or inside.all():
            inside = np.arange(len(inside)) % _HELD_OUT != 0
        outside = ~inside
        self._trees = self._train(examples, inside)
        self._curve = IsotonicRegression(y_min=0.001, y_max=0.999, out_of_bounds="clip").fit(
            self._raw(examples.features_PF[outside]),
            examples.verdict_P[outside],
            examples.weight_P[outside],
        )
        return self

    def predict(self, features_PF: np.ndarray) -> np.ndarray:
        """Calibrated probabilities: float64 (P,)."""
        if not len(features_PF):
            return np.zeros(0)
        probabilities_P: np.ndarray = self._curve.predict(self._raw(features_PF))
        return probabilities_P

    def _raw(self, features_PF: np.ndarray) -> np.ndarray:
        with threadpool_limits(1, "openmp"):
            raw_P: np.ndarray = self._trees.predict_proba(self._without_silent(features_PF))[:, 1]
            return raw_P

    def _without_silent(self, features_PF: np.ndarray) -> np.ndarray:
        """Features that no example had (impressions, say) as zeros, which the trees pass over."""
        return np.where(self._silent_F, np.float32(0), features_PF)

    def _train(self, examples: Examples, rows: np.ndarray) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        trees = HistGradientBoostingClassifier(
            learning_rate=_LEARNING_RATE,
            max_iter=_MAX_ITERATIONS,
            max_leaf_nodes=_MAX_LEAVES,
            min_samples_leaf=_MIN_LEAF,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        )
        with threadpool_limits(1, "openmp"):
            return trees.fit(
                self._without_silent(examples.features_PF[rows]),
                examples.verdict_P[rows],
                examples.weight_P[rows],
            )
