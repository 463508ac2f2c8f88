"""Scores of given pairs are those that a search as wide as the labels gives, by every source."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from tests.deep_models import deep_model
from xrt.linear.weights import LevelWeights
from xrt.model import XrtModel, every_pair
from xrt.search.constraints import Constraint
from xrt.sources.registry import SOURCES
from xrt.sparse import binarize

Tiny = tuple[list[str], sp.csr_array, tuple[str, ...]]


@pytest.fixture(scope="module")
def model(tiny_corpus: Tiny, tmp_path_factory: pytest.TempPathFactory) -> XrtModel:
    return deep_model(tiny_corpus, tmp_path_factory.mktemp("encoder"))


@pytest.mark.parametrize("name", SOURCES)
def test_given_pairs_have_the_scores_of_a_wide_search(
    model: XrtModel, tiny_corpus: Tiny, name: str
) -> None:
    texts, num_labels = [*tiny_corpus[0][:9], "", "of no known word"], len(model.labels)
    rows = model.source_rows(texts)
    rng = np.random.default_rng(0)
    pairs_NL = binarize(sp.csr_array(rng.random((len(texts), num_labels)) < 0.4, dtype=np.float32))
    wide = replace(model.search, beam_size=num_labels)
    source, constraint = model.sources[name], Constraint(pairs_NL, allows=True)
    expected_NL = source.score(rows, num_labels, wide, 1, constraint)
    for num_threads in (1, 2):
        got_NL = source.score_given(rows, pairs_NL, model.search, num_threads)
        np.testing.assert_array_equal(got_NL.indptr, expected_NL.indptr)
        np.testing.assert_array_equal(got_NL.indices, expected_NL.indices)
        np.testing.assert_array_equal(got_NL.data, expected_NL.data)


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("name", SOURCES)
def test_one_row_has_the_scores_of_a_batch(
    model: XrtModel, tiny_corpus: Tiny, name: str, keys: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, with weights laid out for single queries and without."""
    texts, num_labels = [*tiny_corpus[0][:9], "", "of no known word"], len(model.labels)
    rows, source = model.source_rows(texts), model.sources[name]
    pairs_NL = every_pair(len(texts), np.arange(1, num_labels, 2), num_labels)
    whole = source.score_given(rows, pairs_NL, model.search, 1).toarray()
    if not keys:
        monkeypatch.setattr(LevelWeights, "row_keys", None)
    embeddings_NM = rows.embeddings_NM
    for row, text in enumerate(texts):
        alone = model.source_rows([text], embeddings_NM[row : row + 1])
        got = source.score_given(alone, sp.csr_array(pairs_NL[[row]]), model.search, 1)
        np.testing.assert_allclose(got.toarray()[0], whole[row], rtol=1e-6, atol=1e-9)
        if name in ("linear", "ranker"):
            np.testing.assert_array_equal(got.toarray()[0], whole[row])


def test_the_model_scores_given_labels_as_a_wide_beam_does(
    model: XrtModel, tiny_corpus: Tiny
) -> None:
    texts, columns_A = tiny_corpus[0][:9], np.array([7, 0, 3])
    num_labels = len(model.labels)
    marked = every_pair(1, columns_A, num_labels)
    wide = replace(model, search=replace(model.search, beam_size=num_labels))
    expected_NL = wide.predict(texts, 3, constraint=Constraint(marked, allows=True))
    got_NA = model.score(texts, columns_A)
    np.testing.assert_array_equal(got_NA, expected_NL[:, columns_A].toarray())


@pytest.mark.parametrize("name", ["neighbours", "embedding_neighbours"])
def test_nearest_rows_are_searched_once_for_the_same_rows(
    model: XrtModel, tiny_corpus: Tiny, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, searches = model.sources[name], []
    nearest = type(source).nearest  # type: ignore[attr-defined]
    monkeypatch.setattr(type(source), "nearest", lambda *args: searches.append(1) or nearest(*args))
    rows = model.source_rows(tiny_corpus[0][:5])
    named_NL = source.score(rows, 5, model.search, 1)
    given_NL = source.score_given(rows, named_NL, model.search, 1)
    np.testing.assert_array_equal(given_NL.toarray(), named_NL.toarray())
    assert len(searches) == 1
    source.score(model.source_rows(tiny_corpus[0][:5]), 5, model.search, 1)
    assert len(searches) == 2


def test_pairs_of_rows_without_any(model: XrtModel, tiny_corpus: Tiny) -> None:
    rows = model.source_rows(tiny_corpus[0][:2])
    none = sp.csr_array((2, len(model.labels)), dtype=np.float32)
    for source in model.sources.values():
        assert source.score_given(rows, none, model.search, 1).nnz == 0
