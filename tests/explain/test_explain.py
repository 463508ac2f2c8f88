"""Explanations: their parts sum to what `predict` tells, for models of every kind."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.deep_models import joined
from tests.reference.slow_linear import sparse_weights
from tests.reference.slow_margin import slow_parts, slow_path
from xrt.data.corpus import Corpus, LabelTable
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.params import EncoderParams
from xrt.encoder.tiny import write_tiny_encoder
from xrt.estimators import XRLinear
from xrt.explain.explanation import Explanation
from xrt.fusion.boosting import Booster
from xrt.fusion.calibration import fit_calibration
from xrt.fusion.features import feature_names
from xrt.fusion.fusion import Fusion
from xrt.fusion.weights import weighted_mean
from xrt.hybrid import HybridMatrix
from xrt.model import XrtModel
from xrt.model_encoder import ModelEncoder
from xrt.predict import Predictor
from xrt.search.beam import beam_search
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.hybrid_trees import HybridTrees
from xrt.sources.label_head import LabelHead
from xrt.sources.linear_trees import LinearTrees
from xrt.sources.neighbours import NeighbourParams, SparseNeighbours
from xrt.sources.ranker import RankerParams, train_ranker
from xrt.sources.tree_evidence import search_tree
from xrt.sources.trees import TreeEnsemble
from xrt.tree.clustering import TreeParams, build_tree

Tiny = tuple[list[str], sp.csr_array, tuple[str, ...]]

WEIGHTS = dict(linear=0.1, ranker=0.3, matcher=0.2, neighbours=0.3, embedding_neighbours=0.1)
TEXTS = ("a small red mug", "a large blue mug chair", "red", "")
KINDS = ("one tree", "three trees", "memory", "boosted", "deep")


def grown(tiny: Tiny, **settings: Any) -> XrtModel:
    texts, Y_NL, names = tiny
    labels = LabelTable.from_ids(names, [name.title() for name in names])
    settings = {"max_leaf_size": 3, "beam_size": 2, "seed": 1, "num_threads": 1, **settings}
    return (
        XRLinear(**{"fused": False, **settings})
        .fit(Corpus(texts=texts, Y=Y_NL, labels=labels))
        .model_
    )


@pytest.fixture(scope="module")
def models(tiny_corpus: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, XrtModel]:
    texts, Y_NL, _ = tiny_corpus
    one, three = grown(tiny_corpus), grown(tiny_corpus, num_trees=3)
    X_NF = one.rows_of(texts)
    memory = SparseNeighbours(X_NF, Y_NL, NeighbourParams(num_neighbours=4))
    found = joined(three, memory, fusion=Fusion({"linear": 0.6, "neighbours": 0.2}))
    return {
        "one tree": one,
        "three trees": three,
        "memory": found,
        "boosted": calibrated(found, texts, Y_NL),
        **deep_models(one, memory, tiny_corpus, tmp_path_factory.mktemp("tiny") / "encoder"),
    }


def calibrated(model: XrtModel, texts: list[str], Y_NL: sp.csr_array) -> XrtModel:
    """With boosted trees over the sources and a curve for each range of frequency."""
    assert model.frequencies is not None
    counts_L, texts = model.frequencies.counts_L, texts * 16
    Y_true = sp.csr_array(sp.vstack([Y_NL] * 16))
    candidates = model.candidates(model.source_rows(texts), num_threads=1)
    mean_NL = weighted_mean(candidates, model.fusion.weights)
    features = feature_names(candidates.names)
    mean, count = features.index("weighted mean"), features.index("label count")
    # one tree: below a mean of 0.3 half as likely as even, else twice, and more if often seen
    booster = Booster(
        sources=candidates.names, bias=0.0, starts=np.array([0, 5], np.int32),
        feature_J=np.array([mean, -1, count, -1, -1], np.int32),
        threshold_J=np.array([0.3, 0, np.log(10), 0, 0]),
        left_J=np.array([1, 0, 3, 0, 0], np.int32), right_J=np.array([2, 0, 4, 0, 0], np.int32),
        value_J=np.array([0, -0.7, 0, 0.7, 1.4]),
    )  # fmt: skip
    assert booster.is_sound()
    boosted_NL = booster.apply(mean_NL, candidates, counts_L)
    curves = fit_calibration(boosted_NL, Y_true, counts_L, (0, 9))
    return replace(model, fusion=replace(model.fusion, booster=booster), calibration=curves)


def deep_models(
    linear: XrtModel, memory: SparseNeighbours, tiny: Tiny, folder: Path
) -> dict[str, XrtModel]:
    """Every source has a say, two hybrid trees; the encoder is random and has learned nothing."""
    texts, Y_NL, _ = tiny
    write_tiny_encoder(folder, texts, seed=0)
    encoder = TextEncoder.from_pretrained(folder, EncoderParams(name="tiny", max_length=16))
    both = ModelEncoder(encoder, 0.7, frozen=encoder, frozen_weight=0.4, bf16=False)
    bare = replace(linear, encoder=both)
    rows = bare.source_rows(texts)
    X_NF, X, unit_NH = rows.X.sparse, rows.hybrid, rows.unit_NH
    Z = HybridMatrix.of(sp.csr_array(Y_NL.T @ X_NF))
    shape = TreeParams(branching=2, max_leaf_size=2, max_top_nodes=2)
    trees = [build_tree(Z, shape, seed) for seed in (0, 5)]
    assert trees[0].depth > 2
    ranker = TreeEnsemble(
        tuple(train_ranker(X, Y_NL, tree, RankerParams(), seed=0, num_threads=1) for tree in trees)
    )
    rng, num_labels = np.random.default_rng(0), Y_NL.shape[1]
    weight_LH = rng.normal(size=(num_labels, 32)).astype(np.float32)
    one = joined(
        bare,
        HybridTrees(ranker),
        LabelHead(weight_LH, np.zeros(num_labels, np.float32)),
        memory,
        DenseNeighbours(unit_NH, Y_NL, NeighbourParams(num_neighbours=6)),
        fusion=Fusion(WEIGHTS),
    )
    return {"deep": one}


def explained(model: XrtModel, text: str = TEXTS[0], k: int = 5, **how: Any) -> Explanation:
    return Predictor(model, num_threads=1).explain(text, k, **how)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("k", [1, 4, 50])
def test_labels_order_and_scores_are_those_of_predict(
    models: dict[str, XrtModel], kind: str, text: str, k: int
):
    expected = Predictor(models[kind], num_threads=1).predict(text, k)
    found = explained(models[kind], text, k)
    assert [(e.label.label, e.label.name) for e in found.labels] == [
        (s.label, s.name) for s in expected
    ]
    assert [e.score for e in found.labels] == pytest.approx([s.score for s in expected], rel=1e-6)
    assert [e.place for e in found.labels] == list(range(1, len(expected) + 1))
    assert all(e.why_not == "" for e in found.labels)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_the_mean_sum_to_the_fused_score(models: dict[str, XrtModel], kind: str):
    model = models[kind]
    for text in TEXTS:
        found = explained(model, text, 4)
        assert found.labels
        for each in found.labels:
            parts = each.parts
            assert {part.source for part in parts.sources} == model.fusion.sources
            assert sum(part.weight for part in parts.sources) == pytest.approx(1)
            assert sum(part.part for part in parts.sources) == pytest.approx(parts.mean, rel=1e-6)
            told = parts.raw if parts.calibrated is None else parts.calibrated
            assert told == pytest.approx(each.score, rel=1e-6)
            assert (parts.boosted is not None, parts.calibrated is not None) == (
                (kind == "boosted",) * 2
            )


@pytest.mark.parametrize("kind", KINDS)
def test_the_trees_scores_make_the_sources_score(models: dict[str, XrtModel], kind: str):
    """What paths multiply up to is what the search found, tree by tree."""
    for text in TEXTS:
        for each in explained(models[kind], text, 4).labels:
            for part in each.parts.sources:
                if part.source in ("linear", "ranker"):
                    scores = [score or 0.0 for score in part.trees]
                    assert np.mean(scores) == pytest.approx(part.score, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    ("kind", "source"), [("one tree", "linear"), ("deep", "linear"), ("deep", "ranker")]
)
def test_parts_of_a_margin_against_whole_matrices(
    models: dict[str, XrtModel], kind: str, source: str
):
    model = models[kind]
    rows = model.source_rows(TEXTS[:1])
    X, trees = rows.X, model.source(LinearTrees).trees
    if source == "ranker":
        X, trees = rows.hybrid, model.source(HybridTrees).trees
    sparse_F, dense_H = X.sparse.toarray()[0], X.dense[0]
    for each in explained(model, k=10).labels:
        (margin,) = [parts for parts in each.margins if parts.source == source]
        column = model.labels.index[each.label.label]
        slow = [slow_parts(tree.levels[-1], sparse_F, dense_H, column) for tree in trees]
        of_columns = np.mean([parts[0] for parts in slow], axis=0)
        for term in margin.terms:
            assert term.part == pytest.approx(of_columns[term.column], rel=1e-5)
            assert term.part == pytest.approx(term.value * term.weight)
            assert model.features is not None
            assert term.term == model.features.feature_names()[term.column]
        named = sum(term.part for term in margin.terms)
        assert margin.rest + named == pytest.approx(of_columns.sum(), rel=1e-5, abs=1e-6)
        assert margin.bias == pytest.approx(np.mean([parts[2] for parts in slow]), rel=1e-5)
        dense = np.mean([parts[1] for parts in slow])
        assert (margin.dense is None) == (source == "linear")
        assert (margin.dense or 0.0) == pytest.approx(dense, rel=1e-5, abs=1e-6)
        total = named + margin.rest + margin.bias + (margin.dense or 0.0)
        assert margin.margin == pytest.approx(total, rel=1e-6)


def test_a_path_against_whole_matrices(models: dict[str, XrtModel]):
    model = models["one tree"]
    model = replace(model, search=replace(model.search, path_weight=0.5))
    tree, levels = model.trees.tree, model.trees.levels
    sparse_F = model.rows_of(TEXTS[:1]).toarray()[0]

    def fit(margin: float) -> float:
        return float(np.exp(-(max(0.0, 1 - margin) ** 3)))

    for each in explained(model, labels=model.labels.ids).labels:
        column, (path,) = model.labels.index[each.label.label], each.paths
        slow = slow_path(levels, tree, sparse_F, [], column, fit, 0.5)
        assert path.score == pytest.approx(slow, rel=1e-5)
        assert path.nodes[-1].node == column
        assert [n.fit for n in path.nodes] == pytest.approx([fit(n.margin) for n in path.nodes])


@pytest.mark.parametrize("beam_size", [1, 2, 10])
def test_beams_are_those_of_the_search(models: dict[str, XrtModel], beam_size: int):
    model = models["one tree"]
    params = replace(model.search, beam_size=beam_size)
    for text in TEXTS:
        X = HybridMatrix.of(model.rows_of([text]))
        searched = search_tree(model.trees.trees[0], X, 3, params)
        expected = beam_search(model.trees.levels, X, 3, params)
        np.testing.assert_array_equal(searched.beams[-1].toarray(), expected.toarray())
        assert [beam.nnz for beam in searched.beams[:-1]] == [
            min(beam_size, model.trees.tree.num_nodes(0))
        ]


def test_clusters_are_summed_up(models: dict[str, XrtModel]):
    model = models["three trees"]
    tree = model.trees.tree
    assert model.frequencies is not None
    assert model.features is not None
    for each in explained(model, k=10).labels:
        node = each.paths[0].nodes[0]
        below = np.flatnonzero(tree.labels_below(0) == node.node)
        assert node.cluster is not None
        assert node.cluster.num_labels == len(below)
        counts = [label.count for label in node.cluster.labels]
        assert counts == sorted(model.frequencies.counts_L[below], reverse=True)[:4]
        weights_F = sparse_weights(model.trees.levels[0]).toarray()[:, node.node]
        best = np.sort(weights_F[weights_F > 0])[::-1][:5]
        assert [term.weight for term in node.cluster.terms] == pytest.approx(list(best))
        names = model.features.feature_names()
        assert [term.term for term in node.cluster.terms] == [
            names[term.column] for term in node.cluster.terms
        ]
        parts_F = model.rows_of(TEXTS[:1]).toarray()[0] * weights_F
        assert [term.part for term in node.terms] == pytest.approx(
            list(np.sort(parts_F[parts_F > 0])[::-1][:3])
        )
        assert each.paths[0].nodes[-1].cluster is None


@pytest.mark.parametrize("kind", ["memory", "deep"])
def test_nearest_rows_and_their_votes(models: dict[str, XrtModel], kind: str, tiny_corpus: Tiny):
    texts, Y_NL, names = tiny_corpus
    found = explained(models[kind], texts[5], 3, texts=texts)
    sources = ["neighbours", "embedding_neighbours"][: 1 + (kind == "deep")]
    assert [nearest.source for nearest in found.nearest] == sources
    for nearest in found.nearest:
        rows = nearest.rows
        assert rows[0].row == 5  # the row itself: numbers count from 0
        assert rows[0].similarity == pytest.approx(1, abs=1e-3)
        for row in rows:
            assert row.text == texts[row.row]
            of_row = [names[j] for j in np.flatnonzero(Y_NL.toarray()[row.row])]
            assert [label.label for label in row.labels] == of_row
        assert (np.diff([row.similarity for row in rows]) <= 0).all()
        if nearest.num_nearest > len(rows):
            continue
        assert sum(row.vote for row in rows) == pytest.approx(1)
        for each in found.labels:
            (part,) = [p for p in each.parts.sources if p.source == nearest.source]
            with_label = [row for row in rows if each.label in row.labels]
            assert part.score == pytest.approx(sum(row.vote for row in with_label), abs=1e-6)
            assert (part.voters, part.num_nearest) == (len(with_label), len(rows))
    assert all(row.text is None for row in explained(models[kind]).nearest[0].rows)
