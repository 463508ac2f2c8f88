"""Boosted trees that score a label anew from all that is known of it: the score of every source,
their weighted mean, and how often the label was seen in training.

Fitted on held-out rows by scikit-learn's histogram gradient boosting, kept as plain arrays, and
walked by a compiled kernel. What a label scores does not depend on the other labels of its row.

N rows, L labels, P candidates (the entries of a csr matrix), D features, J nodes of all trees.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError
from xrt.fusion.candidates import Candidates, look_up
from xrt.jit import njit
from xrt.storage.array_faults import rises
from xrt.storage.atomic import save_array, write_json
from xrt.storage.reading import load_array
from xrt.storage.saved_values import SavedValues

NUM_TREES = 80
LEAVES = 8
LEARNING_RATE = 0.08
MIN_LEAF = 100
L2 = 5.0
"""Small trees, few of them: found by cross-validation on 2,000 held-out rows of tibkat."""

_ARRAYS = {"starts": np.int32, "feature": np.int32, "left": np.int32, "right": np.int32}
_REAL_ARRAYS = {"threshold": np.float64, "value": np.float64}


@dataclass(frozen=True, eq=False)
class Booster:
    """Trees over the features [score of each source ; their mean ; log(1 + count of the label)].

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
        candidates_NL: sp.csr_array,
        sources: Mapping[str, sp.csr_array],
        label_counts_L: np.ndarray,
    ) -> sp.csr_array:
        """The same candidates with new scores in (0, 1): csr_array (N, L).

        Args:
            candidates_NL: weighted mean of the sources, csr_array (N, L), an entry for each
                candidate.
            sources: scores of each source by its name, csr_array (N, L).
            label_counts_L: training rows of each label, (L,).

        Returns:
            A copy of the candidates with the new scores.
        """
        features_PD = gather_features(candidates_NL, sources, self.sources, label_counts_L)
        scored = candidates_NL.copy()
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
        write_json(folder / "booster.json", {"sources": list(self.sources), "bias": self.bias})

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
            and (self.feature_J < len(self.sources) + 2).all()
            and not np.isnan(self.threshold_J).any()
            and np.isfinite(self.value_J).all()
            and np.isfinite(self.bias)
        )

    def _array(self, name: str) -> np.ndarray:
        array: np.ndarray = getattr(self, name if name == "starts" else f"{name}_J")
        return array


def fit_booster(
    candidates_NL: sp.csr_array,
    sources: Mapping[str, sp.csr_array],
    hits_P: np.ndarray,
    label_counts_L: np.ndarray,
    seed: int = 0,
    weights_P: np.ndarray | None = None,
) -> Booster | None:
    """Trees that tell the true candidates (`hits_P`, bool) from the others; None where there are
    fewer than MIN_LEAF of either kind.

    `candidates_NL` holds the weighted mean of the sources, `weights_P` how much each candidate
    counts.

    Args:
        candidates_NL: weighted mean of the sources, csr_array (N, L), an entry for each candidate.
        sources: scores of each source by its name, csr_array (N, L).
        hits_P: whether each candidate is true, bool (P,).
        label_counts_L: training rows of each label, (L,).
        seed: seed of what is random.
        weights_P: how much each candidate counts, (P,); None counts all alike.

    Returns:
        The trees, or None.
    """
    if min(int(hits_P.sum()), int((~hits_P).sum())) < MIN_LEAF:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier

    names = tuple(sources)
    features_PD = gather_features(candidates_NL, sources, names, label_counts_L)
    fitted = HistGradientBoostingClassifier(
        max_iter=NUM_TREES, learning_rate=LEARNING_RATE, max_leaf_nodes=LEAVES,
        min_samples_leaf=MIN_LEAF, l2_regularization=L2, early_stopping=False, random_state=seed,
    ).fit(features_PD, hits_P, weights_P)  # fmt: skip
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


def gather_features(
    candidates_NL: sp.csr_array,
    sources: Mapping[str, sp.csr_array],
    names: tuple[str, ...],
    label_counts_L: np.ndarray,
) -> np.ndarray:
    """What trees look at for each candidate: float32 (P, D). A label that a source has no entry for
    scores 0 there.

    Args:
        candidates_NL: weighted mean of the sources, csr_array (N, L), an entry for each candidate.
        sources: scores of each source by its name, csr_array (N, L).
        names: the sources to look at, in the order of the columns.
        label_counts_L: training rows of each label, (L,).

    Returns:
        A column for each source, then the mean, then log(1 + count of the label); D = sources + 2.
    """
    features_PD = np.zeros((candidates_NL.nnz, len(names) + 2), np.float32)
    for column, name in enumerate(names):
        if isinstance(sources, Candidates):
            features_PD[:, column] = sources.scores_of(name)
        else:
            look_up(candidates_NL, sources[name], features_PD[:, column])
    features_PD[:, -2] = candidates_NL.data
    features_PD[:, -1] = np.log1p(label_counts_L[candidates_NL.indices])
    return features_PD


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
