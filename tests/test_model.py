"""The model's own parts, and a model of every source there is, saved and loaded."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.deep_models import joined, meanings_of, names_in
from xrt.data.corpus import Corpus, LabelTable
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.params import Compute, EncoderParams
from xrt.encoder.tiny import write_tiny_encoder
from xrt.errors import ArtifactError, ConfigError, DataError
from xrt.fusion.fusion import Fusion
from xrt.hybrid import HybridMatrix, unit_rows
from xrt.model import XrtModel
from xrt.model_encoder import ModelEncoder
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trainer import Trainer
from xrt.predict import Predictor
from xrt.search.beam import SearchParams
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.hybrid_trees import HybridTrees
from xrt.sources.label_head import LabelHead
from xrt.sources.neighbours import NeighbourParams, SparseNeighbours
from xrt.sources.ranker import RankerParams, train_ranker
from xrt.sources.registry import SOURCES
from xrt.sources.trees import TreeEnsemble, exp_scores
from xrt.storage.artifact import write_artifact
from xrt.tree.clustering import TreeParams

Tiny = tuple[list[str], sp.csr_array, tuple[str, ...]]

ODD_TEXTS = ["", "   ", "\U0001f600 \u202e данные 数据", "red " * 5_000]


@pytest.fixture(scope="module")
def linear(tiny_corpus: Tiny) -> XrtModel:
    texts, Y_NL, names = tiny_corpus
    corpus = Corpus(texts=texts, Y=Y_NL, labels=LabelTable.from_ids(names))
    params = PipelineParams(
        tree=TreeParams(max_leaf_size=3),
        search=SearchParams(beam_size=4),
        fused=False,
        num_threads=1,
    )
    return Trainer(params).fit(corpus).model


@pytest.fixture(scope="module")
def deep(linear: XrtModel, tiny_corpus: Tiny, tmp_path_factory: pytest.TempPathFactory) -> XrtModel:
    """Every source has a say; the encoder is random and has learned nothing."""
    texts, Y_NL, names = tiny_corpus
    folder = write_tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder", texts, seed=0)
    encoder = TextEncoder.from_pretrained(folder, EncoderParams(name="tiny", max_length=16))
    bare = replace(linear, encoder=ModelEncoder(encoder, bf16=False))
    unit_NH = unit_rows(bare.embed(texts))
    X_NF = linear.rows_of(texts)
    tree = linear.trees.tree
    ranker = train_ranker(HybridMatrix.of(X_NF, unit_NH), Y_NL, tree, RankerParams(), 0, 1)
    rng = np.random.default_rng(0)
    head = LabelHead(
        rng.normal(size=(Y_NL.shape[1], 32)).astype(np.float32),
        rng.normal(size=Y_NL.shape[1]).astype(np.float32),
    )
    return joined(
        bare,
        HybridTrees(TreeEnsemble((ranker,))),
        head,
        SparseNeighbours(X_NF, Y_NL, NeighbourParams(num_neighbours=4)),
        DenseNeighbours(unit_NH, Y_NL, temperature=0.1),
        names_in(linear, names),
        meanings_of(bare, names),
        fusion=Fusion(dict.fromkeys(SOURCES, 0.2)),
    )


def test_every_source_is_saved_and_loaded(deep: XrtModel, tiny_corpus: Tiny, tmp_path: Path):
    texts = [*tiny_corpus[0][:5], *ODD_TEXTS]
    deep.save(tmp_path / "m")
    found = deep.score_sources(deep.source_rows(texts), num_threads=1)
    assert set(found) == set(SOURCES)
    for mmap in (True, False):
        loaded = XrtModel.load(tmp_path / "m", mmap=mmap)
        assert loaded.search == deep.search
        assert loaded.labels == deep.labels
        assert loaded.encoder is not None
        assert (loaded.encoder.bf16, loaded.fusion.weights) == (False, deep.fusion.weights)
        again = loaded.score_sources(loaded.source_rows(texts), num_threads=1)
        for name in SOURCES:
            np.testing.assert_array_equal(again[name].toarray(), found[name].toarray())


@pytest.mark.parametrize("compute", ["fp32", "bf16", "int8"])
def test_a_batch_is_its_texts_one_by_one(
    deep: XrtModel, tiny_corpus: Tiny, tmp_path: Path, compute: str
):
    """bf16 rounds at three digits, by other kernels for one text than for many."""
    deep.save(tmp_path / "m")
    loaded = XrtModel.load(tmp_path / "m", compute=Compute(compute))
    assert loaded.encoder is not None
    assert [reader.compute.value for reader in loaded.encoder.readers] == [compute]
    texts = [*tiny_corpus[0][:5], *ODD_TEXTS]
    together_NL = loaded.predict(texts, k=10, num_threads=1).toarray()
    one_by_one_NL = [loaded.predict([text], k=10, num_threads=1).toarray() for text in texts]
    tolerance = 0.02 if compute == "bf16" else 1e-5
    np.testing.assert_allclose(np.vstack(one_by_one_NL), together_NL, atol=tolerance)


def test_a_predictor_computes_as_it_is_asked_to(deep: XrtModel, tmp_path: Path):
    write_artifact(tmp_path / "m", deep.save, {"kind": "transformer"})
    predictor = Predictor.load(tmp_path / "m", compute="int8")
    assert predictor.model.encoder is not None
    assert predictor.model.encoder.readers[0].compute is Compute.int8
    with pytest.raises(ConfigError, match="compute = 'int4': choose one of auto, fp32"):
        Predictor.load(tmp_path / "m", compute="int4")


@pytest.mark.parametrize("source", SOURCES)
def test_only_sources_with_a_weight_are_asked(deep: XrtModel, source: str):
    alone = replace(deep, fusion=Fusion({name: float(name == source) for name in SOURCES}))
    rows = deep.source_rows(["a red mug"])
    assert set(alone.score_sources(rows)) == {source}
    expected = deep.score_sources(rows)[source]
    got_NL = alone.predict(["a red mug"], k=10).toarray()
    np.testing.assert_allclose(got_NL, expected.toarray(), rtol=1e-6)


def test_embeddings_at_hand_spare_the_encoding(deep: XrtModel, tiny_corpus: Tiny, monkeypatch: Any):
    texts = tiny_corpus[0]
    whole_NL = deep.predict(texts).toarray()
    embeddings_NH = deep.embed(texts)
    monkeypatch.setattr(XrtModel, "embed", None)
    np.testing.assert_array_equal(
        deep.predict(texts, embeddings_NM=embeddings_NH).toarray(), whole_NL
    )


def test_scores_lie_in_0_to_1_whatever_the_text(deep: XrtModel, linear: XrtModel):
    for model in (deep, linear):
        scores = model.predict(ODD_TEXTS, k=10)
        assert scores.shape == (4, 10)
        assert np.diff(scores.indptr).min() > 0
        assert scores.data.min() >= 0
        assert scores.data.max() <= 1


def test_embed(deep: XrtModel, linear: XrtModel):
    embeddings_NH = deep.embed(ODD_TEXTS)
    assert embeddings_NH.shape == (4, 32)
    assert np.isfinite(embeddings_NH).all()
    np.testing.assert_allclose(embeddings_NH[0], embeddings_NH[1], atol=1e-6)
    assert deep.embed([]).shape == (0, 32)
    with pytest.raises(DataError, match="linear and has no encoder"):
        linear.embed(["a"])
    with pytest.raises(DataError, match="reads texts, not rows"):
        deep.embed(sp.csr_array((2, 3)))  # type: ignore[arg-type]


def test_no_texts_give_no_rows(deep: XrtModel, linear: XrtModel):
    assert deep.predict([]).shape == linear.predict([]).shape == (0, 10)


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_1_is_refused(deep: XrtModel, linear: XrtModel, k: int):
    for model in (deep, linear):
        with pytest.raises(DataError, match=f"k = {k}: ask for at least 1 label"):
            model.predict(["a mug"], k)


def test_rows_of(linear: XrtModel, tiny_corpus: Tiny):
    X_NF = linear.rows_of(tiny_corpus[0])
    assert X_NF.shape == (32, linear.num_features)
    np.testing.assert_allclose(np.linalg.norm(X_NF.toarray(), axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(linear.rows_of(X_NF * 3.0).toarray(), X_NF.toarray(), rtol=1e-6)
    assert not linear.rows_of([""]).nnz
    of_rows = replace(linear, features=None)
    with pytest.raises(DataError, match="not on texts; pass a matrix"):
        of_rows.rows_of(["a mug"])
    with pytest.raises(DataError, match=r"write \[text\]"):
        linear.rows_of("a mug")


@pytest.mark.parametrize("k", [1, 3, 7, 50])
@pytest.mark.parametrize("num_labels", [1, 7, 40])
def test_top_of_the_head_against_a_sort(k: int, num_labels: int, rng: np.random.Generator):
    weight_LH = rng.normal(size=(num_labels, 5)).astype(np.float32)
    bias_L = rng.normal(size=num_labels).astype(np.float32)
    embeddings_NH = rng.normal(size=(9, 5)).astype(np.float32)
    got = LabelHead(weight_LH, bias_L).top(embeddings_NH, k)
    expected_NL = np.zeros((9, num_labels))
    for row, logits_L in enumerate(embeddings_NH @ weight_LH.T + bias_L):
        for label in np.argsort(-logits_L)[:k]:
            expected_NL[row, label] = 1 / (1 + np.exp(-logits_L[label]))
    assert np.diff(got.indptr).tolist() == [min(k, num_labels)] * 9
    np.testing.assert_allclose(got.toarray(), expected_NL, rtol=1e-5)


def test_the_head_takes_rows_in_blocks(rng: np.random.Generator):
    """2^22 labels make blocks of 8 rows; here 2 of them."""
    num_labels = 2**22
    head = LabelHead(np.zeros((num_labels, 1), np.float32), np.zeros(num_labels, np.float32))
    head.weight_LH[[5, 7], 0] = 1.0, -1.0
    signs_N1 = np.where(np.arange(10) % 3 == 0, 1.0, -1.0).astype(np.float32)[:, None]
    got = head.top(signs_N1, 1)
    assert got.indices.tolist() == [5 if sign > 0 else 7 for sign in signs_N1[:, 0]]


def test_a_shortlist_of_an_earlier_version_is_left_out_in_one_line(
    deep: XrtModel, tiny_corpus: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    deep.save(tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    settings = json.loads(path.read_text())
    settings["sources"]["ranker"] = {"shortlist": [{"index": "flat", "level": 0}]}
    path.write_text(json.dumps(settings))
    loaded = XrtModel.load(tmp_path / "m")
    (line,) = caplog.messages
    assert "the shortlist of an earlier xrt is not used; trees are searched from the root" in line
    texts = tiny_corpus[0][:3]
    np.testing.assert_array_equal(loaded.predict(texts).toarray(), deep.predict(texts).toarray())


def test_exp_scores_keep_stored_zeros():
    log_scores = sp.csr_array((2, 3), dtype=np.float32)
    log_scores.data = np.array([0.0, -1.0], np.float32)
    log_scores.indices, log_scores.indptr = (
        np.array([2, 0], np.int32),
        np.array([0, 1, 2], np.int32),
    )
    np.testing.assert_allclose(exp_scores(log_scores).toarray(), [[0, 0, 1], [np.exp(-1), 0, 0]])


def test_unit_rows_leave_zeros_alone():
    np.testing.assert_array_equal(
        unit_rows(np.array([[3.0, 4.0], [0, 0]])), np.float32([[0.6, 0.8], [0, 0]])
    )


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.json", b"{"),
        ("model.json", b'{"search": {"beam_size": 3}}'),
        ("model.json", b'{"search": {"beam_size": 3, "transform": "cubed"}}'),
        (
            "model.json",
            b'{"search": {"beam_size": 3, "transform": "sigmoid"}, "fusion": {"weights": 1}}',
        ),
        ("model.json", None),
        ("matcher/weight.npy", b"\x93NUMPY"),
        ("linear/0/tree/parents.0.npy", None),
        ("labels.tsv", b"a\ta\na\ta\n"),
    ],
)
def test_damaged_parts_are_named(deep: XrtModel, tmp_path: Path, name: str, data: bytes | None):
    deep.save(tmp_path / "m")
    path = tmp_path / "m" / name
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.raises((ArtifactError, DataError), match=str(tmp_path / "m")):
        XrtModel.load(tmp_path / "m")


@pytest.mark.parametrize("kind", ["linear", "deep"])
def test_given_labels_are_scored_however_they_rank(
    kind: str, request: pytest.FixtureRequest, tiny_corpus: Tiny
):
    model, texts = request.getfixturevalue(kind), tiny_corpus[0]
    num_labels = len(model.labels)
    wide = replace(model, search=replace(model.search, beam_size=num_labels))
    every_NL = wide.predict(texts, num_labels).toarray()
    columns = np.array([7, 0, 3, 7])
    found_NA = model.score(texts, columns)
    np.testing.assert_allclose(found_NA, every_NL[:, columns], rtol=1e-5, atol=1e-7)
    assert found_NA.dtype == np.float32
    with pytest.raises(DataError, match="no labels to score"):
        model.score(texts, [])


@pytest.mark.parametrize("kind", ["linear", "deep"])
def test_allowed_and_forbidden_labels_hold_for_every_source(
    kind: str, request: pytest.FixtureRequest, tiny_corpus: Tiny
):
    texts, _, names = tiny_corpus
    predictor = Predictor(request.getfixturevalue(kind))
    allowed = [[names[row % 3], names[5]] for row in range(len(texts))]
    for row, found in enumerate(predictor.predict(texts, 10, allowed=allowed)):
        assert {s.label for s in found} == set(allowed[row])
    for found in predictor.predict(texts, 10, forbidden=names[:4]):
        assert found
        assert not {s.label for s in found} & set(names[:4])
    one = predictor.predict(texts[0], 3, allowed=[names[2]])
    assert [s.label for s in one] == [names[2]]
    scores = predictor.score(texts[:2], [names[2], names[5]])
    assert scores[0, 0] == pytest.approx(one[0].score, rel=1e-5)
    with pytest.raises(DataError, match="score: label 'nope' is none of the model's"):
        predictor.score(texts, ["nope"])
