"""The decoder: from the scores of all labels to one value of each attribute, with probabilities.

N rows, L labels, A attributes.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.decoding.candidates import CandidateFinder, RowCandidates
from xrt.applications.attributes.decoding.joint_fit import (
    allow_consistent,
    estimate_unseen_shares,
    learn_weights,
)
from xrt.applications.attributes.decoding.joint_model import (
    AllowedChoices,
    Posterior,
    compute_posterior,
    compute_row_probabilities,
    pick_best_scored_each,
    pick_most_probable,
    pick_most_probable_each,
)
from xrt.applications.attributes.decoding.joint_weights import JointWeights
from xrt.applications.attributes.decoding.path_lift import PathLift
from xrt.applications.attributes.decoding.taxonomy import Taxonomy
from xrt.applications.attributes.settings import Decode
from xrt.errors import ArtifactError
from xrt.storage.saved_values import SavedValues
from xrt.threads import run_blocks

logger = logging.getLogger(__name__)

BATCH_ROWS = 2048
MIN_ROWS = 50
"""Held-out rows that the weights need; with fewer they stay as they begin."""
MAX_ROWS = 4_000
"""Some twenty weights need no more."""


@dataclass(frozen=True, eq=False)
class DecodedValues:
    """Label columns int32 (N, A), -1 where there is none; the probability of each value float32
    (N, A), and of the whole row float32 (N,).
    """

    columns_NA: np.ndarray
    probabilities_NA: np.ndarray
    row_probabilities_N: np.ndarray


@dataclass(frozen=True, eq=False)
class BatchPosterior:
    """A batch of rows: the candidates, and how probable their combinations are; the best-scored
    value of each attribute, int32 (N, A), and its score; and whether a row gave a value, bool (N,).
    """

    candidates: RowCandidates
    posterior: Posterior
    scored_NA: np.ndarray
    scores_NA: np.ndarray
    has_value_N: np.ndarray


_FIELDS = ("columns_NA", "probabilities_NA", "row_probabilities_N")


@dataclass(frozen=True, eq=False)
class AttributeDecoder:
    """What joint decoding knows: taxonomy, how values go with paths, and the weights.

    `way` is what is decoded by default: the most probable `row`, or `each`
    attribute's most probable value. With `each`, attributes in `by_score` take their best-scored
    value, where the row gives no value of another.
    """

    space: AttributeSpace
    finder: CandidateFinder
    weights: JointWeights
    unseen_B: np.ndarray
    """Share of rows expected to have a new value of each attribute outside of the hierarchy."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    halves: tuple[JointWeights, JointWeights] | None = None
    """Weights of the even and of the odd held-out rows; not saved."""
    way: Decode = Decode.row
    by_score: tuple[str, ...] = ()

    @classmethod
    def of(cls, space: AttributeSpace, cells_NA: np.ndarray) -> Self:
        """Count what training rows give, int32 (N, A); weights as they begin.

        Args:
            space: The attributes, their hierarchy and their labels.
            cells_NA: What the training rows give, label columns int32 (N, A), -1 where they give
                none.

        Returns:
            The decoder with initial weights.
        """
        hierarchy, free = split_attributes(space)
        none_D = [space.none_column(name) for name in space.hierarchy]
        taxonomy = Taxonomy.of(cells_NA[:, hierarchy], none_D)
        paths_N = number_paths(taxonomy, cells_NA[:, hierarchy])
        num_labels = len(space.labels)
        lifts = tuple(PathLift.of(taxonomy, paths_N, cells_NA[:, a], num_labels) for a in free)
        finder = CandidateFinder(taxonomy, space.attribute_of_L, hierarchy, free, lifts)
        weights = JointWeights.initial(taxonomy.depth, len(free))
        return cls(space, finder, weights, estimate_unseen_shares(finder, cells_NA))

    def recount(self, cells_NA: np.ndarray) -> Self:
        """The decoder with the counts of other rows, its weights as they are.

        Args:
            cells_NA: What the other rows give, label columns int32 (N, A), -1 where they give none.

        Returns:
            A new decoder with the weights, the figures and the way of this one.
        """
        decoder = type(self).of(self.space, cells_NA)
        return replace(
            decoder, weights=self.weights, figures=self.figures, way=self.way,
            by_score=self.by_score,
        )  # fmt: skip

    def learn(self, scores_NL: sp.csr_array, cells_NA: np.ndarray) -> Self:
        """The decoder with weights fitted to the scores of rows that neither the model was
        trained on nor this decoder has counted, and what those rows give, int32 (N, A).

        Args:
            scores_NL: Scores of the labels in [0, 1], csr (N, L); the first MAX_ROWS rows are used.
            cells_NA: What these rows give, label columns int32 (N, A), -1 where they give none.

        Returns:
            A new decoder with the fitted weights and the figures of the fit; this one where there
            are fewer than MIN_ROWS rows.
        """
        if len(cells_NA) < MIN_ROWS:
            logger.info("too few held-out rows to learn how attributes go together")
            return self
        scores_NL, cells_NA = scores_NL[:MAX_ROWS], cells_NA[:MAX_ROWS]
        fit = learn_weights(self.finder, scores_NL, cells_NA, self.unseen_B)
        return replace(self, weights=fit.weights, figures=fit.figures, halves=fit.halves)

    def cross_weigh(self, scores_NL: sp.csr_array) -> tuple[list[BatchPosterior], np.ndarray]:
        """The rows of `learn`, each half weighed with the weights of the other, and the rows'
        positions, int64 (N,).

        Args:
            scores_NL: The scores that `learn` was given, csr (N, L).

        Returns:
            The batches, those of odd rows first, and for each of their rows its position in
            `scores_NL`. Where no weights of halves are known, all rows in order, weighed with the
            decoder's weights.
        """
        if self.halves is None:
            return self.weigh(scores_NL), np.arange(scores_NL.shape[0])
        rows = np.arange(min(MAX_ROWS, scores_NL.shape[0]))
        even = rows % 2 == 0
        batches = [
            batch
            for weights, part in zip(self.halves, (~even, even), strict=True)
            for batch in replace(self, weights=weights).weigh(scores_NL[rows[part]])
        ]
        return batches, np.concatenate([rows[~even], rows[even]])

    def decode(
        self,
        scores_NL: sp.csr_array,
        cells_NA: np.ndarray | None = None,
        num_threads: int | None = None,
        way: Decode | None = None,
    ) -> DecodedValues:
        """The most probable values of each row, or of each attribute. Those that a row gives, int32
        (N, A) with -1 for the others, stay as long as a seen path agrees, and the others are
        chosen to go with them.

        Args:
            scores_NL: Scores of the labels in [0, 1], csr (N, L).
            cells_NA: Label columns that the rows give, int32 (N, A), -1 where they give none; None
                where no row gives any.
            num_threads: Threads that weigh batches; None for the default.
            way: Decode whole rows or each attribute by itself; None is the decoder's own way.

        Returns:
            The values of the N rows and their probabilities.
        """
        return self.decode_batches(self.weigh(scores_NL, cells_NA, num_threads), way)

    def weigh(
        self,
        scores_NL: sp.csr_array,
        cells_NA: np.ndarray | None = None,
        num_threads: int | None = None,
    ) -> list[BatchPosterior]:
        """All combinations of candidates weighed against each other, batch by batch.

        Args:
            scores_NL: Scores of the labels in [0, 1], csr (N, L).
            cells_NA: Label columns that the rows give, int32 (N, A), -1 where they give none; None
                where no row gives any.
            num_threads: Threads that weigh batches; None for the default.

        Returns:
            Batches of at most BATCH_ROWS rows, in the order of the rows.
        """

        def block(number: int) -> BatchPosterior:
            rows = slice(number * BATCH_ROWS, (number + 1) * BATCH_ROWS)
            cells = None if cells_NA is None else cells_NA[rows]
            best_scored = pick_best_scored_each(
                scores_NL[rows], self.space.attribute_of_L, len(self.space.attributes)
            )
            candidates = self.finder.find(scores_NL[rows], self.weights, cells_NA=cells)
            allowed = AllowedChoices.every(candidates)
            has_value_N: np.ndarray = np.zeros(candidates.num_rows, bool)
            if cells is not None:
                allowed = allow_consistent(self.finder, candidates, cells)
                has_value_N = np.asarray((cells >= 0).any(axis=1))
            posterior = compute_posterior(candidates, self.weights, allowed)
            return BatchPosterior(candidates, posterior, *best_scored, has_value_N)

        return run_blocks(block, -(-scores_NL.shape[0] // BATCH_ROWS), num_threads)

    def decode_batches(
        self, batches: Sequence[BatchPosterior], way: Decode | None = None
    ) -> DecodedValues:
        """The most probable combination of each row, or each attribute's most probable value; None
        is the decoder's own way.

        Args:
            batches: Weighed rows, as `weigh` gives them.
            way: Decode whole rows or each attribute by itself; None is the decoder's own way.

        Returns:
            The values of all rows of the batches, in their order, and their probabilities.
        """
        if (way or self.way) is Decode.each:
            parts = [self._decode_each(part) for part in batches]
        else:
            parts = [self._decode_row(part.candidates, part.posterior) for part in batches]
        if not parts:
            nothing = np.zeros((0, len(self.space.attributes)))
            return DecodedValues(nothing.astype(np.int32), nothing.astype(np.float32), np.zeros(0))
        return DecodedValues(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in _FIELDS)
        )

    def probability_of(
        self, batches: Sequence[BatchPosterior], columns_NA: np.ndarray
    ) -> np.ndarray:
        """The probability of given values, int32 (N, A): float32 (N, A), 0 for a value that is no
        candidate, nan where there is none.

        Args:
            batches: Weighed rows, as `weigh` gives them; N rows together.
            columns_NA: One label column of each attribute of each row, int32 (N, A), -1 for none.

        Returns:
            The probabilities in [0, 1], float32 (N, A).
        """
        parts, low = [np.zeros((0, len(self.space.attributes)), np.float32)], 0
        for part in batches:
            high = low + part.candidates.num_rows
            parts.append(
                self._value_probabilities(part.candidates, part.posterior, columns_NA[low:high])
            )
            low = high
        return np.concatenate(parts)

    def _decode_row(self, candidates: RowCandidates, posterior: Posterior) -> DecodedValues:
        best = pick_most_probable(posterior)
        rows = np.arange(candidates.num_rows)
        columns_NA = np.full((len(rows), len(self.space.attributes)), -1, np.int32)
        path_N = np.where(best.path_N < 0, 0, best.path_N)
        paths_N = np.where(best.path_N < 0, -1, candidates.paths_NM[rows, path_N])
        for d, attribute in enumerate(self.finder.hierarchy):
            columns_N = self.finder.taxonomy.paths_PD[np.maximum(paths_N, 0), d]
            columns_NA[:, attribute] = np.where(paths_N < 0, -1, columns_N)
        for b, attribute in enumerate(self.finder.free):
            place_N, columns_NV = best.values[b], candidates.values[b].columns_NV
            if columns_NV.shape[1]:
                columns_N = columns_NV[rows, np.maximum(place_N, 0)]
                columns_NA[:, attribute] = np.where(place_N < 0, -1, columns_N)
        probabilities_NA = self._value_probabilities(candidates, posterior, columns_NA)
        whole_N = np.exp(np.minimum(best.log_probability_N, 0.0)).astype(np.float32)
        return DecodedValues(columns_NA, np.nan_to_num(probabilities_NA), whole_N)

    def _decode_each(self, part: BatchPosterior) -> DecodedValues:
        candidates, posterior = part.candidates, part.posterior
        num_attributes = len(self.space.attributes)
        columns_NA = pick_most_probable_each(self.finder, candidates, posterior, num_attributes)
        places = [self.space.attributes.index(name) for name in self.by_score]
        takes_NA = np.zeros(columns_NA.shape, bool)
        takes_NA[:, places] = (part.scored_NA[:, places] >= 0) & ~part.has_value_N[:, None]
        columns_NA = np.where(takes_NA, part.scored_NA, columns_NA)
        probabilities_NA = np.nan_to_num(
            self._value_probabilities(candidates, posterior, columns_NA)
        )
        no_candidate_NA = takes_NA & (probabilities_NA == 0)
        probabilities_NA = np.where(no_candidate_NA, part.scores_NA, probabilities_NA)
        whole_N = compute_row_probabilities(self.finder, candidates, posterior, columns_NA)
        return DecodedValues(columns_NA, probabilities_NA, whole_N)

    def _value_probabilities(
        self, candidates: RowCandidates, posterior: Posterior, columns_NA: np.ndarray
    ) -> np.ndarray:
        """P(value | row) of one value of each attribute: float32 (N, A), nan where it is -1."""
        probabilities_NA = np.full(columns_NA.shape, np.nan, np.float32)
        path_NM = posterior.path_probabilities[:, :-1]
        for d, attribute in enumerate(self.finder.hierarchy):
            columns_NM = self.finder.taxonomy.paths_PD[candidates.paths_NM, d]
            column_N1 = columns_NA[:, attribute, None]
            same_NM = (columns_NM == column_N1) & (candidates.paths_NM >= 0)
            probabilities_NA[:, attribute] = (path_NM * same_NM).sum(axis=1)
        for b, attribute in enumerate(self.finder.free):
            value_NV = posterior.pair_probabilities(b).sum(axis=1)[:, :-1]
            same_NV = candidates.values[b].columns_NV == columns_NA[:, attribute, None]
            probabilities_NA[:, attribute] = (value_NV * same_NV).sum(axis=1)
        probabilities_NA[columns_NA < 0] = np.nan
        return np.minimum(probabilities_NA, np.float32(1))

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the arrays into the folder; what else there is comes back, for a JSON file.

        Args:
            folder: Where the arrays go; it is made where it is missing.

        Returns:
            Names, weights, figures and the way, as plain values for JSON.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.finder.taxonomy.save(folder)
        for b, lift in enumerate(self.finder.lifts):
            lift.save(folder, f"given.{b}")
        return {
            "attributes": list(self.space.attributes),
            "hierarchy": list(self.space.hierarchy),
            "weights": self.weights.to_dict(),
            "unseen": self.unseen_B.tolist(),
            "figures": dict(self.figures),
            "decode": self.way.value,
            "by_score": list(self.by_score),
        }

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any], space: AttributeSpace) -> Self:
        """Read what `save` wrote.

        Args:
            folder: Where the arrays are.
            settings: What `save` returned.
            space: The attributes, their hierarchy and their labels.

        Returns:
            The decoder.

        Raises:
            ArtifactError: An array or a setting is damaged or does not fit the attributes.
        """
        hierarchy, free = split_attributes(space)
        sizes = {"labels": len(space.labels), "depth": len(hierarchy)}
        taxonomy = Taxonomy.load(folder, sizes)
        lifts = tuple(
            PathLift.load(folder, f"given.{b}", taxonomy, sizes) for b in range(len(free))
        )
        values = SavedValues.of(settings, f"{folder}: settings")
        saved, unseen_B = values.part("weights"), values.numbers("unseen", len(free))
        for name, shape in (("levels", (len(hierarchy), 3)), ("free", (len(free), 4))):
            saved.numbers(name, *shape)
        for name in ("share", "other_path"):
            saved.number(name)
        try:
            weights = JointWeights.from_dict(saved.content, len(hierarchy), len(free))
        except ValueError as err:
            raise ArtifactError(f"{folder}: unusable weights ({err}); train it anew") from err
        way = values.choice("decode", Decode) if values.has("decode") else Decode.row
        by_score = values.texts("by_score") if values.has("by_score") else ()
        if way is Decode.auto or not set(by_score) <= set(space.attributes):
            raise ArtifactError(
                f"{folder}: decode = {way.value}, by_score = {by_score}; train it anew"
            )
        finder = CandidateFinder(taxonomy, space.attribute_of_L, hierarchy, free, lifts)
        figures = values.part("figures").content if values.has("figures") else {}
        return cls(space, finder, weights, unseen_B, figures, way=way, by_score=by_score)


def split_attributes(space: AttributeSpace) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions of the attributes of the hierarchy, coarse to fine, and of the others.

    Args:
        space: The attributes and their hierarchy.

    Returns:
        Positions in `space.attributes`: those of the hierarchy, and those outside of it.
    """
    hierarchy = tuple(space.attributes.index(name) for name in space.hierarchy)
    return hierarchy, tuple(a for a in range(len(space.attributes)) if a not in hierarchy)


def number_paths(taxonomy: Taxonomy, cells_ND: np.ndarray) -> np.ndarray:
    """The number of each row's path: int64 (N,), -1 where it is not whole, or not known.

    Args:
        taxonomy: The paths that have numbers.
        cells_ND: Label columns of the levels, coarse to fine, int32 (N, D), -1 where a row gives
            none.

    Returns:
        The row of each path in `taxonomy.paths_PD`, int64 (N,), or -1.
    """
    numbers = {path.tobytes(): p for p, path in enumerate(taxonomy.paths_PD)}
    rows = np.ascontiguousarray(cells_ND, np.int32)
    distinct, back = np.unique(rows, axis=0, return_inverse=True)
    path_of_distinct = np.array([numbers.get(path.tobytes(), -1) for path in distinct], np.int64)
    return path_of_distinct[back.ravel()] if len(distinct) else np.zeros(0, np.int64)
