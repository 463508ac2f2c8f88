"""Rows that repeat each other with other labels, and test rows that stand in training.

N rows, M test rows, W neighbours. Exact: equal once case, width, punctuation and blanks are gone.
Near: TF-IDF cosine of at least `near_duplicate` with one of the nearest rows.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.evidence.evidence_stages import AuditedRows
from xrt.applications.audit.evidence.nearest_rows import NearestRows
from xrt.data.corpus import Corpus
from xrt.data.equal_rows import groups_of
from xrt.errors import DataError
from xrt.progress import Progress
from xrt.sources.votes import Neighbours
from xrt.sparse import as_csr, binarize, normalize_rows

MAX_EXAMPLES = 200


def conflicting_rows(
    corpus: Corpus, group_N: np.ndarray, neighbours: Neighbours, least: float
) -> dict[str, Any]:
    """Count exact and near duplicates, and those with other labels.

    Args:
        corpus: The corpus.
        group_N: Number of each row's group of equal rows, int64 (N,).
        neighbours: The nearest other rows of each row.
        least: Cosine similarity from which rows are near duplicates.

    Returns:
        For `exact` and `near`: numbers of pairs, of those with other labels and of those without a
        common label, and as `examples` the MAX_EXAMPLES pairs with the least in common, with what
        each row has alone.
    """
    Y_NL = binarize(as_csr(corpus.Y))
    order = np.argsort(group_N, kind="stable")
    same = np.flatnonzero(np.diff(group_N[order]) == 0)
    exact = np.column_stack([order[same], order[same + 1]])
    rows, places = np.nonzero(neighbours.similarities_MW >= least)
    near = np.column_stack([rows, neighbours.rows_MW[rows, places]])
    near = np.unique(np.sort(near, axis=1), axis=0)
    near = near[group_N[near[:, 0]] != group_N[near[:, 1]]]
    report: dict[str, Any] = {}
    for name, pairs in (("exact", exact), ("near", near)):
        shared = np.asarray(Y_NL[pairs[:, 0]].multiply(Y_NL[pairs[:, 1]]).sum(axis=1)).ravel()
        counts = np.diff(Y_NL.indptr)[pairs]
        other = (counts[:, 0] != shared) | (counts[:, 1] != shared)
        alike = shared / np.maximum(counts.sum(axis=1) - shared, 1)
        conflicts = pairs[other][np.argsort(alike[other], kind="stable")]
        report[name] = {
            "pairs": len(pairs),
            "with_other_labels": int(other.sum()),
            "without_common_label": int((other & (shared == 0)).sum()),
            "examples": [
                _example(corpus, Y_NL, int(a), int(b)) for a, b in conflicts[:MAX_EXAMPLES]
            ],
        }
    return report


def _example(corpus: Corpus, Y_NL: sp.csr_array, a: int, b: int) -> dict[str, Any]:
    own, other = (
        {corpus.labels.ids[j] for j in Y_NL.indices[Y_NL.indptr[row] : Y_NL.indptr[row + 1]]}
        for row in (a, b)
    )
    text = "" if corpus.texts is None else corpus.texts[a][:120]
    return {
        "rows": [a, b], "text": text, "only_first": sorted(own - other),
        "only_second": sorted(other - own),
    }  # fmt: skip


def leakage(
    corpus: Corpus,
    test: Corpus,
    rows: AuditedRows,
    params: AuditParams,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How many test rows stand in training, exactly or nearly.

    Args:
        corpus: The training corpus.
        test: The test corpus.
        rows: The training corpus's rows.
        params: Of these, `near_duplicate` and `num_threads` are used.
        progress: Shows the search for similar rows; None shows nothing.

    Returns:
        Numbers of `test_rows`, `exact` and `near`, and the first MAX_EXAMPLES of those rows as
        `examples`.

    Raises:
        DataError: One has texts and the other features, or features of another width.
    """
    if (corpus.texts is None) != (test.texts is None):
        raise DataError(
            f"{test.report.path}: texts in one and features in the other; give both alike"
        )
    groups = groups_of(_below(corpus, test))
    first = {
        int(group): row for row, group in reversed(list(enumerate(groups[: len(rows.group_N)])))
    }
    exact_M = np.array([first.get(int(group), -1) for group in groups[len(rows.group_N) :]])
    queries = _queries(test, rows)
    neighbours = NearestRows(rows.X_NF, 1).nearest(queries, params.num_threads, progress=progress)
    near_M = (neighbours.similarities_MW[:, 0] >= params.near_duplicate) & (exact_M < 0)
    leaked = np.concatenate([np.flatnonzero(exact_M >= 0), np.flatnonzero(near_M)])
    return {
        "test_rows": test.num_instances,
        "exact": int((exact_M >= 0).sum()),
        "near": int(near_M.sum()),
        "examples": [
            {
                "test_row": int(row),
                "row": int(exact_M[row] if exact_M[row] >= 0 else neighbours.rows_MW[row, 0]),
                "exact": bool(exact_M[row] >= 0),
                "text": "" if test.texts is None else test.texts[row][:120],
            }
            for row in leaked[:MAX_EXAMPLES]
        ],
    }


def _queries(test: Corpus, rows: AuditedRows) -> sp.csr_array:
    if rows.features is not None and test.texts is not None:
        return rows.features.transform(test.texts)
    X_MF = normalize_rows(as_csr(test.X, "X"))
    if X_MF.shape[1] != rows.X_NF.shape[1]:
        raise DataError(
            f"{test.report.path}: {X_MF.shape[1]} features, the audited file has "
            f"{rows.X_NF.shape[1]}; give files of the same set"
        )
    return X_MF


def _below(corpus: Corpus, test: Corpus) -> Corpus:
    """Both as one, for their texts or features alone."""
    size = corpus.num_instances + test.num_instances
    no_labels = sp.csr_array((size, corpus.num_labels), dtype=np.float32)
    if corpus.texts is not None and test.texts is not None:
        return Corpus([*corpus.texts, *test.texts], no_labels, corpus.labels)
    X = as_csr(sp.vstack([as_csr(corpus.X), as_csr(test.X)], format="csr"))
    return Corpus(None, no_labels, corpus.labels, X=X)
