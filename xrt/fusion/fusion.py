"""How the scores of several sources become one: by weight, and where it helps by boosted trees
that score all candidates anew.

N rows, L labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError
from xrt.fusion.boosting import Booster, fit_booster
from xrt.fusion.calibration import truth_of, weights_of_rows
from xrt.fusion.candidates import Candidates
from xrt.fusion.weights import fit_weights, fuse, weighted_mean
from xrt.sparse import top_k_rows
from xrt.storage.saved_values import SavedValues

MAX_WEIGHT = 1e6
"""Of a source, in a saved model; those that are fitted sum to 1."""


@dataclass(frozen=True, eq=False)
class Fusion:
    """Weights of the sources, and the trees where there are any."""

    weights: Mapping[str, float]
    booster: Booster | None = None

    @property
    def sources(self) -> frozenset[str]:
        """Sources that have a say."""
        weighted = {name for name, weight in self.weights.items() if weight > 0}
        return frozenset(weighted if self.booster is None else weighted | set(self.booster.sources))

    def scores(
        self, sources: Mapping[str, sp.csr_array], label_counts_L: np.ndarray | None, k: int
    ) -> sp.csr_array:
        """The `k` best labels of each row: (N, L), in [0, 1].

        Trees score all candidates anew; they need to know how often labels were seen in training
        (L,).

        Args:
            sources: scores of each source by its name, csr_array (N, L).
            label_counts_L: training rows of each label, (L,); may be None where there are no trees.
            k: most labels of a row.

        Returns:
            The scores, csr_array.

        Raises:
            DataError: a source is missing.
        """
        if self.booster is None:
            return fuse(sources, self.weights, k)
        assert label_counts_L is not None
        candidates = Candidates.of(sources, self.sources)
        mean_NL = weighted_mean(candidates, self.weights)
        return top_k_rows(self.booster.apply(mean_NL, candidates, label_counts_L), k)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the trees into the folder; gives the settings that `load` asks for.

        Args:
            folder: the folder; trees go to its subfolder `booster`.

        Returns:
            Plain values for JSON.
        """
        if self.booster is not None:
            self.booster.save(folder / "booster")
        return {"weights": dict(self.weights), "boosted": self.booster is not None}

    @classmethod
    def load(cls, settings: Any, folder: Path) -> Self:
        """Read what `save` wrote.

        Args:
            settings: what `save` gave.
            folder: the folder that `save` wrote to.

        Returns:
            The fusion.

        Raises:
            ArtifactError: it is damaged.
        """
        settings = SavedValues.of(settings, f"{folder}: fusion")
        weights = settings.mapping_of_numbers("weights", 0, MAX_WEIGHT)
        if not any(weights.values()):
            raise ArtifactError(f"{settings.where}: no weight is above 0; train it anew")
        boosted = settings.flag("boosted")
        return cls(weights, Booster.load(folder / "booster") if boosted else None)


def fit_fusion(
    sources: Mapping[str, sp.csr_array],
    Y_true: sp.csr_array,
    label_counts_L: np.ndarray,
    boosted: bool,
    seed: int = 0,
    weights_N: np.ndarray | None = None,
) -> Fusion:
    """The best weights on held-out rows, and trees over them if `boosted`. Rows may have weights,
    and trees mind a true candidate by its confidence.

    Args:
        sources: scores of each source by its name, csr_array (N, L).
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        label_counts_L: training rows of each label, (L,).
        boosted: whether trees are fitted.
        seed: seed of the trees.
        weights_N: how much each row counts, (N,); None counts all alike.

    Returns:
        The fusion; without trees where there are too few candidates to fit them.
    """
    candidates = Candidates.of(sources)
    weights = fit_weights(candidates, Y_true, weights_N).weights
    if not boosted:
        return Fusion(weights)
    candidates_NL = weighted_mean(candidates, weights)
    truth_P, of_rows_P = truth_of(candidates_NL, Y_true), weights_of_rows(candidates_NL, weights_N)
    hits_P, weights_P = truth_P > 0, of_rows_P
    if (truth_P[hits_P] != 1).any():
        weights_P = np.where(hits_P, truth_P, 1) * (1 if of_rows_P is None else of_rows_P)
    booster = fit_booster(candidates_NL, candidates, hits_P, label_counts_L, seed, weights_P)
    return Fusion(weights, booster)
