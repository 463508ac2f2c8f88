"""Explains what a model suggests for one text.

One row; F TF-IDF columns, L labels. All is found by the search and the kernels that `predict` uses,
run once more; nothing is estimated.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.explain.explanation import Explanation, LabelExplanation
from xrt.explain.score_parts import Scored, best_of, entry, parts_of, score_steps
from xrt.hybrid import HybridMatrix
from xrt.inputs import check_count, check_rows, check_texts, is_texts, num_rows
from xrt.model import XrtModel, every_pair
from xrt.search.constraints import columns_of
from xrt.sources.base import CANDIDATES, SourceRows
from xrt.sources.evidence import LabelName, NearestRows, SourceEvidence, TreePath

NUM_NEAREST = 5
"""Training rows that are shown of each source that keeps them."""
NO_TRAINING_ROWS = (
    "this model keeps no training rows: votes of similar rows had no weight when it was trained, "
    "or the settings left them out"
)


def explain(
    model: XrtModel,
    text: Any,
    k: int = 5,
    labels: Collection[str] | None = None,
    texts: Sequence[str] | None = None,
    num_threads: int | None = None,
) -> Explanation:
    """Why the model suggests its `k` best labels, or what it makes of the `labels` named; see
    `Predictor.explain`.

    Args:
        model: the model.
        text: one text, or one row of features.
        k: number of labels, at most those of the model.
        labels: ids of the labels to explain; None: the `k` best.
        texts: the training texts, to show those of the nearest rows; None: not shown.
        num_threads: threads; None for the default.

    Returns:
        The explanation.
    """
    k = min(check_count(k, "k"), len(model.labels))
    texts = None if texts is None else check_texts(texts)
    columns = None if labels is None else _columns(model, labels)
    case = Case(model, _one_input(text), k, num_threads)
    return Explanation(
        text=text if isinstance(text, str) else None,
        num_terms=int(np.count_nonzero(case.X.sparse.data)),
        notes=_notes(case),
        labels=tuple(case.label(column) for column in (case.best if columns is None else columns)),
        nearest=case.nearest(NUM_NEAREST, texts),
    )


def nearest_rows(
    model: XrtModel,
    text: Any,
    n: int,
    texts: Sequence[str] | None = None,
    num_threads: int | None = None,
) -> tuple[NearestRows, ...]:
    """The training rows nearest to a text in each source that keeps them; see
    `Predictor.neighbours`.

    Args:
        model: the model.
        text: one text, or one row of features.
        n: most training rows of a source.
        texts: the training texts, to show those of the nearest rows; None: not shown.
        num_threads: threads; None for the default.

    Returns:
        The nearest rows of each source.

    Raises:
        DataError: the model keeps no training rows.
    """
    n, texts = check_count(n, "n", "training row"), None if texts is None else check_texts(texts)
    nearest = Case(model, _one_input(text), 1, num_threads).nearest(n, texts)
    if not nearest:
        raise DataError(f"{NO_TRAINING_ROWS}; train it with neighbours to ask for them")
    return nearest


def _one_input(text: Any) -> Any:
    """One text or one row, as the model takes them. Raises DataError for anything else."""
    if isinstance(text, str):
        return check_texts([text])
    if not is_texts(text):
        row = check_rows(np.atleast_2d(text) if isinstance(text, np.ndarray) else text)
        if num_rows(row) == 1:
            return row
    kind = "None" if text is None else f"a {type(text).__name__}"
    raise DataError(
        f"one text is explained at a time, not {kind}; pass one string, or one row to a model of "
        "rows"
    )


def _columns(model: XrtModel, labels: Collection[str]) -> list[int]:
    if isinstance(labels, str):
        raise DataError("labels: one string where a collection of labels is needed; write [label]")
    if not len(labels):
        raise DataError("labels: no label to explain; give at least one, or None for the k best")
    return [int(column) for column in columns_of(model.labels, list(labels), "explain")]


def _notes(case: "Case") -> tuple[str, ...]:
    notes = []
    if not case.X.sparse.data.any():
        of_text = "the text has no term that the model knows, so no term speaks for any label"
        notes.append(of_text if case.model.features is not None else "the row is empty")
    if not case.best:
        notes.append("the model suggests no label at all")
    if not case.nearest(1):
        notes.append(f"no nearest training rows: {NO_TRAINING_ROWS}")
    return tuple(notes)


@dataclass(frozen=True, eq=False)
class ModelNaming:
    """What a model calls its labels and TF-IDF columns."""

    model: XrtModel

    @property
    def counts_L(self) -> np.ndarray | None:
        """Training rows of each label, int64 (L,); None where the model does not know."""
        return None if self.model.frequencies is None else self.model.frequencies.counts_L

    def label(self, column: int) -> LabelName:
        """A label by its column, with its count where the model knows it.

        Args:
            column: the label's column.

        Returns:
            Its id, name and count.
        """
        labels, counts_L = self.model.labels, self.counts_L
        count = None if counts_L is None else int(counts_L[column])
        return LabelName(labels.ids[column], labels.names[column], count)

    def term(self, column: int) -> str:
        """A TF-IDF column: its term, or `column N` in a model of rows.

        Args:
            column: the TF-IDF column.

        Returns:
            The term.
        """
        if self.model.features is None:
            return f"column {column}"
        return self.model.features.feature_name(column)


@dataclass(frozen=True, eq=False)
class Case:
    """One input to a model, and what is found out about it on the way."""

    model: XrtModel
    inputs: Any
    k: int
    num_threads: int | None

    @cached_property
    def rows(self) -> SourceRows:
        """The row as sources take it; it is embedded at most once."""
        return self.model.source_rows(self.inputs, None, self.num_threads)

    @property
    def X(self) -> HybridMatrix:
        """The row as the linear trees take it: (1, F)."""
        return self.rows.X

    @cached_property
    def best(self) -> list[int]:
        """The suggested labels, best first."""
        return best_of(self._predict(self.k), self.k)

    @cached_property
    def scored(self) -> Scored:
        """The steps from sources to the scores of what is suggested."""
        candidates = self.model.candidates(self.rows, self.num_named, self.num_threads)
        return score_steps(self.model, candidates)

    @property
    def num_named(self) -> int:
        """How many labels sources name where `k` are suggested, as in `XrtModel.predict`."""
        k = max(self.k, CANDIDATES) if self.model.reorders else self.k
        return self.model.num_named(k)

    @cached_property
    def evidence(self) -> dict[str, SourceEvidence]:
        """What each source says about the row."""
        naming, search = ModelNaming(self.model), self.model.search
        return {
            name: source.explain(self.rows, naming, self.num_named, search, self.num_threads)
            for name, source in self.model.sources.items()
        }

    def nearest(self, count: int, texts: Sequence[str] | None = None) -> tuple[NearestRows, ...]:
        """The nearest training rows of each source that keeps them, `count` at most.

        Args:
            count: most training rows of a source.
            texts: the training texts; None: they are not shown.

        Returns:
            The rows of each source; empty where no source keeps them.
        """
        of_sources = (evidence.nearest(count, texts) for evidence in self.evidence.values())
        return tuple(nearest for nearest in of_sources if nearest is not None)

    def label(self, column: int) -> LabelExplanation:
        """Why this label has its score, whether it is suggested or not.

        Args:
            column: the label's column.

        Returns:
            The score, how it came about, its place from 1, or why it has none.
        """
        suggested = column in self.best
        scored = self.scored if suggested else self._scored_alone(column)
        searched = suggested and len(scored.sources) == 1  # else its scores are exact ones
        evidence = {name: self.evidence[name].label(column, searched) for name in scored.sources}
        paths = tuple(path for each in evidence.values() for path in each.paths)
        score = entry(scored.final, column) or 0.0
        return LabelExplanation(
            label=ModelNaming(self.model).label(column),
            score=score,
            place=self.best.index(column) + 1 if suggested else None,
            why_not="" if suggested else self._why_not(column, score, paths),
            parts=parts_of(scored, column, evidence),
            paths=tuple(path for path in paths if path.tree == 1),
            margins=tuple(each.margin for each in evidence.values() if each.margin is not None),
        )

    def _scored_alone(self, column: int) -> Scored:
        """The steps to the score of a label asked for by name, as in `XrtModel.score`."""
        pairs = every_pair(1, np.array([column]), len(self.model.labels))
        own = self.scored.sources.own
        candidates = self.model.candidates_given(self.rows, pairs, self.num_threads, own)
        return score_steps(self.model, candidates)

    def _why_not(self, column: int, score: float, paths: Sequence[TreePath]) -> str:
        """What kept the label from being suggested."""
        further = best_of(self._predict(max(self.k, CANDIDATES)), max(self.k, CANDIDATES))
        lost = [path for path in paths if path.lost_at is not None]
        if column in further:
            why = f"it comes in place {further.index(column) + 1}; {self.k} were asked for"
        else:
            why = f"it is not among the {len(further)} best"
        if lost:
            trees = "the tree" if len(paths) == 1 else f"{len(lost)} of {len(paths)} trees"
            why += f"; the search lost the way to it in {trees}"
        if self.best:
            last = entry(self._predict(self.k), self.best[-1]) or 0.0
            why += f"; the last suggested label scores {last:.3f}, this one {score:.3f}"
        return why

    def _predict(self, k: int) -> sp.csr_array:
        return self.model.predict_rows(self.rows, k, self.num_threads)
