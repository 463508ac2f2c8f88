"""The label tree of an attribute model: by k-means, or out of the hierarchy of its attributes.

Levels of the hierarchy, coarse to fine, are the tree's upper levels; values of the other attributes
stand beside the categories they occur with most. N rows, L labels.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.settings import LabelTreeOf
from xrt.data.corpus import Corpus
from xrt.data.label_paths import write_label_paths
from xrt.errors import DataError
from xrt.pipeline.params import PipelineParams
from xrt.sparse import as_csr


def build_taxonomy_paths(space: AttributeSpace, Y_NL: sp.csr_array) -> list[tuple[str, ...]]:
    """The ancestors of each label, coarse to fine, in the order of the labels.

    A value of the hierarchy stands under the value of the level above with which it occurs most
    often (of the next level above that where it occurs with none), and a value that may have others
    below it under itself, too, so that a category and all that belongs to it are one group. A value
    of another attribute stands under the coarsest category it occurs with most often. Labels that
    say "none", and values that occur with no category, stand under their attribute. Of equally
    frequent ones the first in the table counts. Raises DataError unless Y has a column a label.

    Args:
        space: The attributes, their hierarchy and the labels.
        Y_NL: The labels of rows, sparse (N, L).

    Returns:
        One tuple for each label.
    """
    if Y_NL.shape[1] != len(space.labels):
        raise DataError(f"Y has {Y_NL.shape[1]} labels, the label space {len(space.labels)}")
    together = _Cooccurrence(space, as_csr(Y_NL, "Y"))
    paths: list[tuple[str, ...]] = [()] * len(space.labels)
    for label, attribute in enumerate(space.attribute_of_L.tolist()):
        if attribute >= 0:
            paths[label] = (space.attributes[attribute],)
    for depth, level in enumerate(space.hierarchy):
        finest = depth == len(space.hierarchy) - 1
        columns = together.values_of[level]
        parents = together.most_frequent(columns, space.hierarchy[:depth][::-1])
        for column, parent in zip(columns.tolist(), parents.tolist(), strict=True):
            above = paths[parent] if parent >= 0 else ()
            if not finest:
                paths[column] = (*above, space.labels.ids[column])
            elif above:
                paths[column] = above
    for attribute in space.attributes:
        if attribute not in space.hierarchy and space.hierarchy:
            columns = together.values_of[attribute]
            parents = together.most_frequent(columns, space.hierarchy[:1])
            for column, parent in zip(columns.tolist(), parents.tolist(), strict=True):
                if parent >= 0:
                    paths[column] = (space.labels.ids[parent],)
    return paths


class _Cooccurrence:
    """How often two labels occur in one row; "none" labels left out."""

    def __init__(self, space: AttributeSpace, Y_NL: sp.csr_array) -> None:
        self.Y_LN, self.Y_NL = as_csr(Y_NL.T, "Y"), Y_NL
        self.values_of = {
            attribute: np.setdiff1d(
                np.flatnonzero(space.attribute_of_L == position), [space.none_column(attribute)]
            )
            for position, attribute in enumerate(space.attributes)
        }

    def most_frequent(self, columns: np.ndarray, attributes: tuple[str, ...]) -> np.ndarray:
        """For each column the value it occurs with most often, of the first attribute that has any;
        -1 where none has: int64.
        """
        parents = np.full(len(columns), -1, np.int64)
        for attribute in attributes:
            others = self.values_of[attribute]
            if not len(columns) or not len(others):
                continue
            counts = sp.csr_array(self.Y_LN[columns] @ self.Y_NL[:, others])
            counts.sort_indices()
            for place in np.flatnonzero(parents < 0):
                row = slice(counts.indptr[place], counts.indptr[place + 1])
                if row.stop > row.start:
                    parents[place] = others[counts.indices[row][np.argmax(counts.data[row])]]
        return parents


FILE = "label_paths.tsv"


def set_label_tree(
    params: PipelineParams,
    label_tree: LabelTreeOf,
    space: AttributeSpace,
    corpus: Corpus,
    run_folder: Path,
) -> PipelineParams:
    """The settings with the label tree that was chosen: for a taxonomy, a file with each label's
    ancestors is written to the run folder.

    Args:
        params: The settings of the run.
        label_tree: The tree that was chosen.
        space: The attributes, their hierarchy and the labels.
        corpus: The training corpus.
        run_folder: Where the file is written.

    Returns:
        The settings; for clusters alone as they were.
    """
    if label_tree is LabelTreeOf.clusters:
        return params
    paths = build_taxonomy_paths(space, corpus.Y)
    write_label_paths(run_folder / FILE, space.labels, paths)
    inside = label_tree is LabelTreeOf.clusters_in_taxonomy
    tree = replace(params.tree, paths=str(run_folder / FILE), inside=inside)
    return replace(params, tree=tree)
