"""Candidates: named by one source, scored by all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.deep_models import deep_model
from tests.reference.slow_candidates import slow_mean, slow_union
from xrt.errors import ArtifactError
from xrt.fusion.candidates import Candidates, union_of
from xrt.fusion.fusion import Fusion, fit_fusion
from xrt.fusion.weights import fuse, weighted_mean
from xrt.model import XrtModel, every_pair
from xrt.predict import Predictor
from xrt.search.constraints import Constraint
from xrt.sources.registry import SOURCES
from xrt.sparse import as_csr, top_k_rows

ODD_TEXTS = ["", "zzz qqq", "\U0001f600"]
K = 4


def scattered(seed: int, num_rows: int = 30, num_labels: int = 40, share: float = 0.2) -> Any:
    """Sparse scores in [0, 1] of three sources; some entries are 0, some rows are empty."""
    rng = np.random.default_rng(seed)
    sources = {}
    for name in ("a", "b", "c"):
        dense = rng.random((num_rows, num_labels)) * (rng.random((num_rows, num_labels)) < share)
        dense[rng.integers(num_rows, size=3)] = 0
        scores_NL = as_csr(dense.astype(np.float32))
        scores_NL.data[::7] = 0.0
        sources[name] = scores_NL
    return sources


def entries(scores_NL: sp.csr_array) -> list[dict[int, float]]:
    bounds = zip(scores_NL.indptr[:-1], scores_NL.indptr[1:], strict=True)
    return [
        dict(zip(scores_NL.indices[a:b].tolist(), scores_NL.data[a:b].tolist(), strict=True))
        for a, b in bounds
    ]


@pytest.fixture(scope="module")
def model(tiny_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> XrtModel:
    """Every source has a say."""
    return deep_model(tiny_corpus, tmp_path_factory.mktemp("tiny") / "encoder")


@pytest.fixture(scope="module")
def texts(tiny_corpus: Any) -> list[str]:
    return [*tiny_corpus[0][:6], *ODD_TEXTS]


def test_the_union_is_what_sets_give():
    for seed, share in ((0, 0.2), (1, 0.0), (2, 1.0)):
        own = scattered(seed, share=share)
        assert entries(union_of(own)) == slow_union(own)
        assert union_of(own).has_sorted_indices
    asked_NL = every_pair(30, np.array([3, 5]), 40)
    with_asked = entries(union_of(own, asked_NL))
    for asked, plain in zip(with_asked, slow_union(own), strict=True):
        assert asked == {3: 0, 5: 0} | plain


def test_the_mean_is_over_what_weighted_sources_name():
    sources = scattered(3)
    dense = {name: scores_NL.toarray() for name, scores_NL in sources.items()}
    for weights in ({"a": 1, "b": 3, "c": 0}, {"a": 0.2, "b": 0.5, "c": 0.3}):
        expected = slow_mean(sources, dense, weights)
        for given in (sources, Candidates.of(sources)):
            for found, told in zip(entries(fuse(given, weights, 40)), expected, strict=True):
                assert found == pytest.approx(told, abs=1e-6)
        best = entries(fuse(sources, weights, 3))
        for found, told in zip(best, expected, strict=True):
            ranked = sorted(told, key=lambda label: (-np.float32(told[label]), label))
            assert len(found) == min(3, len(told))
            assert sum(found.values()) == pytest.approx(sum(told[j] for j in ranked[:3]), abs=1e-5)


def test_rows_and_sources_can_be_taken(tmp_path: Path):
    sources = scattered(4)
    every, rows = Candidates.of(sources), np.array([7, 2, 29, 7])
    part = every.rows(rows)
    again = Candidates.of({name: as_csr(scores[rows]) for name, scores in sources.items()})
    for name in sources:
        np.testing.assert_array_equal(part[name].toarray(), again[name].toarray())
    np.testing.assert_array_equal(part.pairs_NL.data, again.pairs_NL.data)
    np.testing.assert_array_equal(part.named_SP, again.named_SP)
    two = every.of_sources(["a", "c"])
    plain = Candidates.of({name: sources[name] for name in ("a", "c")})
    np.testing.assert_array_equal(two.scores_SP, plain.scores_SP)
    np.testing.assert_array_equal(two.pairs_NL.data, plain.pairs_NL.data)
    assert (list(two), len(two)) == (["a", "c"], 2)
    with pytest.raises(KeyError):
        two["b"]
    none = every.rows(np.zeros(0, np.int64))
    assert (none.num_rows, none.scores_SP.shape) == (0, (3, 0))


def test_saved_and_loaded_and_damaged(tmp_path: Path):
    every = Candidates.of(scattered(5)).of_sources(["b", "a"])
    every.save(tmp_path / "c")
    loaded = Candidates.load(tmp_path / "c")
    assert loaded.names == every.names
    np.testing.assert_array_equal(loaded.scores_SP, every.scores_SP)
    np.testing.assert_array_equal(loaded.pairs_NL.toarray(), every.pairs_NL.toarray())
    np.testing.assert_array_equal(loaded.named_SP, every.named_SP)
    np.save(tmp_path / "c" / "scores.npy", every.scores_SP[:, :-1])
    with pytest.raises(ArtifactError, match=r"2 sources and .* candidates; run again"):
        Candidates.load(tmp_path / "c")


def test_every_source_scores_what_any_of_them_names(model: XrtModel, texts: list[str]):
    rows = model.source_rows(texts)
    found = model.candidates(rows, K, 1)
    own = model.score_sources(rows, K, 1)
    assert set(found) == set(own) == set(SOURCES)
    assert entries(found.pairs_NL) == slow_union(own)
    for place, name in enumerate(found.names):
        exact = model.sources[name].score_given(rows, found.pairs_NL, model.search, 1)
        np.testing.assert_array_equal(found[name].toarray(), exact.toarray())
        assert found[name].nnz == found.pairs_NL.nnz
        named = own[name].toarray()[own[name].nonzero()]
        np.testing.assert_allclose(
            found[name].toarray()[own[name].nonzero()], named, rtol=1e-5, err_msg=name
        )
        mask_NL = found.with_values(found.named_SP[place].astype(np.float32)).toarray()
        pattern = own[name].copy()
        pattern.data = np.ones_like(pattern.data)
        np.testing.assert_array_equal(mask_NL, pattern.toarray())
    one_tree = found["linear"].toarray()[own["linear"].nonzero()]
    np.testing.assert_array_equal(one_tree, own["linear"].data[own["linear"].data != 0])
    assert (np.diff(found.pairs_NL.indptr) > K).all(), "other sources found more"


def test_predictions_come_from_complete_scores(model: XrtModel, texts: list[str]):
    """A label has one score, however few labels the sources that know it name."""
    num_labels, columns = len(model.labels), np.arange(len(model.labels))
    given = model.score(texts, columns, num_threads=1)
    best = model.predict(texts, 3, num_threads=1)
    np.testing.assert_array_equal(best.toarray()[best.nonzero()], given[best.nonzero()])
    named = model.candidates(model.source_rows(texts), K, 1)
    fused_NL = weighted_mean(named, model.fusion.weights)
    np.testing.assert_array_equal(fused_NL.toarray(), given * (named.pairs_NL.toarray() > 0))
    assert (model.predict(texts, num_labels).toarray() <= given + 1e-7).all()


@pytest.fixture(scope="module")
def boosted(model: XrtModel, tiny_corpus: Any) -> XrtModel:
    texts, Y_NL, _ = tiny_corpus
    repeated = texts * 12
    every = model.candidates(model.source_rows(repeated), K, 1)
    counts_L = np.bincount(Y_NL.indices, minlength=Y_NL.shape[1])
    Y_true = as_csr(sp.vstack([Y_NL] * 12, format="csr"))
    fusion = fit_fusion(every, Y_true, counts_L, boosted=True)
    assert fusion.booster is not None
    return replace(model, fusion=fusion)


def test_trees_score_given_labels_as_predicted_ones(boosted: XrtModel, texts: list[str]):
    """To the bit, whatever else is asked, in a batch or one by one."""
    best_NL = boosted.predict(texts, 3, num_threads=1)
    whole_NL = best_NL.toarray()
    for row, text in enumerate(texts):
        alone = boosted.predict([text], 3, num_threads=1)
        np.testing.assert_allclose(alone.toarray()[0], whole_NL[row], atol=1e-6)
        labels = alone.indices
        for asked in (labels, labels[:1], np.arange(len(boosted.labels))):
            scores = boosted.score([text], asked, num_threads=1)[0]
            expected = alone.toarray()[0][asked]
            known = expected > 0
            np.testing.assert_array_equal(scores[known], expected[known])
            assert known.any()


def test_labels_asked_for_are_no_candidates(boosted: XrtModel, texts: list[str]):
    rows, every = boosted.source_rows(texts), np.arange(len(boosted.labels))
    own = boosted.candidates(rows, 1, 1)
    pairs_NL = every_pair(len(texts), every, len(every))
    given = boosted.candidates_given(rows, pairs_NL, 1, own.own)
    np.testing.assert_array_equal(given.pairs_NL.toarray(), own.pairs_NL.toarray())
    assert given.pairs_NL.nnz == len(texts) * len(every)
    few = given.of_sources(["linear"])
    assert few.pairs_NL.nnz > own.of_sources(["linear"]).pairs_NL.nnz
    assert ((few.pairs_NL.data > 0).sum()) == own.own["linear"].nnz


def test_saved_it_completes_as_before(boosted: XrtModel, texts: list[str], tmp_path: Path):
    boosted.save(tmp_path / "m")
    loaded = XrtModel.load(tmp_path / "m")
    expected, found = (m.candidates(m.source_rows(texts), K, 1) for m in (boosted, loaded))
    np.testing.assert_array_equal(found.scores_SP, expected.scores_SP)
    np.testing.assert_array_equal(
        loaded.predict(texts, 5).toarray(), boosted.predict(texts, 5).toarray()
    )


@pytest.mark.parametrize("allows", [True, False])
def test_a_constraint_holds_for_what_is_named(boosted: XrtModel, texts: list[str], allows: bool):
    marked_NL = every_pair(1, np.array([1, 4, 6]), len(boosted.labels))
    named = boosted.candidates(
        boosted.source_rows(texts), K, 1, Constraint(marked_NL, allows)
    ).pairs_NL
    assert (np.isin(named.indices, [1, 4, 6]) == allows).all()
    predictor = Predictor(boosted, num_threads=1)
    labels = [boosted.labels.ids[column] for column in (1, 4, 6)]
    limits: Any = {"allowed" if allows else "forbidden": labels}
    for text in texts:
        for each in predictor.predict(text, 5, **limits):
            assert (each.label in labels) == allows


@pytest.mark.parametrize("at_once", [1, 4, 9, 10])
def test_blocks_of_rows_predict_as_all_at_once(
    boosted: XrtModel, texts: list[str], at_once: int, monkeypatch: pytest.MonkeyPatch
):
    """Constraints of single rows and what a watcher sees stay with their rows."""
    embeddings_NM = boosted.embed(texts)
    marked_NL = as_csr(np.eye(len(texts), len(boosted.labels), dtype=np.float32))
    forbidden = Constraint(marked_NL, allows=False)
    expected = boosted.predict(texts, 5, embeddings_NM, constraint=forbidden, tail=0.5)
    monkeypatch.setattr("xrt.model.ROWS_AT_ONCE", at_once)
    seen: list[int] = []

    def watch(candidates: Candidates, low: int) -> None:
        assert low == sum(seen)
        seen.append(candidates.num_rows)

    found = boosted.predict(texts, 5, embeddings_NM, constraint=forbidden, tail=0.5, watch=watch)
    np.testing.assert_array_equal(found.toarray(), expected.toarray())
    assert seen == [min(at_once, 9 - low) for low in range(0, 9, at_once)]
    assert boosted.predict([], 5).shape == (0, len(boosted.labels))


def test_the_tail_reorders_complete_scores(boosted: XrtModel, texts: list[str]):
    plain = boosted.predict(texts, 50).toarray()
    weighted = boosted.predict(texts, 50, tail=1.0).toarray()
    np.testing.assert_allclose(weighted, plain * boosted.tail_weights(1.0), rtol=1e-5)


def test_a_source_alone_is_asked_once(model: XrtModel, texts: list[str], monkeypatch: Any):
    """The linear model alone never scores again what it named."""
    alone = replace(model, fusion=Fusion({"linear": 1.0, "neighbours": 0.0}))
    expected = top_k_rows(model.score_sources(model.source_rows(texts), 3, 1)["linear"], 3)
    kind = type(model.sources["linear"])
    monkeypatch.setattr(kind, "score_given", None)
    np.testing.assert_array_equal(alone.predict(texts, 3).toarray(), expected.toarray())
    with pytest.raises(TypeError):
        model.predict(texts, 3)


def test_an_explanation_tells_who_named_a_label(boosted: XrtModel, texts: list[str]):
    """A source that did not name it scores it all the same."""
    predictor, text = Predictor(boosted, num_threads=1), texts[0]
    found = predictor.explain(text, 3, labels=boosted.labels.ids)
    given = predictor.score([text], boosted.labels.ids)[0]
    own = boosted.candidates(boosted.source_rows([text]), 50, 1).own
    for column, each in enumerate(found.labels):
        assert each.score == pytest.approx(given[column], rel=1e-5)
        for part in each.parts.sources:
            assert part.found == (column in own[part.source].indices)
            if part.source in ("linear", "ranker"):
                assert part.score > 0
                assert np.mean([score or 0.0 for score in part.trees]) == pytest.approx(
                    part.score, rel=1e-4
                )
