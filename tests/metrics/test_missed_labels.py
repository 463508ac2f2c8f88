"""Labels that are missed, against a count by hand and a slow twin."""

from collections import Counter

import numpy as np
import scipy.sparse as sp

from xrt.metrics.missed_labels import most_missed
from xrt.metrics.ranking import judge
from xrt.sparse import as_csr


def test_by_hand() -> None:
    """Label 0 is true in three rows: label 1 stands first in two, 2 in one; label 3 is found."""
    Y = as_csr([[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    scores = np.float32([[0.5, 0.9, 0, 0], [0.5, 0.9, 0, 0], [0, 0.1, 0.9, 0], [0, 0, 0, 1]])
    (only,) = most_missed(judge(Y, as_csr(scores), 10), np.ones(4, bool))
    assert (only.column, only.num_rows, only.num_missed, only.num_late) == (0, 3, 3, 2)
    assert only.instead == ((1, 2), (2, 1))


def test_against_a_slow_twin(rng: np.random.Generator) -> None:
    Y = (rng.random((200, 12)) < 0.2).astype(np.float32)
    scores = (rng.random((200, 12)) + 0.4 * Y).astype(np.float32)
    judged = judge(as_csr(Y), as_csr(scores), 10)
    rows, missed, instead = Counter(), Counter(), {}
    for y, score in zip(Y, scores, strict=True):
        true = set(np.flatnonzero(y))
        first = set(np.argsort(-score, kind="stable")[: len(true)])
        for label in true:
            rows[label] += 1
            if label not in first:
                missed[label] += 1
                instead.setdefault(label, Counter()).update(first - true)
    found = most_missed(judged, np.ones(12, bool), num_labels=12, num_instead=12)
    assert {m.column: (m.num_rows, m.num_missed) for m in found} == {
        label: (rows[label], count) for label, count in missed.items()
    }
    assert all(dict(m.instead) == dict(instead[m.column]) for m in found)


def test_one_row_does_not_come_before_nine_of_ten(rng: np.random.Generator) -> None:
    Y = np.zeros((11, 3), np.float32)
    Y[0, 0] = 1
    Y[1:, 1] = 1
    scores = np.zeros((11, 3), np.float32)
    scores[:10, 2] = 1.0
    scores[10, 1] = 1.0
    found = most_missed(judge(as_csr(Y), as_csr(scores), 10), np.ones(3, bool))
    assert [m.column for m in found] == [1, 0]
    without = most_missed(judge(as_csr(Y), as_csr(scores), 10), np.array([True, False, True]))
    assert [m.column for m in without] == [0]


def test_nothing_is_missed_and_nothing_is_suggested() -> None:
    Y = as_csr([[1, 0], [0, 1]])
    assert most_missed(judge(Y, as_csr(np.float32([[1, 0], [0, 1]])), 10), np.ones(2, bool)) == []
    empty = most_missed(
        judge(Y, as_csr(sp.csr_array((2, 2), dtype=np.float32)), 10), np.ones(2, bool)
    )
    assert [(m.column, m.instead) for m in empty] == [(0, ()), (1, ())]
