"""The source `label_names`: how much of a label's name stands in the text.

N rows, L labels, F TF-IDF columns, P pairs. A text has the words that are entries of its sparse
row, whatever their values. The score of a label is the share of its name's words that the text has,
by idf; 1 where the whole name stands there. A name of which a word is unknown cannot reach 1.

A label is named where at least FOUND of its name stands in the text. To find such labels not every
word of a name is indexed, but only its heaviest ones: so many that a text with none of them cannot
have FOUND of the name.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError
from xrt.features.name_words import NameWords
from xrt.inputs import check_count
from xrt.jit import njit
from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import ModelShape, SourceRows, Training
from xrt.sources.evidence import LabelEvidence, Naming, SourceEvidence
from xrt.sparse import load_csr, save_csr
from xrt.storage.atomic import save_array
from xrt.storage.reading import load_array
from xrt.storage.saved_values import SavedValues
from xrt.threads import run_blocks

FOUND = 1.0
"""Share of a name that has to stand in a text for the label to be named."""

ROUNDING = 1e-5
"""Shares are float32: a sum so near to 1 is 1, and FOUND is reached where it lacks no more."""

ROWS_PER_BLOCK = 256


class _Postings(NamedTuple):
    """For each column the labels of whose names it is a heavy word."""

    ptr_F: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class LabelNames:
    """The words of the labels' names."""

    words: NameWords

    name: ClassVar[str] = "label_names"
    title: ClassVar[str] = "words of the label's name in the text"
    uses_embeddings: ClassVar[bool] = False
    stays_without_weight: ClassVar[bool] = False

    @classmethod
    def fit(cls, training: Training) -> Self | None:
        """Keep the words of the names; None where no label has a name or no column is a word. See
        `Source.fit`.

        Args:
            training: what to fit on; of it, the names.

        Returns:
            The source, or None.
        """
        words = None if training.name_words is None else training.name_words()
        return None if words is None else cls(words)

    def score(
        self,
        rows: SourceRows,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> sp.csr_array:
        """The labels of which at least FOUND of the name stands in the text; among equal shares
        the heavier name comes first, then the lower label. See `Source.score`.

        Args:
            rows: the rows to score, N.
            k: most labels of a row.
            search: not used.
            num_threads: threads; None for the default.
            constraint: which labels are let through; None: all.

        Returns:
            Scores in [0, 1], csr_array (N, L).
        """
        k = check_count(k, "k")
        X_NF, shares_LF = rows.X.sparse, self.words.shares_LF
        starts = range(0, rows.num_rows, ROWS_PER_BLOCK)

        def find(block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            low = starts[block]
            found: tuple[np.ndarray, np.ndarray, np.ndarray] = _find_names(
                X_NF.indptr, X_NF.indices, low, min(rows.num_rows, low + ROWS_PER_BLOCK),
                *self._postings, shares_LF.indptr, shares_LF.indices, shares_LF.data,
                FOUND - ROUNDING,
            )  # fmt: skip
            return found

        found_NL = _stack(run_blocks(find, len(starts), num_threads), len(self.words.weights_L))
        if constraint is not None:
            found_NL = constraint.keep(found_NL)
        stays_P = _is_best(found_NL.indptr, found_NL.indices, found_NL.data, self._weights_L, k)
        return _entries(found_NL, found_NL.data, stays_P)

    def score_given(
        self,
        rows: SourceRows,
        pairs_NL: sp.csr_array,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """The shares of the pairs' names that stand in the texts; see `Source.score_given`.

        Args:
            rows: the rows to score, N.
            pairs_NL: pairs of rows and labels, the stored entries of a csr_array (N, L).
            search: not used.
            num_threads: threads; None for the default.

        Returns:
            Scores in (0, 1], csr_array (N, L); a pair of which no word stands in the text has no
            entry.
        """
        X_NF, shares_LF = rows.X.sparse, self.words.shares_LF
        shares_P = np.empty(pairs_NL.nnz, np.float32)
        starts = range(0, rows.num_rows, ROWS_PER_BLOCK)

        def look_up(block: int) -> None:
            low = starts[block]
            _shares_given(
                X_NF.indptr, X_NF.indices, low, min(rows.num_rows, low + ROWS_PER_BLOCK),
                pairs_NL.indptr, pairs_NL.indices,
                shares_LF.indptr, shares_LF.indices, shares_LF.data, shares_P,
            )  # fmt: skip

        run_blocks(look_up, len(starts), num_threads)
        return _entries(pairs_NL, shares_P, shares_P > 0)

    def explain(
        self,
        rows: SourceRows,
        naming: Naming,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> SourceEvidence:
        """The words of names that stand in the text; see `Source.explain`.

        Args:
            rows: one row.
            naming: what columns are called.
            k: not used.
            search: not used.
            num_threads: not used.

        Returns:
            The evidence.
        """
        return _NameEvidence(self, naming, rows.X.sparse.indices)

    def fault(self, shape: ModelShape) -> str | None:
        """See `Source.fault`.

        Args:
            shape: labels and columns of the model.

        Returns:
            What is wrong, in words, or None.
        """
        if self.words.shares_LF.shape != (shape.num_labels, shape.num_features):
            return "the names are those of other labels or words"
        return None

    def check(self, num_threads: int | None = None) -> None:
        """See `Source.check`; `load` has looked at all of it.

        Args:
            num_threads: not used.
        """

    def save(self, folder: Path) -> dict[str, Any]:
        """See `Source.save`.

        Args:
            folder: the source's own folder, in the model's.

        Returns:
            No settings: an empty mapping.
        """
        save_csr(folder, "shares", self.words.shares_LF)
        save_array(folder / "weights.npy", self.words.weights_L)
        return {}

    @classmethod
    def load(cls, folder: Path, settings: SavedValues, mmap: bool = True) -> Self:
        """See `Source.load`.

        Args:
            folder: the source's own folder, in the model's.
            settings: not used.
            mmap: whether arrays are memory-mapped.

        Returns:
            The source.

        Raises:
            ArtifactError: a file is missing or damaged, a share is outside of (0, 1], or a weight
                below 0.
        """
        shares_LF = load_csr(folder, "shares", mmap)
        weights_L = load_array(folder / "weights.npy", np.float32, 1, mmap)
        if len(weights_L) != shares_LF.shape[0]:
            raise ArtifactError(
                f"{folder}: {shares_LF.shape[0]} names with {len(weights_L)} weights; restore or "
                "train it anew"
            )
        shares = shares_LF.data
        if not (shares.min(initial=1) > 0 and shares.max(initial=1) <= 1):
            raise ArtifactError(f"{folder}: a share outside of 0 to 1; restore or train it anew")
        if not (np.isfinite(weights_L).all() and weights_L.min(initial=0) >= 0):
            raise ArtifactError(
                f"{folder}: a weight below 0 or not finite; restore or train it anew"
            )
        return cls(NameWords(shares_LF, weights_L))

    def __getstate__(self) -> dict[str, Any]:
        """The words alone; the postings are made again of them."""
        return {"words": self.words}

    @cached_property
    def _weights_L(self) -> np.ndarray:
        """The weights where compiled code may take them for arrays in memory."""
        return np.array(self.words.weights_L, np.float32)

    @cached_property
    def _postings(self) -> _Postings:
        shares_LF = self.words.shares_LF
        heavy_P = _is_heavy(shares_LF.indptr, shares_LF.data, FOUND - ROUNDING)
        labels = np.repeat(np.arange(shares_LF.shape[0], dtype=np.int32), np.diff(shares_LF.indptr))
        columns, labels = shares_LF.indices[heavy_P], labels[heavy_P]
        counts_F = np.bincount(columns, minlength=shares_LF.shape[1])
        by_column = np.argsort(columns, kind="stable")
        return _Postings(np.concatenate([[0], np.cumsum(counts_F)]), labels[by_column])


class _NameEvidence(SourceEvidence):
    """The words of names that stand in a text."""

    def __init__(self, source: LabelNames, naming: Naming, words: np.ndarray) -> None:
        """`words` are the columns of the text's words."""
        self._source, self._naming, self._words = source, naming, words

    def label(self, column: int, suggested: bool) -> LabelEvidence:
        """The words of the label's name that stand in the text.

        Args:
            column: the label's column.
            suggested: not used.

        Returns:
            The words, in the order of their columns.
        """
        shares_LF = self._source.words.shares_LF
        of_name = shares_LF.indices[shares_LF.indptr[column] : shares_LF.indptr[column + 1]]
        here = np.intersect1d(of_name, self._words)
        return LabelEvidence(name_words=tuple(self._naming.term(int(each)) for each in here))


def _entries(of_NL: sp.csr_array, values_P: np.ndarray, stays_P: np.ndarray) -> sp.csr_array:
    """Some of the entries of a matrix, with other values."""
    before = np.concatenate([[0], np.cumsum(stays_P)]).astype(of_NL.indptr.dtype)
    some_NL = sp.csr_array(of_NL.shape, dtype=np.float32)
    some_NL.indptr = before[of_NL.indptr]
    some_NL.indices, some_NL.data = of_NL.indices[stays_P], values_P[stays_P]
    return some_NL


def _stack(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], num_labels: int) -> sp.csr_array:
    """Counts, labels and shares of blocks of rows as one matrix (N, L)."""
    none = (np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    counts, labels, shares = (
        np.concatenate(arrays) for arrays in zip(*(parts or [none]), strict=True)
    )
    found_NL = sp.csr_array((len(counts), num_labels), dtype=np.float32)
    found_NL.indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    found_NL.indices, found_NL.data = labels, shares
    return found_NL


@njit(nogil=True, cache=True)
def _share(words: np.ndarray, columns: np.ndarray, shares: np.ndarray) -> np.float32:
    """The sum of the shares whose columns are among the words, which ascend as they do."""
    total, at = 0.0, 0
    for j in range(len(columns)):
        at += np.searchsorted(words[at:], columns[j])
        if at == len(words):
            break
        if words[at] == columns[j]:
            total += shares[j]
    return np.float32(1.0 if total > 1.0 - ROUNDING else total)


@njit(nogil=True, cache=True)
def _shares_given(
    indptr: np.ndarray,
    indices: np.ndarray,
    low: int,
    high: int,
    pair_ptr: np.ndarray,
    pair_labels: np.ndarray,
    name_ptr: np.ndarray,
    name_columns: np.ndarray,
    name_shares: np.ndarray,
    shares_P: np.ndarray,
) -> None:
    """Shares of the pairs of rows low .. high - 1, to `shares_P`."""
    for row in range(low, high):
        words = indices[indptr[row] : indptr[row + 1]]
        for p in range(pair_ptr[row], pair_ptr[row + 1]):
            begin, end = name_ptr[pair_labels[p]], name_ptr[pair_labels[p] + 1]
            shares_P[p] = _share(words, name_columns[begin:end], name_shares[begin:end])


@njit(nogil=True, cache=True)
def _find_names(
    indptr: np.ndarray,
    indices: np.ndarray,
    low: int,
    high: int,
    post_ptr: np.ndarray,
    post_labels: np.ndarray,
    name_ptr: np.ndarray,
    name_columns: np.ndarray,
    name_shares: np.ndarray,
    least: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of which at least `least` of the name stands in rows low .. high - 1: counts a row,
    then labels (ascending) and shares.
    """
    counts = np.zeros(high - low, np.int64)
    labels_out, shares_out = np.empty(1024, np.int32), np.empty(1024, np.float32)
    size = 0
    for row in range(low, high):
        words = indices[indptr[row] : indptr[row + 1]]
        near = _near_names(words, post_ptr, post_labels)
        if size + len(near) > len(labels_out):
            room = 2 * (size + len(near))
            more_labels, more_shares = np.empty(room, np.int32), np.empty(room, np.float32)
            more_labels[:size], more_shares[:size] = labels_out[:size], shares_out[:size]
            labels_out, shares_out = more_labels, more_shares
        before, last = size, -1
        for label in near:
            if label == last:
                continue
            last = label
            begin, end = name_ptr[label], name_ptr[label + 1]
            share = _share(words, name_columns[begin:end], name_shares[begin:end])
            if share >= least:
                labels_out[size], shares_out[size] = label, share
                size += 1
        counts[row - low] = size - before
    return counts, labels_out[:size].copy(), shares_out[:size].copy()


@njit(nogil=True, cache=True)
def _near_names(words: np.ndarray, post_ptr: np.ndarray, post_labels: np.ndarray) -> np.ndarray:
    """The labels in the postings of some words, ascending; some more than once."""
    total = 0
    for word in words:
        total += post_ptr[word + 1] - post_ptr[word]
    near = np.empty(total, np.int32)
    total = 0
    for word in words:
        for p in range(post_ptr[word], post_ptr[word + 1]):
            near[total] = post_labels[p]
            total += 1
    near.sort()
    return near


@njit(nogil=True, cache=True)
def _is_heavy(name_ptr: np.ndarray, name_shares: np.ndarray, least: float) -> np.ndarray:
    """The heaviest words of each name, so many that what is left of it is below `least`: a text
    with none of them cannot have so much of the name.
    """
    heavy_P = np.zeros(len(name_shares), np.bool_)
    for label in range(len(name_ptr) - 1):
        begin, end = name_ptr[label], name_ptr[label + 1]
        shares = name_shares[begin:end]
        left = 0.0
        for share in shares:
            left += share
        for place in np.argsort(-shares, kind="mergesort"):
            if left < least:
                break
            heavy_P[begin + place] = True
            left -= shares[place]
    return heavy_P


@njit(nogil=True, cache=True)
def _is_best(
    indptr: np.ndarray, labels: np.ndarray, shares: np.ndarray, weights_L: np.ndarray, k: int
) -> np.ndarray:
    """The entries of each row that are among its `k` best: by share, then by the weight of the
    name, then the lower label.
    """
    best_P = np.zeros(len(labels), np.bool_)
    for row in range(len(indptr) - 1):
        begin, end = indptr[row], indptr[row + 1]
        if end - begin <= k:
            best_P[begin:end] = True
            continue
        by_weight = np.argsort(-weights_L[labels[begin:end]], kind="mergesort")
        by_share = np.argsort(-shares[begin:end][by_weight], kind="mergesort")
        for place in by_weight[by_share[:k]]:
            best_P[begin + place] = True
    return best_P
