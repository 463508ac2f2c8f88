"""Which labels a text may be given.

N rows, L labels, K_t nodes of level t. A node of the tree may be entered as long as a label below
it may be given, so that no place in the beam is lost to what is not wanted.
"""

import reprlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.labels import LabelTable
from xrt.errors import DataError
from xrt.inputs import is_table
from xrt.jit import njit
from xrt.sparse import binarize
from xrt.tree.label_tree import LabelTree

LabelSets = Collection[str] | Sequence[Collection[str]]
"""Label ids for all texts, or as many collections of ids as there are texts."""


@dataclass(frozen=True, eq=False)
class Constraint:
    """Marked columns of each row, (N, L), or of all rows alike, (1, L): with `allows` no other
    label may be given, without it none of these.
    """

    marked_NL: sp.csr_array
    allows: bool

    def rows(self, low: int, high: int) -> "Constraint":
        """What holds for rows low .. high - 1.

        Args:
            low: first row.
            high: the row behind the last.

        Returns:
            The constraint of those rows; itself where it holds for all rows alike.
        """
        if self.marked_NL.shape[0] == 1:
            return self
        return Constraint(binarize(self.marked_NL[low:high]), self.allows)

    def at(self, tree: LabelTree, t: int) -> "Constraint":
        """What follows for the nodes of level t: those with an allowed label below may be entered;
        those with none but forbidden ones may not.

        Args:
            tree: the label tree.
            t: the level, from 0.

        Returns:
            A constraint on K_t columns.
        """
        counts_NK = tree.level_targets(self.marked_NL)[t]
        if not self.allows:
            below_K = np.bincount(tree.labels_below(t), minlength=tree.num_nodes(t))
            counts_NK = counts_NK.copy()
            counts_NK.data = (counts_NK.data == below_K[counts_NK.indices]).astype(np.float32)
        return Constraint(binarize(counts_NK), self.allows)

    def open_nodes(self, tree: LabelTree) -> list[np.ndarray]:
        """The nodes of each level that any row may enter, of a constraint on all rows alike, the
        last of them labels that may be given: bool (K_t,).

        Args:
            tree: the label tree.

        Returns:
            An array for each level, coarse to fine.
        """
        open_K = np.full(tree.num_labels, not self.allows)
        open_K[self.marked_NL.indices] = self.allows
        levels = [open_K]
        for t in range(tree.depth - 1, 0, -1):
            above_K = np.zeros(tree.num_nodes(t - 1), bool)
            above_K[tree.parents[t][levels[0]]] = True
            levels.insert(0, above_K)
        return levels

    def keep(self, scores_NK: sp.csr_array) -> sp.csr_array:
        """The scores of what may be given; an entry of 0 stays an entry.

        Args:
            scores_NK: scores of as many columns as the constraint has, csr_array (N, K).

        Returns:
            A new matrix of the entries that are let through, float32.
        """
        allowed_P = _marked(
            scores_NK.indptr, scores_NK.indices, self.marked_NL.indptr, self.marked_NL.indices
        )
        allowed_P = allowed_P == self.allows
        before = np.concatenate([[0], np.cumsum(allowed_P)]).astype(scores_NK.indptr.dtype)
        kept_NK = sp.csr_array(scores_NK.shape, dtype=np.float32)
        kept_NK.indptr = before[scores_NK.indptr]
        kept_NK.indices, kept_NK.data = scores_NK.indices[allowed_P], scores_NK.data[allowed_P]
        return kept_NK

    def mask(self, num_rows: int) -> np.ndarray:
        """True where a label may be given: bool (num_rows, L).

        Args:
            num_rows: rows of the mask; the constraint has as many, or holds for all alike.

        Returns:
            The mask; it may be a read-only view.
        """
        marked_NL = self.marked_NL.toarray() > 0
        return np.broadcast_to(marked_NL == self.allows, (num_rows, marked_NL.shape[1]))


@njit(nogil=True, cache=True)
def _marked(
    indptr: np.ndarray, indices: np.ndarray, mark_ptr: np.ndarray, marks: np.ndarray
) -> np.ndarray:
    """Which entries of a csr matrix stand in another one, of as many rows or of one for all."""
    found = np.zeros(len(indices), np.bool_)
    for row in range(len(indptr) - 1):
        like = row if len(mark_ptr) > 2 else 0
        of_row = marks[mark_ptr[like] : mark_ptr[like + 1]]
        for entry in range(indptr[row], indptr[row + 1]):
            place = np.searchsorted(of_row, indices[entry])
            found[entry] = place < len(of_row) and of_row[place] == indices[entry]
    return found


def constraint_of(
    labels: LabelTable,
    num_rows: int,
    allowed: LabelSets | None = None,
    forbidden: LabelSets | None = None,
) -> Constraint | None:
    """The constraint of allowed and forbidden label ids; None where neither is given.

    What is both is forbidden.

    Args:
        labels: the labels of the model.
        num_rows: number of texts.
        allowed: label ids, for all texts or a collection for each; None: all labels.
        forbidden: label ids, for all texts or a collection for each; None: no label.

    Returns:
        The constraint, or None.

    Raises:
        DataError: a label is unknown, there are not as many sets as texts, or nothing is left for a
            text.
    """
    if forbidden is not None:
        barred_NL = _columns(labels, num_rows, forbidden, "forbidden")
        if allowed is None:
            _require_some(np.diff(barred_NL.indptr) < len(labels), "every label is forbidden")
            return Constraint(barred_NL, allows=False)
    if allowed is None:
        return None
    marked_NL = _columns(labels, num_rows, allowed, "allowed")
    _require_some(np.diff(marked_NL.indptr) > 0, "no label is allowed")
    if forbidden is not None:
        rows = max(marked_NL.shape[0], barred_NL.shape[0])
        marked_NL, barred_NL = (_repeated(part, rows) for part in (marked_NL, barred_NL))
        marked_NL = binarize(sp.csr_array(marked_NL - marked_NL.multiply(barred_NL)))
        _require_some(np.diff(marked_NL.indptr) > 0, "every allowed label is forbidden, too")
    return Constraint(marked_NL, allows=True)


def _require_some(some_N: np.ndarray, fault: str) -> None:
    if not some_N.all():
        where = "" if len(some_N) == 1 else f"text {int(np.argmin(some_N))}: "
        raise DataError(f"{where}{fault}, so nothing can be suggested; change allowed or forbidden")


def _repeated(marks: sp.csr_array, num_rows: int) -> sp.csr_array:
    return marks if marks.shape[0] == num_rows else marks[np.zeros(num_rows, np.int64)]


def _columns(labels: LabelTable, num_rows: int, sets: LabelSets, what: str) -> sp.csr_array:
    """A row for each set; one row where the ids are those of all texts."""
    sets = _collection(sets, what)
    of_texts = [sets]
    if not all(isinstance(label, str) for label in sets):
        single = next((each for each in sets if not isinstance(each, Iterable)), sets)
        if single is not sets:
            raise DataError(f"{what}: label {reprlib.repr(single)} is no string; ids are strings")
        if len(sets) != num_rows or any(isinstance(each, str) for each in sets):
            raise DataError(
                f"{what}: {len(sets)} sets of labels for {num_rows} texts; give labels for all "
                "texts, or a set for each"
            )
        of_texts = [_collection(each, f"{what}, text {text}") for text, each in enumerate(sets)]
    columns: list[np.ndarray] = []
    for text, of_text in enumerate(of_texts):
        of_set = columns_of(labels, of_text, f"{what}, text {text}" if len(of_texts) > 1 else what)
        columns.append(np.unique(of_set).astype(np.int32))
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in columns])]).astype(np.int32)
    indices = np.concatenate(columns)
    ones = np.ones(len(indices), np.float32)
    return sp.csr_array((ones, indices, indptr), shape=(len(of_texts), len(labels)))


def columns_of(labels: LabelTable, ids: Collection[str], what: str) -> np.ndarray:
    """The column of each label, in the order given: int64.

    Args:
        labels: the labels of the model.
        ids: label ids.
        what: what they are, for messages.

    Returns:
        Columns, (number of ids,).

    Raises:
        DataError: an id is unknown or no string, or `ids` is no collection.
    """
    columns = []
    for label in _collection(ids, what):
        if not isinstance(label, str):
            raise DataError(f"{what}: label {reprlib.repr(label)} is no string; ids are strings")
        column = labels.column_of(label)
        if column is None:
            raise DataError(
                f"{what}: label {reprlib.repr(label)} is none of the model's {len(labels):,}; its "
                "labels.tsv has their ids"
            )
        columns.append(column)
    return np.array(columns, np.int64)


def _collection(values: Any, what: str) -> list[Any]:
    """The items of a collection of labels, or of sets of them."""
    if isinstance(values, str):
        raise DataError(f"{what}: one string where a collection of labels is needed; write [label]")
    try:
        if is_table(values):
            raise TypeError
        return list(values)
    except TypeError:
        raise DataError(
            f"{what}: a {type(values).__name__} where a collection of labels is needed; pass a list"
        ) from None
