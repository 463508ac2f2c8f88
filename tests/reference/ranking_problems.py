"""Small random truths and scores with all the odd cases, for hypothesis."""

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st


def csr_of(rows: list[dict[int, float]], num_columns: int) -> sp.csr_array:
    """A matrix from {column: value} rows; zeros stay stored."""
    indptr = np.cumsum([0] + [len(row) for row in rows])
    indices = np.array([column for row in rows for column in row], np.int32)
    data = np.array([value for row in rows for value in row.values()], np.float32)
    return sp.csr_array((data, indices, indptr), shape=(len(rows), num_columns))


@st.composite
def problems(draw):
    """Truth (some rows empty, columns beyond the scores) and scores (ties, zeros, short rows)."""
    num_predictable = draw(st.integers(1, 8))
    num_labels = num_predictable + draw(st.integers(0, 3))
    labels = st.integers(0, num_labels - 1)
    values = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.75])
    truth = draw(st.lists(st.sets(labels, max_size=5), min_size=1, max_size=6))
    scores = [draw(st.dictionaries(st.integers(0, num_predictable - 1), values)) for _ in truth]
    Y_NL = csr_of([dict.fromkeys(sorted(t), 1.0) for t in truth], num_labels)
    ranked = [sorted(row, key=lambda label, row=row: (-row[label], label)) for row in scores]
    return truth, ranked, Y_NL, csr_of(scores, num_predictable)
