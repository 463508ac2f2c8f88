"""Names of labels as training rows: which labels have one, and where it stands."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.data.labels import LabelTable
from xrt.errors import ConfigError
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix
from xrt.pipeline.label_names import LabelNameRows, label_name_rows
from xrt.pipeline.params import PipelineParams
from xrt.search.beam import SearchParams
from xrt.sources.base import SourceRows, Training
from xrt.sources.blocks import EmbeddingBlocks
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.neighbours import NeighbourParams, SparseNeighbours

TEXTS = ["red mug", "blue lamp", "red lamp"]
LABELS = LabelTable(("a", "b", "c", "d"), ("red", "", "quux", "blue lamp"))


@pytest.fixture
def features() -> TfidfFeatures:
    features = TfidfFeatures(TfidfParams())
    features.fit_transform(TEXTS)
    return features


@pytest.fixture
def names(features: TfidfFeatures) -> LabelNameRows:
    names = label_name_rows(features, LABELS, 0.5)
    assert names is not None
    return names


def test_each_named_label_has_a_row(names: LabelNameRows, features: TfidfFeatures):
    assert names.names == ("red", "quux", "blue lamp")
    assert names.columns_R.tolist() == [0, 2, 3]
    np.testing.assert_array_equal(
        names.X_RF.toarray(), features.transform(["red", "quux", "blue lamp"]).toarray()
    )


def test_no_names_no_vectoriser_or_no_weight_give_no_rows(features: TfidfFeatures):
    assert label_name_rows(features, LabelTable.from_ids(["a", "b"]), 0.5) is None
    assert label_name_rows(None, LABELS, 0.5) is None
    assert label_name_rows(features, LABELS, 0.0) is None


def test_rows_of_known_words_stand_below_the_texts(names: LabelNameRows, features: TfidfFeatures):
    X = HybridMatrix.of(features.transform(TEXTS))
    Y_NL = sp.csr_array(np.eye(3, 4, dtype=np.float32))
    joined, Y_joined = names.join(X, Y_NL)
    expected = sp.vstack([X.sparse, 0.5 * features.transform(["red", "blue lamp"])]).toarray()
    np.testing.assert_allclose(joined.sparse.toarray(), expected)
    assert joined.num_dense == 0
    np.testing.assert_array_equal(Y_joined.toarray()[:3], Y_NL.toarray())
    np.testing.assert_array_equal(Y_joined.toarray()[3:], [[1, 0, 0, 0], [0, 0, 0, 1]])
    assert X.num_rows == 3


def test_with_embeddings_every_name_has_a_row(names: LabelNameRows, features: TfidfFeatures):
    rng = np.random.default_rng(0)
    X = HybridMatrix.of(features.transform(TEXTS), rng.normal(size=(3, 5)))
    dense_RM = rng.normal(size=(3, 5)).astype(np.float32)
    joined, Y_joined = names.join(X, sp.csr_array((3, 4), dtype=np.float32), dense_RM)
    np.testing.assert_array_equal(Y_joined.toarray()[3:].argmax(1), [0, 2, 3])
    np.testing.assert_allclose(joined.dense, np.vstack([X.dense, 0.5 * dense_RM]))


def test_what_rankers_depend_on_tells_names_labels_and_weight(names: LabelNameRows):
    others = [
        replace(names, weight=1.0),
        replace(names, names=("red", "quux", "lamp")),
        replace(names, columns_R=np.array([0, 1, 3])),
    ]
    assert len({str(one.inputs) for one in (names, *others)}) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"label_text_weight": -0.1},
        {"frozen_weight": -1.0},
        {"frozen_weight": float("nan")},
        {"num_deep_trees": 0},
        {"embedding_weight": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]):
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"{name} = "):
        PipelineParams(**wrong)  # type: ignore[arg-type]


def training_on(
    X_NF: sp.csr_array,
    Y_NL: sp.csr_array,
    params: NeighbourParams,
    names: LabelNameRows | None,
    embeddings_NH: np.ndarray | None = None,
    names_RH: np.ndarray | None = None,
) -> Training:
    settings = SimpleNamespace(neighbours=params, embedding_neighbours=params)
    rows = SourceRows(HybridMatrix.of(X_NF))
    if embeddings_NH is not None:
        rows = SourceRows(rows.X, EmbeddingBlocks(embeddings_NH.shape[1]), lambda: embeddings_NH)
    return Training(rows, Y_NL, settings, None, SearchParams(), names, lambda: names_RH)  # type: ignore[arg-type]


def test_names_vote_in_both_sources_of_neighbours(
    names: LabelNameRows, features: TfidfFeatures, tmp_path: Path
):
    """A label without a single row is found by its name."""
    X_NF, Y_NL = features.transform(TEXTS), sp.csr_array(np.eye(3, 4, dtype=np.float32))
    asked = features.transform(["blue lamp lamp"])
    params = NeighbourParams()
    for known in (names, None):
        memory = SparseNeighbours.fit(training_on(X_NF, Y_NL, params, known))
        assert memory is not None
        assert memory.num_texts == 3
        assert memory.num_rows == (3 if known is None else 5)
        votes = memory.vote(asked, 4).toarray()[0]
        assert (votes[3] > 0) == (known is not None)
        memory.save(tmp_path / "m")
        again = SparseNeighbours.load(tmp_path / "m")
        assert (again.num_texts, again.params) == (3, params)
    embeddings_NH = np.float32([[1, 0], [0, 1], [1, 1]])
    names_RH = np.float32([[1, 0], [0, -1], [-1, 1]])
    given = X_NF, Y_NL, NeighbourParams(), names, embeddings_NH, names_RH
    dense = DenseNeighbours.fit(training_on(*given))
    assert dense is not None
    assert (dense.num_rows, dense.num_texts) == (6, 3)
    assert dense.vote(np.float32([[-1, 1]]), 1).indices.tolist() == [3]
    without = DenseNeighbours.fit(training_on(X_NF, Y_NL, params, None, embeddings_NH))
    assert without is not None
    assert without.num_rows == 3
