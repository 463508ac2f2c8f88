"""Rows whose labels do not agree with the taxonomy.

L labels. Ancestors come from a file of paths, or from labels written as `A > B > C`. Whether the
ancestors of a label should be given beside it is read from the corpus: where most rows do it, the
others miss one; where hardly any does, those that do say the same thing twice.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.label_paths import STEP
from xrt.data.side_tables import id_key, read_side_table
from xrt.sparse import as_csr, binarize

MAX_EXAMPLES = 200
MOST, HARDLY_ANY = 0.8, 0.2
ONE_BRANCH = 0.95
"""Share of rows within one top branch from which rows in several are reported."""


def paths_of_labels(corpus: Corpus) -> list[tuple[str, ...]] | None:
    """The ancestors of labels whose id or name is a path `A > B > C`.

    Args:
        corpus: The corpus.

    Returns:
        Names of each label's ancestors, the coarsest first, () for a label that is no path; None
        where no label is one.
    """
    texts = [
        label if f" {STEP} " in label else name
        for label, name in zip(corpus.labels.ids, corpus.labels.names, strict=True)
    ]
    parts = [tuple(step.strip() for step in each.split(f" {STEP} ")) for each in texts]
    if not any(len(path) > 1 for path in parts):
        return None
    return [path[:-1] for path in parts]


def hierarchy_report(corpus: Corpus, paths: list[tuple[str, ...]]) -> dict[str, Any]:
    """What is odd about rows: missing ancestors, redundant ones, labels of several branches.

    Args:
        corpus: The corpus.
        paths: Names of each label's ancestors, the coarsest first.

    Returns:
        Counts, and for each of `missing_ancestors`, `redundant_ancestors` and `several_branches`
        what was found. Missing ones are looked for where most ancestors of given labels are given,
        too; redundant ones where hardly any is.
    """
    Y_NL = binarize(as_csr(corpus.Y))
    edges = _edges(corpus, paths)
    report: dict[str, Any] = {"labels_with_ancestors": sum(bool(path) for path in paths)}
    child, ancestor = edges.T
    above_LL = sp.csr_array(
        (np.ones(len(edges), np.float32), (child, ancestor)), shape=(len(paths), len(paths))
    )
    ancestors_NL = binarize(as_csr(Y_NL @ above_LL))
    both = as_csr(ancestors_NL.multiply(Y_NL))
    share = both.nnz / ancestors_NL.nnz if ancestors_NL.nnz else 0.0
    report |= {"ancestor_pairs": int(ancestors_NL.nnz), "share_with_ancestor": round(share, 4)}
    missing = redundant = sp.csr_array(Y_NL.shape, dtype=np.float32)
    if share >= MOST:
        missing = as_csr(sp.csr_array(ancestors_NL - both))
        missing.eliminate_zeros()
    elif share <= HARDLY_ANY:
        redundant = both
    report["missing_ancestors"] = _with_examples(corpus, missing)
    report["redundant_ancestors"] = _with_examples(corpus, redundant)
    report["several_branches"] = _several_branches(corpus, Y_NL, paths)
    return report


def _edges(corpus: Corpus, paths: list[tuple[str, ...]]) -> np.ndarray:
    """(label, ancestor) for each ancestor that is itself a label, by id, path or name: (E, 2)."""
    column: dict[str, int] = {}
    for i, (label_id, name) in enumerate(zip(corpus.labels.ids, corpus.labels.names, strict=True)):
        column.setdefault(label_id, i)
        column.setdefault(name or label_id, i)
    edges = []
    for label, path in enumerate(paths):
        for depth, step in enumerate(path):
            path_text = f" {STEP} ".join(path[: depth + 1])
            ancestor = column.get(path_text, column.get(step))
            if ancestor is not None and ancestor != label:
                edges.append((label, ancestor))
    return np.array(edges, np.int64).reshape(-1, 2)


def _with_examples(corpus: Corpus, cells_NL: sp.csr_array) -> dict[str, Any]:
    coo = cells_NL.tocoo()
    examples = [
        {"row": int(row), "label": corpus.labels.ids[label]}
        for row, label in zip(coo.row[:MAX_EXAMPLES], coo.col[:MAX_EXAMPLES], strict=True)
    ]
    return {"count": int(cells_NL.nnz), "examples": examples}


def _several_branches(
    corpus: Corpus, Y_NL: sp.csr_array, paths: list[tuple[str, ...]]
) -> dict[str, Any]:
    """Rows with labels of several top branches, where nearly all rows keep to one."""
    roots = {root: i for i, root in enumerate(dict.fromkeys(path[0] for path in paths if path))}
    branch_of_label = [(label, roots[path[0]]) for label, path in enumerate(paths) if path]
    if len(roots) < 2:
        return {"count": 0, "examples": []}
    label, root = np.array(branch_of_label).T
    shape = (len(paths), len(roots))
    branch_LB = sp.csr_array((np.ones(len(label), np.float32), (label, root)), shape=shape)
    branches_N = np.diff(binarize(as_csr(Y_NL @ branch_LB)).indptr)
    rows = np.flatnonzero(branches_N > 1)
    if len(rows) > (1 - ONE_BRANCH) * max(1, int((branches_N > 0).sum())):
        return {"count": 0, "examples": []}
    ids, indptr = corpus.labels.ids, Y_NL.indptr
    examples = [
        {"row": int(row), "labels": [ids[j] for j in Y_NL.indices[indptr[row] : indptr[row + 1]]]}
        for row in rows[:MAX_EXAMPLES]
    ]
    return {"count": len(rows), "examples": examples}


def unknown_labels(corpus: Corpus, path: str) -> list[str]:
    """Labels of a file of paths that the corpus lacks, in the file's order.

    Args:
        corpus: The corpus.
        path: A file of paths, `label TAB path`.

    Returns:
        Ids of the labels.

    Raises:
        DataError: The file cannot be read.
    """
    known = set(map(id_key, corpus.labels.ids))
    return [entry.id for entry in read_side_table(path) if id_key(entry.id) not in known]
