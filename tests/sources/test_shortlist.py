"""The shortlist: all nodes = the exhaustive opening level, files, kinds, width, refusals."""

import json
import logging

import numpy as np
import pytest
import scipy.sparse as sp

from tests.deep_models import centroids
from tests.reference.slow_linear import exhaustive_scores
from tests.reference.slow_shortlist import best_of, looked_at
from xrt.errors import ArtifactError, ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.search.beam import SearchParams, beam_search
from xrt.sources.faiss_index import FLAT_UP_TO, HNSW_UP_TO, NodeIndex, chosen_kind
from xrt.sources.ranker import RankerParams, train_ranker
from xrt.sources.shortlist import IndexKind, Shortlist, ShortlistParams
from xrt.sources.shortlist_fit import build_shortlist, choose_width, fit_vectors
from xrt.sparse import as_csr
from xrt.tree.clustering import TreeParams, build_tree
from xrt.tree.label_tree import LabelTree

NUM_LABELS = 40
KINDS = [IndexKind.flat, IndexKind.hnsw, IndexKind.ivf_pq]


@pytest.fixture(scope="module")
def trained():
    """Rows around the centres of their two labels, sparse and dense, and a tree of three levels."""
    rng = np.random.default_rng(0)
    centres = rng.random((NUM_LABELS, 30)) * (rng.random((NUM_LABELS, 30)) < 0.2)
    labels = rng.integers(0, NUM_LABELS, (250, 2))
    Y = np.zeros((250, NUM_LABELS), np.float32)
    np.put_along_axis(Y, labels, 1, axis=1)
    rows = centres[labels].sum(1)
    dense = rng.normal(size=(250, 5)) + rows[:, :5]
    X = HybridMatrix.of(rows, dense / np.linalg.norm(dense, axis=1, keepdims=True))
    tree = build_tree(
        HybridMatrix.of(sp.csr_array(centres)),
        TreeParams(branching=2, max_leaf_size=6, max_top_nodes=4),
        0,
    )
    assert tree.depth == 3
    return X, as_csr(Y), train_ranker(X, as_csr(Y), tree, RankerParams(threshold=0.02), seed=0)


def shortlist_of(trained, level, kind=IndexKind.flat, width=1000, **more):
    X, Y, ranker = trained
    vectors = centroids(X.dense, ranker.tree.level_targets(Y)[level])
    return Shortlist(vectors, ShortlistParams(index=kind, width=width, **more), level)


@pytest.fixture(scope="module")
def expected(trained):
    """Log scores of all nodes of both inner levels, by the readable twin: [(N, K_0), (N, K_1)]."""
    X, _, ranker = trained
    rows = np.hstack([X.sparse.toarray(), X.dense])
    return [
        np.array([
            exhaustive_scores(ranker.levels[: t + 1], LabelTree(ranker.tree.parents[: t + 1]), row)
            for row in rows
        ])
        for t in (0, 1)
    ]  # fmt: skip


def stored(beam):
    return [set(beam.indices[a:b]) for a, b in zip(beam.indptr[:-1], beam.indptr[1:], strict=True)]


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_all_nodes_in_the_shortlist_are_the_exhaustive_entry_level(trained, expected, level, kind):
    X, _, ranker = trained
    num_nodes = ranker.tree.num_nodes(level)
    shortlist = shortlist_of(trained, level, IndexKind.flat)
    for beam_size in (3, num_nodes):
        search = SearchParams(beam_size=beam_size)
        beam = shortlist.open(ranker, X, X.dense, search)
        exact = expected[level]
        for row, nodes in enumerate(stored(beam)):
            assert nodes == best_of(exact[row], range(num_nodes), beam_size)
        found = beam.toarray()[beam.toarray() != 0]
        np.testing.assert_allclose(found, exact[beam.toarray() != 0], rtol=1e-3, atol=1e-4)
    if kind is not IndexKind.flat:  # approximate: what is found has the same scores
        other = shortlist_of(trained, level, kind).open(ranker, X, X.dense, search).toarray()
        np.testing.assert_array_equal(other[other != 0], beam.toarray()[other != 0])


def test_all_nodes_and_a_full_beam_search_as_the_root_does(trained):
    X, _, ranker = trained
    search = SearchParams(beam_size=NUM_LABELS, path_weight=1.0)
    start = shortlist_of(trained, 1).open(ranker, X, X.dense, search)
    scores = beam_search(ranker.levels[2:], X, NUM_LABELS, search, start=start)
    root = beam_search(ranker.levels, X, NUM_LABELS, search)
    np.testing.assert_array_equal(scores.indices, root.indices)
    np.testing.assert_allclose(scores.data, root.data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", [0, 1])
def test_named_nodes_and_their_siblings_are_entered(trained, expected, level):
    X, _, ranker = trained
    shortlist = shortlist_of(trained, level, width=2)
    beam = shortlist.open(ranker, X, X.dense, SearchParams(beam_size=3))
    names = stored(shortlist.find(X.dense))
    fewer = 0
    for row, nodes in enumerate(stored(beam)):
        wanted = looked_at(ranker.tree.parents[level], names[row])
        assert nodes == best_of(expected[level][row], wanted, 3)
        fewer += len(wanted) < ranker.tree.num_nodes(level)
    assert (fewer > 0) == (level == 1)


def test_a_union_holds_what_root_beam_and_shortlist_find(trained, expected):
    X, _, ranker = trained
    parents, num_nodes = ranker.tree.parents[1], ranker.tree.num_nodes(1)
    narrow = SearchParams(beam_size=1)
    alone = shortlist_of(trained, 1, width=1)
    both = shortlist_of(trained, 1, width=1, union=True)
    root = beam_search(ranker.levels[:2], X, 1, SearchParams(beam_size=1, path_weight=1.0))
    short, joined = (one.open(ranker, X, X.dense, narrow) for one in (alone, both))
    names, from_root, found = stored(alone.find(X.dense)), stored(root), stored(joined)
    for row in range(X.num_rows):
        wanted = looked_at(parents, names[row] | from_root[row])
        assert found[row] == best_of(expected[1][row], wanted, 1)
    assert (joined.data >= short.data).all()
    assert (joined.data >= root.data - 1e-4).all()
    assert (joined.indices != short.indices).any()
    wide = SearchParams(beam_size=num_nodes)
    every, few = (stored(one.open(ranker, X, X.dense, wide)) for one in (both, alone))
    assert all(more >= less for more, less in zip(every, few, strict=True))


def test_rows_one_by_one_and_threads_change_nothing(trained, monkeypatch):
    X, _, ranker = trained
    monkeypatch.setattr("xrt.sources.shortlist.BLOCK_ROWS", 64)
    shortlist, search = shortlist_of(trained, 1, width=2), SearchParams(beam_size=3)
    whole = shortlist.open(ranker, X, X.dense, search, num_threads=1)
    threaded = shortlist.open(ranker, X, X.dense, search, num_threads=4)
    np.testing.assert_array_equal(threaded.toarray(), whole.toarray())
    for row in (0, 100, 249):
        one = shortlist.open(ranker, X.take(np.array([row])), X.dense[[row]], search)
        np.testing.assert_allclose(one.toarray()[0], whole.toarray()[row], rtol=1e-5)
    none = shortlist.open(ranker, X.take(np.arange(0)), X.dense[:0], search)
    assert none.shape == (0, shortlist.num_nodes)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_equals_loaded(trained, tmp_path, kind):
    X, _, ranker = trained
    shortlist = shortlist_of(trained, 1, kind, width=2, union=True)
    shortlist.recall = 0.5
    told = json.loads(json.dumps(shortlist.save(tmp_path)))
    assert {path.name for path in tmp_path.iterdir()} == {
        "vectors.npy" if kind is IndexKind.flat else "index.faiss"
    }
    loaded = Shortlist.load(told, tmp_path, ranker.tree)
    assert (loaded.params, loaded.level, loaded.kind) == (shortlist.params, 1, kind)
    assert (loaded.width, loaded.recall) == (2, 0.5)
    np.testing.assert_array_equal(loaded.nodes(X.dense), shortlist.nodes(X.dense))
    with pytest.raises(ArtifactError, match=r"nodes|vectors"):
        Shortlist.load(
            told, tmp_path, LabelTree((ranker.tree.parents[0], ranker.tree.parents[1][:-1]))
        )


@pytest.mark.parametrize("kind", [IndexKind.hnsw, IndexKind.ivf_pq])
def test_an_altered_index_is_refused_before_faiss_reads_it(trained, tmp_path, monkeypatch, kind):
    import faiss

    told = shortlist_of(trained, 1, kind).save(tmp_path)
    path = tmp_path / "index.faiss"
    whole = path.read_bytes()
    monkeypatch.setattr(faiss, "deserialize_index", lambda data: pytest.fail("FAISS was asked"))
    for data in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:50], b"", whole + b"x"):
        path.write_bytes(data)
        with pytest.raises(ArtifactError, match=r"index\.faiss: .*(train|make)"):
            Shortlist.load(told, tmp_path, trained[2].tree)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"index\.faiss: cannot be read"):
        Shortlist.load(told, tmp_path, trained[2].tree)


def test_an_index_of_another_kind_or_no_index_at_all_is_refused(trained, tmp_path):
    import hashlib

    told = shortlist_of(trained, 1, IndexKind.hnsw).save(tmp_path)
    told["file"]["kind"] = "ivf_pq"
    with pytest.raises(ArtifactError, match=r"IndexHNSWFlat of \d+ vectors where ivf_pq"):
        Shortlist.load(told, tmp_path, trained[2].tree)
    (tmp_path / "index.faiss").write_bytes(b"nonsense")
    told["file"] |= {"bytes": 8, "sha256": hashlib.sha256(b"nonsense").hexdigest()}
    with pytest.raises(ArtifactError, match="no index that FAISS can read"):
        Shortlist.load(told, tmp_path, trained[2].tree)


def test_auto_goes_by_the_number_of_nodes(trained):
    sizes = {1: "flat", FLAT_UP_TO: "flat", FLAT_UP_TO + 1: "hnsw", HNSW_UP_TO: "hnsw"}
    for num_nodes, kind in {**sizes, HNSW_UP_TO + 1: "ivf_pq"}.items():
        assert chosen_kind(IndexKind.auto, num_nodes) is IndexKind(kind)
    assert chosen_kind(IndexKind.hnsw, 3) is IndexKind.hnsw
    assert shortlist_of(trained, 1, IndexKind.auto).kind is IndexKind.flat


def clustered_vectors(num_nodes=2000, width=30):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, width))
    vectors = centres[rng.integers(0, 40, num_nodes)] + 0.7 * rng.normal(size=(num_nodes, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[rng.integers(0, num_nodes, 100)] + 0.1 * rng.normal(size=(100, width))
    return vectors.astype(np.float32), queries.astype(np.float32)


@pytest.mark.parametrize(("kind", "least"), [("flat", 1.0), ("hnsw", 0.95), ("ivf_pq", 0.8)])
def test_nearly_all_are_found_and_the_same_each_time(kind, least):
    vectors, queries = clustered_vectors()
    params = ShortlistParams(index=IndexKind(kind), width=32)
    shortlist = Shortlist(vectors, params, 0, np.linspace(0, 0.1, len(vectors)))
    values = queries @ vectors.T + np.linspace(0, 0.1, len(vectors))
    best = np.argsort(-values, axis=1)[:, :10]
    found = shortlist.find(queries).toarray() > 0
    assert np.take_along_axis(found, best, axis=1).mean() >= least
    again = Shortlist(vectors, params, 0, np.linspace(0, 0.1, len(vectors)))
    np.testing.assert_array_equal(again.nodes(queries), shortlist.nodes(queries))


@pytest.mark.parametrize("num_nodes", [1, 2, 17])
@pytest.mark.parametrize("kind", KINDS)
def test_few_nodes_are_no_trouble(num_nodes, kind, capfd):
    vectors = np.eye(num_nodes, 20, dtype=np.float32)
    index = NodeIndex.build(vectors, kind)
    assert set(index.search(vectors[:1], num_nodes)[0]) >= {0}
    assert capfd.readouterr().err == ""


def test_vectors_are_fitted_to_the_exact_scores(trained, expected):
    X, _, ranker = trained
    entry = shortlist_of(trained, 1).opening_level(ranker)
    vectors, offsets = fit_vectors(entry, X, X.dense)
    targets = expected[1] - expected[1].mean(axis=1, keepdims=True)
    rows = np.column_stack([X.dense, np.ones(X.num_rows)])
    penalised = np.vstack([rows, np.sqrt(1e-3 * len(rows)) * np.eye(rows.shape[1])])
    padded = np.vstack([targets, np.zeros((rows.shape[1], targets.shape[1]))])
    slow = np.linalg.lstsq(penalised, padded, rcond=None)[0].T
    np.testing.assert_allclose(np.column_stack([vectors, offsets]), slow, rtol=1e-2, atol=1e-2)


def test_the_width_is_the_smallest_that_reaches_the_target(trained, expected, caplog, monkeypatch):
    X, _, ranker = trained
    ladder = (1, 2, 3, 5, 8, 16, 32)
    monkeypatch.setattr("xrt.sources.shortlist_fit.WIDTHS", ladder)
    search = SearchParams(beam_size=2)
    parents, widths = ranker.tree.parents[1], {}

    def share(shortlist, width):
        hits = 0
        for row, names in enumerate(stored(shortlist.find(X.dense, width))):
            hits += len(
                best_of(expected[1][row], range(len(parents)), 2) & looked_at(parents, names)
            )
        return hits / (2 * X.num_rows)

    for target in (0.5, 0.9, 1.0):
        params = ShortlistParams(index=IndexKind.auto, recall_target=target)
        shortlist = build_shortlist(ranker, 1, X, X.dense, params)
        with pytest.raises(ConfigError, match="width is not chosen"):
            shortlist.nodes(X.dense)
        with caplog.at_level(logging.INFO):
            choose_width(shortlist, ranker, X, X.dense, search, "training")
        assert "on 250 training rows" in caplog.text
        widths[target] = shortlist.width
        assert share(shortlist, shortlist.width) == pytest.approx(shortlist.recall, abs=0.01)
        assert shortlist.recall >= target
        for narrower in [width for width in ladder if width < shortlist.width]:
            assert share(shortlist, narrower) < target + 0.01
    assert widths[0.5] <= widths[0.9] <= widths[1.0]
    assert widths[0.5] < widths[1.0]


def test_a_target_out_of_reach_is_told(trained, caplog):
    X, _, ranker = trained
    params = ShortlistParams(index=IndexKind.flat, width=1)
    search = SearchParams(beam_size=6)
    shortlist = build_shortlist(ranker, 1, X, X.dense, params)
    with caplog.at_level(logging.INFO):
        choose_width(shortlist, ranker, X, X.dense, search, "held-out")
    assert shortlist.width == 1
    assert "250 held-out rows; 99 % was asked for and is not reached" in caplog.text


def test_centroids_equal_a_loop():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(30, 4)).astype(np.float32)
    Y = (rng.random((30, 6)) < 0.3) * rng.integers(1, 4, (30, 6))  # counts, which do not matter
    Y[:, 2] = 0
    found = centroids(embeddings, as_csr(Y))
    for node in range(6):
        mean = np.zeros(4)
        for row in range(30):
            if Y[row, node]:
                mean += embeddings[row]
        expected = mean if node == 2 else mean / np.linalg.norm(mean)
        np.testing.assert_allclose(found[node], expected, atol=1e-6)
    assert found.dtype == np.float32


def test_what_does_not_fit_is_refused(trained):
    X, _, _ = trained
    with pytest.raises(DataError, match="4 columns, the shortlist 5"):
        shortlist_of(trained, 0).find(X.dense[:, :4])
    with pytest.raises(ConfigError, match=r"shortlist\.index = none"):
        shortlist_of(trained, 0, IndexKind.none)
    with pytest.raises(ConfigError, match=r"shortlist\.width = 0"):
        ShortlistParams(width=0)
    for target in (0.0, 1.1, float("nan")):
        with pytest.raises(ConfigError, match=r"shortlist\.recall_target"):
            ShortlistParams(recall_target=target)
