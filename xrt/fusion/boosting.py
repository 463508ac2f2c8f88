"""Boosted trees that score a candidate anew from all that is known of it: the last step.

Fitted on held-out rows by scikit-learn's histogram gradient boosting, kept as plain arrays, and
walked by a compiled kernel. What they look at: `features`.

N rows, L labels, P candidates (the entries of a csr matrix), D features, J nodes of all trees.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError
from xrt.fusion.candidates import Candidates
from xrt.fusion.features import feature_names, gather_features
from xrt.jit import njit
from xrt.storage.array_faults import rises
from xrt.storage.atomic import save_array, write_json
from xrt.storage.reading import load_array
from xrt.storage.saved_values import SavedValues

NUM_TREES = 160
LEAVES = 16
LEARNING_RATE = 0.05
MIN_LEAF = 100
L2 = 5.0
"""Small trees: by cross-validation on 2,000 held-out rows of tibkat, and no worse on 487 of
bigbasket (bench/records/2026-12-01-ranking.md)."""

_ARRAYS = {"starts": np.int32, "feature": np.int32, "left": np.int32, "right": np.int32}
_REAL_ARRAYS = {"threshold": np.float64, "value": np.float64}


@dataclass(frozen=True, eq=False)
class Booster:
    """Trees over the features of candidates, as `gather_features` gives them.

    A node with `feature_J` -1 is a leaf that adds `value_J`; others send a candidate to `left_J`
    where its feature is at most `threshold_J`, else to `right_J`. `starts` (T + 1,) says where the
    nodes of each tree begin; children stand behind their parent. `bias` is what scores start from,
    in log odds.
    """

    sources: tuple[str, ...]
    bias: float
    starts: np.ndarray
    feature_J: np.ndarray
    threshold_J: np.ndarray
    left_J: np.ndarray
    right_J: np.ndarray
    value_J: np.ndarray

    def apply(
        self,
        mean_NL: sp.csr_array,
        candidates: Candidates,
        label_counts_L: np.ndarray,
    ) -> sp.csr_array:
        """The candidates with new scores in (0, 1).

        Args:
            mean_NL: the candidates' weighted mean over the sources, csr_array (N, L) with an entry
                for each candidate.
            candidates: the same candidates with the score of every source.
            label_counts_L: training rows of each label, (L,).

        Returns:
            csr_array (N, L), with an entry for each candidate.
        """
        features_PD = gather_features(mean_NL, candidates, self.sources, label_counts_L)
        scored = mean_NL.copy()
        scored.data = _walk(
            features_PD, self.bias, self.starts, self.feature_J, self.threshold_J, self.left_J,
            self.right_J, self.value_J,
        )  # fmt: skip
        return scored

    def save(self, folder: Path) -> None:
        """Write the trees into a folder.

        Args:
            folder: the folder; it is made where it does not exist.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*_ARRAYS, *_REAL_ARRAYS):
            save_array(folder / f"{name}.npy", self._array(name))
        features = list(feature_names(self.sources))
        head = {"sources": list(self.sources), "features": features, "bias": self.bias}
        write_json(folder / "booster.json", head)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Args:
            folder: the folder that `save` wrote.

        Returns:
            The trees.

        Raises:
            ArtifactError: it is damaged.
        """
        head = SavedValues.read(folder / "booster.json")
        sources, bias = head.texts("sources"), head.number("bias")
        if not head.has("features") or head.texts("features") != feature_names(sources):
            raise ArtifactError(
                f"{folder}: boosted trees over the features of another version; train the model "
                "anew, or use it with the version of xrt that trained it"
            )
        arrays: dict[str, np.ndarray] = {
            name: load_array(folder / f"{name}.npy", kind, 1)
            for name, kind in (_ARRAYS | _REAL_ARRAYS).items()
        }
        starts = arrays.pop("starts")
        booster = cls(sources, bias, starts, **{f"{n}_J": a for n, a in arrays.items()})
        if not booster.is_sound():
            raise ArtifactError(f"{folder}: trees that do not hang together; train it anew")
        return booster

    def is_sound(self) -> bool:
        """Whether every walk ends: children lie behind their parent, in the same tree.

        Returns:
            False, too, where arrays differ in length, a feature is unknown, or a number is not
            finite.
        """
        starts, nodes = self.starts, np.arange(len(self.feature_J))
        lengths = {len(self._array(name)) for name in (*_ARRAYS, *_REAL_ARRAYS) if name != "starts"}
        if lengths != {len(nodes)} or len(starts) < 2 or not rises(starts, len(nodes), 1):
            return False
        inner, end_J = self.feature_J >= 0, np.repeat(starts[1:], np.diff(starts))
        behind = [(c > nodes) & (c < end_J) for c in (self.left_J, self.right_J)]
        return bool(
            all(child_J[inner].all() for child_J in behind)
            and (self.feature_J >= -1).all()
            and (self.feature_J < len(feature_names(self.sources))).all()
            and not np.isnan(self.threshold_J).any()
            and np.isfinite(self.value_J).all()
            and np.isfinite(self.bias)
        )

    def _array(self, name: str) -> np.ndarray:
        array: np.ndarray = getattr(self, name if name == "starts" else f"{name}_J")
        return array


def fit_booster(
    mean_NL: sp.csr_array,
    candidates: Candidates,
    hits_P: np.ndarray,
    label_counts_L: np.ndarray,
    seed: int = 0,
    weights_P: np.ndarray | None = None,
) -> Booster | None:
    """Trees that tell the true candidates (`hits_P`, bool) from the others; None where there are
    fewer than MIN_LEAF of either kind.

    Labels without training rows are left out: on held-out rows they are there because all of their
    rows were held out, so that "no training row" would mean "true here". No label of the model that
    ships tells such a thing.

    Args:
        mean_NL: the candidates' weighted mean over the sources, csr_array (N, L) with an entry for
            each candidate.
        candidates: the same candidates with the score of every source.
        hits_P: whether each candidate is true, bool (P,).
        label_counts_L: training rows of each label, (L,).
        seed: seed of what is random.
        weights_P: how much each candidate counts, (P,); None counts all alike.

    Returns:
        The trees, or None.
    """
    known_P = label_counts_L[mean_NL.indices] > 0
    num_hits = int(hits_P[known_P].sum())
    if min(num_hits, int(known_P.sum()) - num_hits) < MIN_LEAF:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    names = candidates.names
    features_PD = gather_features(mean_NL, candidates, names, label_counts_L)[known_P]
    weights_P = None if weights_P is None else weights_P[known_P]
    booster = HistGradientBoostingClassifier(
        max_iter=NUM_TREES, learning_rate=LEARNING_RATE, max_leaf_nodes=LEAVES,
        min_samples_leaf=MIN_LEAF, l2_regularization=L2, early_stopping=False, random_state=seed,
    )  # fmt: skip
    with threadpool_limits(1, "openmp"):  # on a busy machine threads that wait take minutes
        fitted = booster.fit(features_PD, hits_P[known_P], weights_P)
    return _as_arrays(fitted, names)


def _as_arrays(fitted: Any, names: tuple[str, ...]) -> Booster:
    """The nodes of scikit-learn's trees, one tree behind the other."""
    trees = [predictor.nodes for (predictor,) in fitted._predictors]
    starts = np.concatenate([[0], np.cumsum([len(nodes) for nodes in trees])]).astype(np.int32)
    joined = np.concatenate(trees)
    offset_J = np.repeat(starts[:-1], np.diff(starts))
    leaf_J = joined["is_leaf"].astype(bool)
    return Booster(
        sources=names,
        bias=float(np.ravel(fitted._baseline_prediction)[0]),
        starts=starts,
        feature_J=np.where(leaf_J, -1, joined["feature_idx"]).astype(np.int32),
        threshold_J=joined["num_threshold"].astype(np.float64),
        left_J=(joined["left"] + offset_J).astype(np.int32),
        right_J=(joined["right"] + offset_J).astype(np.int32),
        value_J=joined["value"].astype(np.float64),
    )


@njit(nogil=True, cache=True)
def _walk(
    features_PD: np.ndarray,
    bias: float,
    starts: np.ndarray,
    feature_J: np.ndarray,
    threshold_J: np.ndarray,
    left_J: np.ndarray,
    right_J: np.ndarray,
    value_J: np.ndarray,
) -> np.ndarray:
    """Sigmoid of the sum of the leaves that each candidate falls into: float32 (P,)."""
    scores_P = np.empty(len(features_PD), np.float32)
    for p in range(len(features_PD)):
        total = bias
        for tree in range(len(starts) - 1):
            node = starts[tree]
            while feature_J[node] >= 0:
                below = features_PD[p, feature_J[node]] <= threshold_J[node]
                node = left_J[node] if below else right_J[node]
            total += value_J[node]
        scores_P[p] = 1.0 / (1.0 + np.exp(-total))
    return scores_P
