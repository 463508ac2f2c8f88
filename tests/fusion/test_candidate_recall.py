"""Recall of true labels among the candidates, against sets."""

from typing import Any

import numpy as np
import pytest

from tests.fusion.test_candidates import scattered
from tests.reference.slow_candidates import slow_recall, slow_union
from xrt.fusion.candidate_recall import UNION, CandidateRecall, recall_text
from xrt.fusion.candidates import Candidates
from xrt.sparse import as_csr


def truth(num_labels: int, seed: int = 0) -> Any:
    """Labels of 30 rows, some of confidence below 1, some rows without any."""
    rng = np.random.default_rng(seed)
    Y = (rng.random((30, num_labels)) < 0.1) * rng.choice([1.0, 0.4], (30, num_labels))
    Y[:2] = 0
    return as_csr(Y.astype(np.float32))


@pytest.mark.parametrize("num_labels", [40, 55])
def test_recall_is_that_of_sets(num_labels: int):
    """Labels that training never saw are missed."""
    sources, Y_true = scattered(6), truth(num_labels)
    found = CandidateRecall.of(Candidates.of(sources), Y_true)
    assert list(found.recall) == ["a", "b", "c", UNION]
    for name, scores_NL in sources.items():
        assert found.recall[name] == pytest.approx(
            slow_recall(slow_union({name: scores_NL}), Y_true)
        )
        assert found.per_row[name] == scores_NL.nnz / 30
    named = slow_union(sources)
    assert found.recall[UNION] == pytest.approx(slow_recall(named, Y_true))
    assert found.per_row[UNION] == pytest.approx(np.mean([len(labels) for labels in named]))
    assert found.recall[UNION] > max(found.recall[name] for name in sources)


def test_rows_count_by_their_weights():
    candidates, Y_true = Candidates.of(scattered(7)), truth(40)
    weights = np.where(np.arange(30) < 10, 2.0, 1.0)
    twice = np.concatenate([np.arange(30), np.arange(10)])
    weighted = CandidateRecall.of(candidates, Y_true, weights).recall
    expected = CandidateRecall.of(candidates.rows(twice), as_csr(Y_true[twice])).recall
    assert weighted == pytest.approx(expected)


def test_blocks_of_rows_make_the_figures_of_all():
    candidates, Y_true = Candidates.of(scattered(7)), truth(40)
    blocks = [np.arange(7), np.arange(7, 30)]
    parts = [CandidateRecall.of(candidates.rows(b), as_csr(Y_true[b])) for b in blocks]
    joined, whole = CandidateRecall.joined(parts), CandidateRecall.of(candidates, Y_true)
    assert joined.recall == pytest.approx(whole.recall)
    assert joined.per_row == pytest.approx(whole.per_row)
    assert joined.num_rows == 30


def test_a_source_alone_has_no_union_and_rows_may_lack_candidates():
    sources = {"a": scattered(8, share=0.0)["a"]}
    found = CandidateRecall.of(Candidates.of(sources), truth(40))
    assert (found.recall, found.per_row) == ({"a": 0.0}, {"a": 0.0})
    assert "10 rows: a 0.00 (0)" in recall_text({"10 rows": found})
    assert found.cells("10 rows") == [["10 rows", "a", 0.0, 0.0]]
