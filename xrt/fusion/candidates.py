"""The candidates of a row, and every source's score of each of them.

Each source names the labels that it scores best. The candidates of a row are all labels that a
source names for it, and then every source scores all of them: none lacks a score because another
source found it. Training and prediction both come through here.

N rows, L labels, S sources, P candidates of all rows.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError
from xrt.jit import njit
from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import Source, SourceRows
from xrt.sparse import as_csr, count_entries, load_csr, pattern_of, save_csr
from xrt.storage.atomic import save_array, write_json
from xrt.storage.reading import load_array
from xrt.storage.saved_values import SavedValues


@dataclass(frozen=True, eq=False)
class Candidates(Mapping[str, sp.csr_array]):
    """Scores of the candidates of N rows by every source: a mapping from a source's name to its
    scores, csr_array (N, L). All sources have the same entries; an entry of 0 is a score.
    """

    pairs_NL: sp.csr_array
    """The candidates are its entries, ascending in each row. The value is how many sources name
    the label; 0 where the label was asked for, and is none of the row's own candidates."""
    names: tuple[str, ...]
    """The sources, S."""
    scores_SP: np.ndarray
    """Score of each candidate by each source: float32 (S, P), in the order of the entries."""
    own: Mapping[str, sp.csr_array]
    """What each source names by itself, with the score it gave, csr_array (N, L); of trees whose
    scores are averaged that is less than the exact score where a tree did not name the label."""

    def __getitem__(self, name: str) -> sp.csr_array:
        """The scores of a source, csr_array (N, L)."""
        return self.with_values(self.scores_of(name))

    def __iter__(self) -> Iterator[str]:
        """The names of the sources."""
        return iter(self.names)

    def __len__(self) -> int:
        """The number of sources, S."""
        return len(self.names)

    @property
    def num_rows(self) -> int:
        """Number of rows, N."""
        return int(self.pairs_NL.shape[0])

    def scores_of(self, name: str) -> np.ndarray:
        """The scores of a source.

        Args:
            name: the source.

        Returns:
            float32 (P,), in the order of the candidates.

        Raises:
            KeyError: there is no such source.
        """
        if name not in self.names:
            raise KeyError(name)
        scores_P: np.ndarray = self.scores_SP[self.names.index(name)]
        return scores_P

    @cached_property
    def named_SP(self) -> np.ndarray:
        """Which candidates each source names by itself: bool (S, P)."""
        named_SP = np.zeros(self.scores_SP.shape, np.float32)
        for place, name in enumerate(self.names):
            if name in self.own:
                look_up(self.pairs_NL, pattern_of(self.own[name]), named_SP[place])
        return named_SP > 0

    def with_values(self, values_P: np.ndarray) -> sp.csr_array:
        """A value for each candidate, as a matrix.

        Args:
            values_P: the values, (P,), in the order of the entries.

        Returns:
            csr_array (N, L).
        """
        matrix = sp.csr_array(self.pairs_NL.shape, dtype=np.float32)
        matrix.indptr, matrix.indices = self.pairs_NL.indptr, self.pairs_NL.indices
        matrix.data = values_P
        return matrix

    def rows(self, rows_n: np.ndarray) -> Self:
        """The candidates of some rows.

        Args:
            rows_n: row numbers, in the order wanted, (n,).

        Returns:
            Their candidates, of n rows.
        """
        sizes_n = np.diff(self.pairs_NL.indptr)[rows_n]
        before_n = np.cumsum(sizes_n) - sizes_n
        entries = np.arange(int(sizes_n.sum())) + np.repeat(
            self.pairs_NL.indptr[rows_n] - before_n, sizes_n
        )
        own = {name: as_csr(named_NL[rows_n]) for name, named_NL in self.own.items()}
        pairs_nL = self.pairs_NL[rows_n]  # keeps entries of 0
        return type(self)(pairs_nL, self.names, self.scores_SP[:, entries], own)

    def of_sources(self, names: Collection[str]) -> Self:
        """What the candidates would be were there no other sources than these.

        Args:
            names: names of sources; one that is not there is passed over.

        Returns:
            The candidates that one of these sources names, or that were asked for, with the scores
            of these sources.
        """
        kept = [place for place, name in enumerate(self.names) if name in names]
        if len(kept) == len(self.names):
            return self
        counts_P = self.named_SP[kept].sum(axis=0, dtype=np.float32)
        stays_P = (counts_P > 0) | (self.pairs_NL.data == 0)
        before = np.concatenate([[0], np.cumsum(stays_P)]).astype(self.pairs_NL.indptr.dtype)
        pairs_NL = sp.csr_array(self.pairs_NL.shape, dtype=np.float32)
        pairs_NL.indptr, pairs_NL.indices = (
            before[self.pairs_NL.indptr], self.pairs_NL.indices[stays_P]
        )  # fmt: skip
        pairs_NL.data = counts_P[stays_P]
        own = {name: named_NL for name, named_NL in self.own.items() if name in names}
        kept_names = tuple(self.names[place] for place in kept)
        return type(self)(pairs_NL, kept_names, self.scores_SP[kept][:, stays_P], own)

    def alone(self, name: str) -> Self:
        """What a source names and how it scores that, as in a model without the others.

        Args:
            name: the source.

        Returns:
            Its candidates.
        """
        return self.of({name: self.own[name]})

    @classmethod
    def of(cls, sources: Mapping[str, sp.csr_array], names: Collection[str] | None = None) -> Self:
        """The candidates of some of the sources, as their scores are: a label that a source did not
        name scores 0 there.

        Args:
            sources: scores of each source by its name, csr_array (N, L), at least one; or
                candidates, whose scores are complete.
            names: names of sources; None for all.

        Returns:
            The candidates.
        """
        if isinstance(sources, cls):
            return sources if names is None else sources.of_sources(names)
        own = {n: scores for n, scores in sources.items() if names is None or n in names}
        pairs_NL = union_of(own)
        scores_SP = np.zeros((len(own), pairs_NL.nnz), np.float32)
        for place, scores_NL in enumerate(own.values()):
            look_up(pairs_NL, scores_NL, scores_SP[place])
        return cls(pairs_NL, tuple(own), scores_SP, own)

    def save(self, folder: Path) -> None:
        """Write the candidates into a folder.

        Args:
            folder: the folder; it is made where it does not exist.
        """
        folder.mkdir(parents=True, exist_ok=True)
        save_csr(folder, "pairs", self.pairs_NL)
        save_array(folder / "scores.npy", self.scores_SP)
        for name, named_NL in self.own.items():
            save_csr(folder / "own", name, named_NL)
        write_json(folder / "names.json", {"names": list(self.names), "own": list(self.own)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Args:
            folder: the folder that `save` wrote.

        Returns:
            The candidates.

        Raises:
            ArtifactError: it is damaged.
        """
        head = SavedValues.read(folder / "names.json")
        names, pairs_NL = head.texts("names"), load_csr(folder, "pairs")
        scores_SP = load_array(folder / "scores.npy", np.float32, 2)
        if scores_SP.shape != (len(names), pairs_NL.nnz):
            raise ArtifactError(
                f"{folder}: scores {scores_SP.shape} of {len(names)} sources and {pairs_NL.nnz} "
                "candidates; run again"
            )
        own = {name: load_csr(folder / "own", name) for name in head.texts("own")}
        return cls(pairs_NL, names, scores_SP, own)


def name_candidates(
    sources: Mapping[str, Source],
    rows: SourceRows,
    k: int,
    search: SearchParams,
    num_threads: int | None = None,
    constraint: Constraint | None = None,
) -> dict[str, sp.csr_array]:
    """The best labels of each row by each source.

    Args:
        sources: the sources by name.
        rows: N rows.
        k: labels that a source names for a row, at most.
        search: how label trees are searched.
        num_threads: threads; None for all processors.
        constraint: which labels may be named; None for all.

    Returns:
        By name of the source: scores in [0, 1], (N, L).
    """
    return {
        name: source.score(rows, k, search, num_threads, constraint)
        for name, source in sources.items()
    }


def complete_scores(
    sources: Mapping[str, Source],
    own: Mapping[str, sp.csr_array],
    rows: SourceRows,
    search: SearchParams,
    num_threads: int | None = None,
    asked_NL: sp.csr_array | None = None,
) -> Candidates:
    """Exact scores by every source of all that one of them names.

    Args:
        sources: the sources by name.
        own: what sources name, as `name_candidates` gives it; may be empty where labels are asked
            for.
        rows: N rows.
        search: how label trees are searched.
        num_threads: threads; None for all processors.
        asked_NL: further pairs that are scored, the entries of csr_array (N, L); None for none.

    Returns:
        The candidates; a pair that a source knows nothing of has the score 0.
    """
    pairs_NL = union_of(own, asked_NL)
    scores_SP = np.zeros((len(sources), pairs_NL.nnz), np.float32)
    for place, source in enumerate(sources.values()):
        look_up(pairs_NL, source.score_given(rows, pairs_NL, search, num_threads), scores_SP[place])
    return Candidates(pairs_NL, tuple(sources), scores_SP, own)


def union_of(own: Mapping[str, sp.csr_array], asked_NL: sp.csr_array | None = None) -> sp.csr_array:
    """The pairs that one of the sources names, or that are asked for.

    Args:
        own: what each source names, csr_array (N, L).
        asked_NL: further pairs, csr_array (N, L); None for none.

    Returns:
        csr_array (N, L), an entry for each pair: how many sources name it.
    """
    asked = [] if asked_NL is None else [asked_NL]
    return count_entries([*own.values(), *asked], [1.0] * len(own) + [0.0] * len(asked))


def look_up(pairs_NL: sp.csr_array, scores_NL: sp.csr_array, out_P: np.ndarray) -> None:
    """Write the entries of a matrix at the places of another's entries; others stay as they are.

    Args:
        pairs_NL: the places, csr_array (N, L) of P entries, columns ascending.
        scores_NL: the values, csr_array (N, L), columns ascending.
        out_P: is written, float32 (P,).
    """
    if scores_NL.indices is pairs_NL.indices and scores_NL.indptr is pairs_NL.indptr:
        out_P[:] = scores_NL.data
        return
    _look_up(
        pairs_NL.indptr, pairs_NL.indices, scores_NL.indptr, scores_NL.indices, scores_NL.data,
        out_P,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _look_up(
    indptr: np.ndarray,
    indices: np.ndarray,
    part_ptr: np.ndarray,
    part_indices: np.ndarray,
    part_data: np.ndarray,
    out_P: np.ndarray,
) -> None:
    """Entries of one csr matrix at the places of another; columns ascend in both."""
    for row in range(len(indptr) - 1):
        q, end = part_ptr[row], part_ptr[row + 1]
        for p in range(indptr[row], indptr[row + 1]):
            while q < end and part_indices[q] < indices[p]:
                q += 1
            if q < end and part_indices[q] == indices[p]:
                out_P[p] = part_data[q]
