"""Explains what a model suggests for one text.

One row; F TF-IDF columns, L labels. All is found by the search and the kernels that `predict` uses,
asked once more; nothing is estimated.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.explain.clusters import Clusters, label_name
from xrt.explain.explanation import Explanation, LabelExplanation, LabelName, NearestRows, TreePath
from xrt.explain.margin_parts import margin_parts
from xrt.explain.nearest_rows import NO_MEMORY, Voters, has_memory, voters_of
from xrt.explain.score_parts import (
    Scored,
    best_of,
    entry,
    num_candidates,
    parts_of,
    score_steps,
)
from xrt.explain.tree_path import SearchedTree, names_label, path_to, search_tree
from xrt.hybrid import HybridMatrix
from xrt.inputs import check_count, check_rows, check_texts, is_texts, num_rows
from xrt.model import DEEP_SOURCES, XrtModel
from xrt.search.constraints import Constraint, columns_of
from xrt.sources.trees import CANDIDATES, FOUND_IN_EACH
from xrt.sparse import binarize

NUM_NEAREST = 5
"""Training rows that are shown of each memory."""


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
    """
    k = min(check_count(k, "k"), len(model.labels))
    texts = None if texts is None else check_texts(texts)
    asked = None if labels is None else _columns(model, labels)
    case = Case(model, _one_input(text), k, num_threads)
    return Explanation(
        text=text if isinstance(text, str) else None,
        num_terms=int(np.count_nonzero(case.X.sparse.data)),
        notes=_notes(case),
        labels=tuple(case.label(column) for column in (case.best if asked is None else asked)),
        nearest=_shown(case, NUM_NEAREST, texts),
    )


def nearest_rows(
    model: XrtModel,
    text: Any,
    n: int,
    texts: Sequence[str] | None = None,
    num_threads: int | None = None,
) -> tuple[NearestRows, ...]:
    """The training rows nearest to a text in each memory; see `Predictor.neighbours`."""
    n, texts = check_count(n, "n", "training row"), None if texts is None else check_texts(texts)
    if not has_memory(model):
        raise DataError(f"{NO_MEMORY}; train it with neighbours to ask for them")
    case = Case(model, _one_input(text), 1, num_threads)
    return _shown(case, n, texts)


def _shown(case: "Case", count: int, texts: Sequence[str] | None) -> tuple[NearestRows, ...]:
    def name_of(column: int) -> LabelName:
        return label_name(case.model, column)

    return tuple(voters.shown(count, name_of, texts) for voters in case.voters)


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
    if not has_memory(case.model):
        notes.append(f"no nearest training rows: {NO_MEMORY}")
    return tuple(notes)


@dataclass(frozen=True, eq=False)
class Case:
    """One input to a model, and what is found out about it on the way."""

    model: XrtModel
    inputs: Any
    k: int
    num_threads: int | None

    @cached_property
    def X(self) -> HybridMatrix:
        """The row as the linear trees take it: (1, F)."""
        return self.model.hybrid_rows_of(self.inputs)

    @cached_property
    def embeddings_NM(self) -> np.ndarray | None:
        """The embedding, (1, M), where the model has a use for it."""
        deep = self.model.deep
        if deep is None:
            return None
        wanted = self.model.fusion.sources & DEEP_SOURCES or deep.embedding_neighbours is not None
        return self.model.embed(self.inputs, None, self.num_threads) if wanted else None

    @cached_property
    def best(self) -> list[int]:
        """The suggested labels, best first."""
        return best_of(self._predict(self.k), self.k)

    @cached_property
    def scored(self) -> Scored:
        """The steps from sources to the scores of what is suggested."""
        candidates = num_candidates(self.model, self.k)
        found = self.model.sources(
            self.inputs, self.embeddings_NM, self.num_threads, candidates=candidates
        )
        return score_steps(self.model, found)

    @cached_property
    def voters(self) -> list[Voters]:
        """The nearest training rows in each memory."""
        return voters_of(self.model, self.X.sparse, self.embeddings_NM)

    @cached_property
    def trees(self) -> dict[str, list[SearchedTree]]:
        """The trees of each source that has a say, searched for this row."""
        asked, deep = self.model.fusion.sources, self.model.deep
        found = {}
        if "linear" in asked:
            found["linear"] = [
                search_tree(tree, self.X, self._found_in_each("linear"), self.model.search)
                for tree in self.model.linear.trees
            ]
        if "ranker" in asked and deep is not None:
            assert self.embeddings_NM is not None
            X, unit_NH = deep.ranker_rows(self.X.sparse, self.embeddings_NM)
            each, found["ranker"] = self._found_in_each("ranker"), []
            for number, tree in enumerate(deep.ranker.trees):
                start = deep.entry_beam(number, X, unit_NH, self.model.search, self.num_threads)
                entry_level = 0 if start is None else deep.shortlists[number].level
                found["ranker"].append(
                    search_tree(tree, X, each, self.model.search, start, entry_level)
                )
        return found

    @cached_property
    def clusters(self) -> Clusters:
        """Summaries of the clusters on the way."""
        return Clusters(self.model)

    def label(self, column: int) -> LabelExplanation:
        """Why this label has its score, whether it is suggested or not."""
        suggested = column in self.best
        scored = self.scored if suggested else self._scored_alone(column)
        paths = tuple(
            self._path(source, number, column, suggested)
            for source, trees in self.trees.items()
            for number in range(len(trees))
        )
        scores = {
            source: tuple(
                path.score if self._counts(path, column, suggested) else None
                for path in paths
                if path.source == source
            )
            for source in self.trees
        }
        voters = {each.source: (each.num_with(column), len(each.rows_W)) for each in self.voters}
        score = entry(scored.final, column) or 0.0
        return LabelExplanation(
            label=label_name(self.model, column),
            score=score,
            place=self.best.index(column) + 1 if suggested else None,
            why_not="" if suggested else self._why_not(column, score, paths),
            parts=parts_of(scored, column, scores, voters),
            paths=tuple(path for path in paths if path.tree == 1),
            margins=tuple(
                margin_parts(source, trees, column, self.clusters.term_of)
                for source, trees in self.trees.items()
            ),
        )

    def _path(self, source: str, number: int, column: int, suggested: bool) -> TreePath:
        searched, weight = self.trees[source][number], self.model.search.path_weight
        assert weight is not None
        describe = self.clusters if number == 0 else None  # only the first tree is shown
        nodes = path_to(searched, column, not suggested, describe)
        score = float(np.exp(nodes[-1].log_score))
        return TreePath(source, number + 1, len(self.trees[source]), weight, score, nodes)

    def _counts(self, path: TreePath, column: int, suggested: bool) -> bool:
        """Whether a tree's score is part of the label's: asked by name, every tree has a say."""
        return not suggested or names_label(self.trees[path.source][path.tree - 1], column)

    def _scored_alone(self, column: int) -> Scored:
        """The steps to the score of a label asked for by name, as in `XrtModel.score`."""
        places = (np.ones(1, np.float32), ([0], [column]))
        marked = binarize(sp.csr_array(places, shape=(1, len(self.model.labels))))
        wide = replace(self.model, search=replace(self.model.search, beam_size=1))
        constraint = Constraint(marked, allows=True)
        found = wide.sources(
            self.inputs, self.embeddings_NM, self.num_threads, constraint=constraint
        )
        return score_steps(self.model, found)

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
        return self.model.predict(self.inputs, k, self.embeddings_NM, self.num_threads)

    def _found_in_each(self, source: str) -> int:
        """Labels that each tree of a source names, as in `TreeEnsemble` and `DeepPart`."""
        candidates, deep = num_candidates(self.model, self.k), self.model.deep
        if source == "ranker" and deep is not None:
            if deep.shortlists or len(deep.ranker.trees) == 1:
                return candidates
            return max(candidates, FOUND_IN_EACH)
        one = len(self.model.linear.trees) == 1
        return candidates if one else max(candidates, FOUND_IN_EACH)
