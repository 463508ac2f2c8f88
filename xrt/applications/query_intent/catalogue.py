"""The catalogue as query labelling needs it: item -> values, and what values have to do with
each other.

I items, L labels (values `attribute=value`), A attributes. A value with " > " is a path, and its
ancestors are values, too; an item that has a value has its ancestors.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.applications.query_intent.value_tree import (
    ValueTree,
    attribute_of,
    last_step,
    value_of,
    value_tree,
)
from xrt.data.corpus import Corpus
from xrt.data.formats import read_corpus
from xrt.data.label_paths import read_label_paths
from xrt.data.labels import LabelTable
from xrt.data.nothing import says_nothing
from xrt.errors import DataError

_EXCLUSIVE_SHARE = 0.9
_SHOWN = 3


@dataclass(frozen=True)
class Catalogue:
    """Items and their values.

    Y_IL: float32 of ones, ancestors included. attribute_L, parent_L (-1: none), depth_L: int64.
    names: the readable value of each label, of a path the last step. exclusive_A: attributes of
    which an item has one value (or one path). notes: remarks on the items, a sentence each.
    """

    items: dict[str, int]
    titles: list[str]
    Y_IL: sp.csr_array
    labels: tuple[str, ...]
    names: tuple[str, ...]
    attributes: tuple[str, ...]
    attribute_L: np.ndarray
    parent_L: np.ndarray
    depth_L: np.ndarray
    exclusive_A: np.ndarray
    notes: tuple[str, ...] = ()

    @cached_property
    def of_attribute_LA(self) -> sp.csr_array:
        """Which labels belong to which attribute: ones (L, A)."""
        L, A = len(self.labels), len(self.attributes)
        ones = np.ones(L, np.float32)
        return sp.csr_array((ones, (np.arange(L), self.attribute_L)), shape=(L, A))

    @cached_property
    def known_IA(self) -> sp.csr_array:
        """Which items have a value of which attribute: ones (I, A)."""
        known_IA = sp.csr_array(self.Y_IL @ self.of_attribute_LA)
        known_IA.data[:] = 1
        return known_IA

    @cached_property
    def prior_L(self) -> np.ndarray:
        """Share of each value among the items that have its attribute: float64 (L,)."""
        with_value = np.asarray(self.Y_IL.sum(axis=0)).ravel()
        with_attribute = np.asarray(self.known_IA.sum(axis=0)).ravel()
        shares_L: np.ndarray = (
            with_value / np.maximum(with_attribute[self.attribute_L], 1)
        ).astype(np.float64)
        return shares_L

    @cached_property
    def related(self) -> set[tuple[int, int]]:
        """Pairs (label, ancestor), and the same the other way round."""
        pairs = set()
        for label in range(len(self.labels)):
            for ancestor in self.ancestors(label):
                pairs |= {(label, ancestor), (ancestor, label)}
        return pairs

    def ancestors(self, label: int) -> Iterator[int]:
        """Ancestors of a label, the nearest first.

        Args:
            label: Number of the label.

        Yields:
            Label numbers; nothing for a label without a parent.
        """
        parent = int(self.parent_L[label])
        while parent >= 0:
            yield parent
            parent = int(self.parent_L[parent])


def catalogue_of(corpus: Corpus, paths: str | Path | None = None) -> Catalogue:
    """The catalogue in a corpus whose rows are items: ids, titles and labels `attribute=value`.

    Of rows with the same id the last counts.

    Args:
        corpus: The items; texts are their titles.
        paths: File with a taxonomy, as `read_label_paths` reads it; None for paths in the values
            only.

    Returns:
        The catalogue; ancestors are labels, too.

    Raises:
        DataError: Rows have no ids, no item has a label, or a label lies above itself.
    """
    corpus, nothing = _without_nothing(corpus)
    where = corpus.report.path or "catalogue"
    if corpus.ids is None:
        raise DataError(
            f"{where}: items have no ids; call their column `id`",
            settings={"id_column": "to name the column of ids"},
        )
    if not corpus.num_labels or not corpus.Y.nnz:
        raise DataError(
            f"{where}: no item has a value; give items labels",
            settings={"label_columns": "to name the columns of labels"},
        )
    rows, notes = _last_rows(corpus)
    above = [] if paths is None else read_label_paths(paths, corpus.labels)
    tree = value_tree([str(id) for id in corpus.labels.ids], corpus.labels.names, above)
    labels = tree.labels
    attributes = tuple(dict.fromkeys(attribute_of(label) for label in labels))
    number = {name: i for i, name in enumerate(attributes)}
    attribute_L = np.array([number[attribute_of(label)] for label in labels])
    Y_IL = _closed(corpus.Y[rows], corpus, tree)
    name_of = {
        str(id): name for id, name in zip(corpus.labels.ids, corpus.labels.names, strict=True)
    }
    names = tuple(last_step(name_of.get(label) or value_of(label)) for label in labels)
    catalogue = Catalogue(
        items={str(corpus.ids[row]): i for i, row in enumerate(rows.tolist())},
        titles=[corpus.texts[row] if corpus.texts else "" for row in rows.tolist()],
        Y_IL=Y_IL,
        labels=tuple(labels),
        names=names,
        attributes=attributes,
        attribute_L=attribute_L,
        parent_L=tree.parent_L,
        depth_L=tree.depth_L,
        exclusive_A=_exclusive(Y_IL, attribute_L, tree.depth_L, len(attributes)),
        notes=(*_skipped(corpus), *nothing, *notes, *_about_values(attributes, attribute_L, names)),
    )
    return catalogue


def _without_nothing(corpus: Corpus) -> tuple[Corpus, list[str]]:
    """The corpus without labels such as `brand=nan`, and a note where there were any."""
    ids = [str(id) for id in corpus.labels.ids]
    valid = [i for i, id in enumerate(ids) if "=" not in id or not says_nothing(value_of(id))]
    if len(valid) == len(ids):
        return corpus, []
    dropped = sorted(set(ids) - {ids[i] for i in valid})
    names = [corpus.labels.names[i] for i in valid]
    labels = LabelTable.from_ids([ids[i] for i in valid], names)
    note = f"values that say there is none were left out: {', '.join(dropped[:_SHOWN])}"
    return replace(corpus, Y=corpus.Y[:, valid], labels=labels, filters=None), [note]


def _skipped(corpus: Corpus) -> list[str]:
    report = corpus.report
    if not report.num_skipped:
        return []
    return [f"{report.num_skipped} bad lines skipped, written to {report.bad_lines_path}"]


def _last_rows(corpus: Corpus) -> tuple[np.ndarray, list[str]]:
    """The rows that count, in order of first appearance of their id; and notes."""
    last: dict[str, int] = {}
    conflicting: dict[str, None] = {}
    num_repeated = 0
    for row, id in enumerate(corpus.ids or ()):
        before = last.get(id)
        if before is not None:
            num_repeated += 1
            if _labels_of(corpus, before) != _labels_of(corpus, row):
                conflicting[id] = None
        last[id] = row
    notes = []
    if num_repeated:
        examples = ", ".join(list(conflicting)[:_SHOWN])
        notes.append(
            f"{num_repeated} rows repeat an item; the last row counts, and {len(conflicting)} "
            f"items have other values there than before{': ' + examples if examples else ''}"
        )
    return np.array(list(last.values()), np.int64), notes


def _labels_of(corpus: Corpus, row: int) -> set[int]:
    return set(corpus.Y.indices[corpus.Y.indptr[row] : corpus.Y.indptr[row + 1]].tolist())


def _closed(Y: sp.csr_array, corpus: Corpus, tree: ValueTree) -> sp.csr_array:
    """Y over all labels, each item with the ancestors of its values."""
    columns = np.array([tree.index[str(id)] for id in corpus.labels.ids], np.int64)
    rows = np.repeat(np.arange(Y.shape[0]), np.diff(Y.indptr))
    current = columns[Y.indices]
    row_parts, column_parts = [rows], [current]
    while len(current):
        above = tree.parent_L[current]
        rows, current = rows[above >= 0], above[above >= 0]
        row_parts.append(rows)
        column_parts.append(current)
    where = np.concatenate(row_parts), np.concatenate(column_parts)
    shape = (Y.shape[0], len(tree.labels))
    closed = sp.csr_array((np.ones(len(where[0]), np.float32), where), shape=shape)
    closed.sum_duplicates()
    closed.data[:] = 1
    return closed


def _exclusive(
    Y_IL: sp.csr_array, attribute_L: np.ndarray, depth_L: np.ndarray, num_attributes: int
) -> np.ndarray:
    """Whether nine items in ten have at most one value of the attribute at each depth."""
    rows = np.repeat(np.arange(Y_IL.shape[0]), np.diff(Y_IL.indptr))
    place = attribute_L * (depth_L.max() + 1) + depth_L
    key = rows * (place.max() + 1) + place[Y_IL.indices]
    keys, counts = np.unique(key, return_counts=True)
    attribute = keys % (place.max() + 1) // (depth_L.max() + 1)
    single = np.bincount(attribute, counts == 1, num_attributes)
    return single >= _EXCLUSIVE_SHARE * np.bincount(attribute, minlength=num_attributes)


def _about_values(
    attributes: tuple[str, ...], attribute_L: np.ndarray, names: tuple[str, ...]
) -> list[str]:
    notes = []
    sizes = np.bincount(attribute_L, minlength=len(attributes))
    single = [name for name, size in zip(attributes, sizes, strict=True) if size == 1]
    if single:
        notes.append(
            f"{len(single)} attributes have one value ({', '.join(single[:_SHOWN])}): clicks "
            "cannot tell it from others, only words of the query can"
        )
    unnamed = sum(not any(c.isalpha() for c in name) for name in names)
    if unnamed:
        notes.append(
            f"{unnamed} of {len(names)} values have no letter in their name, so queries cannot "
            "name them but by words learnt from titles; give names with --names"
        )
    return notes


def read_catalogue(
    path: str | Path,
    *,
    title_columns: tuple[str, ...] = ("title",),
    label_columns: tuple[str, ...] = ("labels",),
    names: str | Path | None = None,
    paths: str | Path | None = None,
    id_column: str | None = None,
    label_separator: str | None = None,
    skip_bad_lines: bool = False,
    bad_lines_folder: str | Path = ".",
) -> Catalogue:
    """Read a catalogue from JSONL, CSV, TSV or Parquet.

    Args:
        path: The file of items.
        title_columns: Columns that make up an item's title.
        label_columns: One column holds labels `attribute=value`; of several, each is an attribute.
        names: File of lines `label TAB name`.
        paths: Taxonomy: a file of lines `label TAB ancestor > ancestor`.
        id_column: Column of the item's id; None for `uid` or `id`.
        label_separator: Splits the cell of a label column; None as `read_corpus` does by default.
        skip_bad_lines: Leave bad lines out instead of raising an error.
        bad_lines_folder: Folder into which bad lines are written that were skipped.

    Returns:
        The catalogue.

    Raises:
        DataError: The file cannot be read, or is no catalogue (see `catalogue_of`).
    """
    columns = label_columns[0] if len(label_columns) == 1 else label_columns
    corpus = read_corpus(
        path,
        text_columns=title_columns,
        label_column=columns,
        label_names=names,
        id_column=id_column,
        label_separator=label_separator,
        skip_bad_lines=skip_bad_lines,
        bad_lines_folder=bad_lines_folder,
    )
    return catalogue_of(corpus, paths)
