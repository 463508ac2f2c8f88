"""The kernels of an audit beside their readable twins, and what follows from evidence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference import slow_audit
from tests.small_corpora import write_rows
from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.auditing import audit
from xrt.applications.audit.evidence import nearest_rows
from xrt.applications.audit.evidence.name_matches import name_matches
from xrt.applications.audit.evidence.nearest_rows import (
    NearestRows,
    agreement_of_pairs,
)
from xrt.applications.audit.scoring.decoys import draw_decoys
from xrt.applications.audit.scoring.folds import fold_of_rows
from xrt.applications.audit.scoring.out_of_fold import in_row_order, score_fold
from xrt.applications.audit.scoring.probabilities import Evidence, calibrated, shrunk_thresholds
from xrt.applications.audit.suggestions.pairs import LabelPairs, join_pairs
from xrt.applications.audit.suggestions.suggestion import read_suggestions
from xrt.applications.audit.suggestions.suspects import (
    AssessedPairs,
    suspected_missing,
    suspected_wrong,
)
from xrt.data.equal_rows import groups_of_texts
from xrt.data.formats import read_corpus
from xrt.data.labels import LabelTable
from xrt.errors import ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.search.beam import SearchParams
from xrt.sources.neighbours import TEMPERATURE
from xrt.sources.path_scores import path_scores
from xrt.sources.ranker import RankerParams, TreeRanker, train_ranker
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr, normalize_rows
from xrt.tree.label_tree import LabelTree

WIDE = SearchParams(beam_size=10_000)


def random_rows(num_rows: int, num_columns: int, seed: int, share: float = 0.2) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    dense = rng.random((num_rows, num_columns)) * (rng.random((num_rows, num_columns)) < share)
    return normalize_rows(as_csr(dense.astype(np.float32)))


def random_labels(num_rows: int, num_labels: int, seed: int) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    return as_csr((rng.random((num_rows, num_labels)) < 0.08).astype(np.float32))


@pytest.fixture(scope="module")
def ranker() -> tuple[TreeRanker, sp.csr_array, sp.csr_array]:
    X_NF, Y_NL = random_rows(200, 60, 0), random_labels(200, 40, 1)
    rows = HybridMatrix.of(X_NF)
    clusters = np.random.default_rng(2).permutation(40).astype(np.int32) % 9
    above = (np.zeros(3, np.int32), np.arange(9, dtype=np.int32) // 3)
    tree = LabelTree.from_clusters(clusters, above)
    return train_ranker(rows, Y_NL, tree, RankerParams(), 0), X_NF, Y_NL


@pytest.mark.parametrize("threads", [1, 3])
def test_path_scores_are_those_of_an_exhaustive_search(
    ranker: tuple[TreeRanker, sp.csr_array, sp.csr_array], threads: int
) -> None:
    model, X_NF, Y_NL = ranker
    found = path_scores(model, HybridMatrix.of(X_NF), Y_NL, WIDE, threads)
    every = TreeEnsemble((model,)).search(HybridMatrix.of(X_NF), 40, WIDE).toarray()
    assert found.nnz == Y_NL.nnz
    rows = np.repeat(np.arange(200), np.diff(found.indptr))
    np.testing.assert_array_equal(found.data, every[rows, found.indices])


def test_path_scores_are_those_of_the_readable_twin(
    ranker: tuple[TreeRanker, sp.csr_array, sp.csr_array],
) -> None:
    model, X_NF, Y_NL = ranker
    found = path_scores(model, HybridMatrix.of(X_NF), Y_NL, WIDE)
    dense = X_NF.toarray()
    for row in range(0, 200, 23):
        for place in range(found.indptr[row], found.indptr[row + 1]):
            slow = slow_audit.path_score(model, dense[row], found.indices[place], WIDE)
            assert found.data[place] == pytest.approx(slow, abs=1e-5)


def test_path_scores_of_rows_without_words_and_without_labels(
    ranker: tuple[TreeRanker, sp.csr_array, sp.csr_array],
) -> None:
    model, _, Y_NL = ranker
    empty = HybridMatrix.of(sp.csr_array((3, 60), dtype=np.float32))
    asked = as_csr(Y_NL[:3])
    found = path_scores(model, empty, asked, WIDE)
    every = TreeEnsemble((model,)).search(empty, 40, WIDE).toarray()
    rows = np.repeat(np.arange(3), np.diff(asked.indptr))
    np.testing.assert_array_equal(found.data, every[rows, found.indices])
    nothing = sp.csr_array((3, 40), dtype=np.float32)
    assert path_scores(model, empty, nothing, WIDE).nnz == 0


def test_a_pair_has_one_score_named_or_given() -> None:
    """By all trees of the fold: a given label that is named too has the same score."""
    X_NF, Y_NL = random_rows(200, 60, 4), random_labels(200, 40, 5)
    held_out_N = np.arange(200) % 4 == 0
    labels = LabelTable.from_ids([f"L{i}" for i in range(40)])
    params = AuditParams(candidates=12, num_threads=1)
    found = score_fold(X_NF, Y_NL, Y_NL, None, labels, held_out_N, params)
    best, given = found.best_NL.toarray(), found.given_NL.toarray()
    np.testing.assert_array_equal(given, found.decoys_NL.toarray())
    both = (best > 0) & (given > 0)
    assert both.sum() > 20
    np.testing.assert_array_equal(best[both], given[both])


def test_nearest_rows_are_those_of_the_readable_twin() -> None:
    X_NF = random_rows(80, 30, 3)
    found = NearestRows(X_NF, 6).nearest(X_NF, excluded_M=np.arange(80))
    dense = X_NF.toarray()
    for row in range(80):
        slow = slow_audit.nearest(dense, dense[row], 6, row)
        own = [r for r in found.rows_MW[row].tolist() if r >= 0]
        np.testing.assert_allclose(
            found.similarities_MW[row, : len(slow)], [s for _, s in slow], atol=1e-6
        )
        assert len(own) == len(slow)
        assert row not in own


def test_common_words_find_no_rows_but_count_in_the_cosine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = np.array([[9, 1, 0], [9, 0, 1], [9, 1, 0], [9, 0, 0]], np.float32)
    X_NF = normalize_rows(as_csr(rows))
    monkeypatch.setattr(nearest_rows, "POSTINGS", 3)
    found = NearestRows(X_NF, 2).nearest(X_NF, excluded_M=np.arange(4))
    assert found.rows_MW[0].tolist() == [2, -1]
    assert found.similarities_MW[0, 0] == pytest.approx(1.0)
    assert (found.rows_MW[3] >= 0).sum() == 2  # its only word finds all the same


def test_agreement_and_name_matches_are_those_of_the_readable_twins() -> None:
    X_NF, Y_NL = random_rows(60, 30, 4), random_labels(60, 20, 5)
    names_LF = random_rows(20, 30, 6, share=0.1)
    found = NearestRows(X_NF, 5).nearest(X_NF, excluded_M=np.arange(60))
    rows_P, labels_P = (part.ravel() for part in np.indices((60, 20)))
    ptr_N = np.arange(61) * 20
    votes_P, counts_P = agreement_of_pairs(found, Y_NL, ptr_N, labels_P.astype(np.int32))
    matches_P = name_matches(X_NF, names_LF, rows_P, labels_P)
    X, Y, names = X_NF.toarray(), Y_NL.toarray(), names_LF.toarray()
    for p in range(0, 1200, 7):
        row, label = int(rows_P[p]), int(labels_P[p])
        neighbours = [
            (int(r), float(s))
            for r, s in zip(found.rows_MW[row], found.similarities_MW[row], strict=True)
            if r >= 0
        ]
        slow = slow_audit.agreement(neighbours, Y, label, TEMPERATURE)
        assert votes_P[p] == pytest.approx(slow, abs=1e-5)
        assert counts_P[p] == sum(Y[r, label] > 0 for r, _ in neighbours)
        assert matches_P[p] == pytest.approx(slow_audit.name_match(X[row], names[label]), abs=1e-6)


def test_thresholds_of_one_frequency_are_shrunk_means() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [2, 3, 4])  # all within 2-4 rows
    for spread in (0.0, 0.5):
        probabilities = np.clip(rng.random(9) * 0.3 + spread * (labels / 2), 0, 1)
        found = shrunk_thresholds(labels, probabilities, 4)
        slow = slow_audit.thresholds(labels.tolist(), probabilities.tolist(), 3)
        np.testing.assert_allclose(found[:3], slow)
        assert found[3] == pytest.approx(probabilities.mean())  # no row: that of the rarest


def test_a_label_of_one_row_takes_the_mean_of_its_range() -> None:
    found = shrunk_thresholds(np.array([0, 1, 2]), np.array([0.1, 0.5, 0.9]), 3)
    np.testing.assert_allclose(found, 0.5)


def test_pairs_hold_the_best_and_every_given_label_once() -> None:
    best = as_csr(np.array([[0.9, 0.0, 0.5], [0.0, 0.3, 0.0]], np.float32))
    given = as_csr(np.array([[0.8, 0.2, 0.0], [0.0, 0.0, 0.0]], np.float32))
    pairs = join_pairs(best, given, 2)
    assert pairs.ptr_N.tolist() == [0, 3, 4]
    assert pairs.labels_P.tolist() == [0, 1, 2, 1]
    assert pairs.given_P.tolist() == [True, True, False, False]
    assert pairs.ranks_P.tolist() == [1, 3, 2, 1]  # the label beyond the best is one behind
    np.testing.assert_allclose(pairs.scores_P, [0.8, 0.2, 0.5, 0.3])
    kept = pairs.take(pairs.given_P)
    assert kept.ptr_N.tolist() == [0, 2, 2]
    assert kept.labels_P.tolist() == [0, 1]


def test_rows_of_one_text_share_a_fold_and_folds_are_even() -> None:
    texts = ["Two  Words", "two words!", "other", "ＴＷＯ words", *(f"text {i}" for i in range(20))]
    group_N = groups_of_texts(texts)
    assert group_N[0] == group_N[1] == group_N[3] != group_N[2]
    fold_N = fold_of_rows(group_N, 4, 0)
    assert len({fold_N[0], fold_N[1], fold_N[3]}) == 1
    sizes = np.bincount(fold_N[np.unique(group_N, return_index=True)[1]], minlength=4)
    assert sizes.max() - sizes.min() <= 1
    assert (fold_of_rows(group_N, 4, 0) == fold_N).all()
    assert (fold_of_rows(group_N, 4, 1) != fold_N).any()


@pytest.mark.parametrize(("groups", "told"), [([0, 1, 2], "folds=3"), ([0, 0], "at least 2")])
def test_more_folds_than_rows_are_refused(groups: list[int], told: str) -> None:
    with pytest.raises(DataError, match=told):
        fold_of_rows(np.array(groups), 5, 0)


def test_rows_of_folds_go_back_to_their_places() -> None:
    Y_NL = random_labels(30, 10, 2)
    fold_N = np.random.default_rng(0).integers(0, 3, 30)
    parts = [as_csr(Y_NL[np.flatnonzero(fold_N == fold)]) for fold in range(3)]
    assert (in_row_order(parts, fold_N) != Y_NL).nnz == 0


def test_decoys_are_never_given_and_depend_on_the_seed() -> None:
    Y_NL = random_labels(300, 40, 3)
    decoys = draw_decoys(Y_NL, 0)
    assert decoys.multiply(Y_NL).nnz == 0
    assert np.diff(decoys.indptr).max() == 1
    assert decoys.nnz > 250
    assert (draw_decoys(Y_NL, 0) != decoys).nnz == 0
    assert (draw_decoys(Y_NL, 1) != decoys).nnz > 0


def test_probabilities_are_learnt_on_the_other_folds() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(4000).astype(np.float32)
    given = rng.random(4000) < scores
    fold = rng.integers(0, 2, 4000)
    counts, everyone = np.full(4000, 100), np.ones(4000, bool)
    before = calibrated(scores, given, counts, fold, everyone)
    changed = np.where(fold == 0, False, given)
    after = calibrated(scores, changed, counts, fold, everyone)
    np.testing.assert_array_equal(before[fold == 0], after[fold == 0])
    assert (before[fold == 1] != after[fold == 1]).any()
    assert np.abs(before - scores).mean() < 0.1


def test_params_are_checked() -> None:
    from xrt.applications.audit.audit_params import AuditParams
    from xrt.errors import ConfigError

    with pytest.raises(ConfigError, match="folds = 1"):
        AuditParams(folds=1)
    with pytest.raises(ConfigError, match="wrong_quantile"):
        replace(AuditParams(), wrong_quantile=1.5)


def judged_pairs(counts: list[int], given: list[bool], probability: list[float]) -> AssessedPairs:
    """One row with as many labels, each with its rows elsewhere, all ranked low."""
    num = len(counts)
    rows, labels = np.zeros(num, np.int32), np.arange(num, dtype=np.int32)
    chances = np.array(probability, np.float32)
    ranks = np.full(num, 51, np.int16)
    pairs = LabelPairs(np.array([0, num]), rows, labels, chances, ranks, np.array(given))
    evidence = Evidence(chances, chances, chances, chances, np.array(counts))
    return AssessedPairs(pairs, evidence, chances, 1 - chances, np.full(num, 0.5))


@pytest.mark.parametrize(("least", "wrong", "missing"), [(1, [1, 2], [4, 5]), (3, [2], [5])])
def test_labels_that_the_judging_model_has_not_seen_are_not_suspected(
    least: int, wrong: list[int], missing: list[int]
) -> None:
    judged = judged_pairs(
        [0, 1, 9, 0, 2, 9], [True] * 3 + [False] * 3, [0.01, 0.02, 0.03, 0.9, 0.8, 0.7]
    )
    params = AuditParams(min_label_rows=least, wrong_quantile=1)
    assert suspected_wrong(judged, params).places_S.tolist() == wrong
    assert suspected_missing(judged, params).places_S.tolist() == missing


def test_ranks_of_wrong_labels_are_among_judged_ones_only() -> None:
    """Unseen labels look most wrong; they do not push seen ones out of the share that is told."""
    judged = judged_pairs([0] * 90 + [5] * 10, [True] * 100, [0.0] * 90 + [0.4] * 9 + [0.01])
    found = suspected_wrong(judged, AuditParams(wrong_quantile=0.1))
    assert found.places_S.tolist() == [99]
    assert found.scores_S[0] == pytest.approx(0.95)


def test_a_label_for_each_row_gives_no_suggestion(tmp_path: Path) -> None:
    words = ("red", "green", "blue", "teal", "grey", "pink", "gold", "cyan", "lime", "navy")
    rows = [{"text": f"a {word} thing", "labels": [word.upper()]} for word in words]
    corpus = read_corpus(write_rows(tmp_path / "c.jsonl", rows))
    params = AuditParams(folds=2, neighbours=3, num_threads=1)
    report = audit(corpus, tmp_path / "audit", params)
    assert read_suggestions(tmp_path / "audit" / "suggestions.jsonl") == []
    assert report["not_judged"]["given"] == 10
    assert "10 given labels stand in no other row" in " ".join(report["corpus"]["notes"])
    page = (tmp_path / "audit" / "report.html").read_text()
    assert "Audit of c.jsonl on " in page
    assert "xrt audit apply suggestions.jsonl --corpus c.jsonl" in page


def test_a_floor_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="min_label_rows = 0: at least 1"):
        AuditParams(min_label_rows=0)
