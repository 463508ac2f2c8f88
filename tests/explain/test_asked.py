"""What may be asked for: labels by name, rows, odd texts, wrong questions; and how it reads."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.deep_models import joined
from tests.reference.slow_linear import sparse_weights
from xrt import cli
from xrt.data.corpus import Corpus, LabelTable
from xrt.errors import DataError
from xrt.estimators import XRLinear
from xrt.explain.explanation import Explanation, LabelName
from xrt.fusion.fusion import Fusion
from xrt.hybrid import HybridMatrix
from xrt.linear.weights import node_weights
from xrt.predict import Predictor
from xrt.sources.neighbour_evidence import NeighbourEvidence
from xrt.sources.neighbours import NeighbourParams, SparseNeighbours

Tiny = tuple[list[str], sp.csr_array, tuple[str, ...]]


@pytest.fixture(scope="module")
def trained(tiny_corpus: Tiny) -> XRLinear:
    texts, Y_NL, names = tiny_corpus
    labels = LabelTable.from_ids(names, [name.title() for name in names])
    corpus = Corpus(texts=texts, Y=Y_NL, labels=labels)
    return XRLinear(max_leaf_size=3, beam_size=1, num_trees=1, fused=False, num_threads=1).fit(
        corpus
    )


@pytest.fixture(scope="module")
def bare(trained: XRLinear) -> Predictor:
    """One tree with a beam of one cluster; nothing but the tree."""
    return Predictor(trained.model_, num_threads=1)


@pytest.fixture(scope="module")
def remembering(trained: XRLinear, tiny_corpus: Tiny) -> Predictor:
    """Trees and neighbours alike."""
    model, (texts, Y_NL, _) = trained.model_, tiny_corpus
    memory = SparseNeighbours(model.rows_of(texts), Y_NL, NeighbourParams(num_neighbours=4))
    fusion = Fusion({"linear": 0.5, "neighbours": 0.5})
    return Predictor(joined(model, memory, fusion=fusion), num_threads=1)


@pytest.fixture(params=["bare", "remembering"])
def predictor(request: pytest.FixtureRequest) -> Predictor:
    found: Predictor = request.getfixturevalue(request.param)
    return found


def test_every_label_may_be_asked_for_by_name(predictor: Predictor):
    text, ids = "a small red mug", predictor.model.labels.ids
    suggested = predictor.predict(text, k=2)
    found = predictor.explain(text, 2, labels=ids)
    assert [each.label.label for each in found.labels] == list(ids)
    alone = predictor.score([text], ids)[0]
    places = {s.label: place for place, s in enumerate(suggested, 1)}
    for each, score in zip(found.labels, alone, strict=True):
        assert each.place == places.get(each.label.label)
        assert (each.why_not == "") == (each.place is not None)
        if each.place is None:
            assert each.score == pytest.approx(score, rel=1e-6, abs=1e-9)
            assert sum(part.part for part in each.parts.sources) == pytest.approx(each.score)
            assert f"scores {suggested[-1].score:.3f}, this one {score:.3f}" in each.why_not
            assert not [s for s in suggested if s.label in each.why_not]


def test_why_not_tells_what_the_beam_lost(bare: Predictor):
    """With a beam of one cluster only its labels are found; the others are lost at level 1."""
    text, tree = "a small red mug", bare.model.trees.tree
    named = [s.label for s in bare.predict(text, k=10)]
    assert 0 < len(named) < len(bare.model.labels)
    lost, last = [label for label in bare.model.labels.ids if label not in named], named[-1]
    for each in bare.explain(text, 10, labels=lost).labels:
        assert f"not among the {len(named)} best" in each.why_not
        assert "the search lost the way to it in the tree" in each.why_not
        (path,) = each.paths
        assert path.lost_at == 1
        assert [node.place for node in path.nodes] == [None] * tree.depth
    (each,) = bare.explain(text, 1, labels=[last]).labels
    assert each.why_not.startswith(f"it comes in place {len(named)}; 1 were asked for")
    assert "lost" not in each.why_not
    assert each.paths[0].lost_at is None


def test_a_text_without_terms_says_so(predictor: Predictor):
    for text in ("", "   ", "qwertz \U0001f600"):
        found = predictor.explain(text)
        assert found.num_terms == 0
        assert "no term that the model knows" in found.notes[0]
        assert [e.label.label for e in found.labels] == [s.label for s in predictor.predict(text)]
        for each in found.labels:
            (margin,) = each.margins
            assert (margin.terms, margin.rest, margin.num_rest) == ((), 0.0, 0)
            assert margin.margin == margin.bias
        assert "no term that the model knows" in found.to_text()
        assert all(not nearest.rows for nearest in found.nearest)


def test_no_suggestion_at_all_says_so(remembering: Predictor):
    votes = replace(remembering.model, fusion=Fusion({"neighbours": 1.0}))
    found = Predictor(votes).explain("")
    assert found.labels == ()
    assert "the model suggests no label at all" in found.notes
    (each,) = Predictor(votes).explain("", labels=["red"]).labels
    assert (each.score, each.paths, each.margins) == (0.0, (), ())


def test_a_model_of_rows_names_columns(checkerboard: tuple[sp.csr_array, sp.csr_array]):
    X_NF, Y_NL = checkerboard
    predictor = Predictor(XRLinear(num_threads=1).fit(X_NF, Y_NL).model_)
    expected = predictor.model.predict(X_NF[[3]], 2).toarray()[0]
    for row in (X_NF[[3]], X_NF.toarray()[3], X_NF.toarray()[[3]], HybridMatrix.of(X_NF[[3]])):
        found = predictor.explain(row, 2)
        best = found.labels[0]
        assert best.label.label == "3"
        assert best.score == pytest.approx(expected[3])
        assert {term.term for term in best.margins[0].terms} == {"column 6", "column 7"}
        assert (found.text, found.num_terms) == (None, 2)
    assert predictor.explain(X_NF[[3]] * 0).notes[0] == "the row is empty"
    with pytest.raises(DataError, match="rows of 16 features, not on texts"):
        predictor.explain("red")


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        ("red", {"k": 0}, "k = 0: ask for at least 1 label"),
        (["red", "blue"], {}, "one text is explained at a time, not a list; pass one string"),
        (["red"], {}, "one text is explained at a time, not a list"),
        (None, {}, "at a time, not None"),
        (np.array(["red"]), {}, "not a ndarray"),
        (sp.csr_array((2, 9)), {}, "not a csr_array"),
        ("red", {"labels": ["red", "nope"]}, "explain: label 'nope' is none of the model's 10"),
        ("red", {"labels": "red"}, r"labels: one string .* write \[label\]"),
        ("red", {"labels": []}, "no label to explain"),
    ],
)
def test_wrong_questions_are_refused(bare: Predictor, text: Any, how: Any, message: str):
    with pytest.raises(DataError, match=message):
        bare.explain(text, **how)


def test_neighbours_alone(remembering: Predictor, bare: Predictor, tiny_corpus: Tiny):
    texts = tiny_corpus[0]
    (nearest,) = remembering.neighbours(texts[7], 2, texts=texts)
    assert (nearest.source, nearest.num_nearest) == ("neighbours", 4)
    assert nearest.rows[0].row == 7
    assert len(nearest.rows) == 2
    (every,) = remembering.neighbours(texts[7], 99)
    assert len(every.rows) == 4
    assert every.rows[:2] == tuple(replace(row, text=None) for row in nearest.rows)
    with pytest.raises(DataError, match=r"keeps no training rows: .*; train it with neighbours"):
        bare.neighbours("red")
    with pytest.raises(DataError, match="n = 0: ask for at least 1 training row"):
        remembering.neighbours("red", 0)
    with pytest.raises(DataError, match="2 training texts are passed, but the model keeps 32"):
        remembering.explain("red", texts=["red", "blue"])


def test_weights_of_a_node(trained: XRLinear):
    ranker = trained.model_.trees.trees[0]
    for t, level in enumerate(ranker.levels):
        whole_FK = sparse_weights(level).toarray()
        for node in range(level.num_nodes):
            found = node_weights(level, int(ranker.tree.parents[t][node]), node)
            every = found.at(np.arange(level.num_features))
            np.testing.assert_array_equal(every, whole_FK[:, node])
            assert found.bias == level.node_bias[node]


def test_a_model_without_memory_says_why(bare: Predictor):
    found = bare.explain("red")
    assert found.nearest == ()
    assert "no nearest training rows: this model keeps no training rows" in found.notes[0]


def test_as_text_and_as_json(remembering: Predictor, tiny_corpus: Tiny):
    found: Explanation = remembering.explain("a small red mug", 2, texts=tiny_corpus[0])
    text, best = found.to_text(), found.labels[0]
    assert text.endswith("\n")
    for told in (
        f"1. {best.label.name} ({best.label.label}): score {best.score:.3f}, seen in",
        f"(linear): {best.parts.sources[0].score:.3f} x weight 0.50 =",
        f"weighted mean: {best.parts.mean:.3f}",
        f"{best.margins[0].terms[0].term} {best.margins[0].terms[0].part:+.2f}",
        f"all together {best.margins[0].margin:+.2f}",
        f"level 1: fit {best.paths[0].nodes[0].fit:.3f}, ",
        f"row {found.nearest[0].rows[0].row}, similarity 1.000",
        "\n     a small red mug\n",
    ):
        assert told in text
    content = json.loads(json.dumps(found.to_dict()))
    assert content["labels"][0]["score"] == best.score
    assert content["nearest"][0]["rows"][0]["text"] == "a small red mug"
    assert len(remembering.explain("mug " * 5_000, 1).to_text().splitlines()[0]) < 400


def test_on_the_command_line(
    trained: XRLinear,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tiny_corpus: Tiny,
):
    model, text = str(trained.save(tmp_path / "m")), "a small red mug"
    expected = Predictor(trained.model_).explain(text, 2)
    assert cli.main(["explain", model, text, "-k", "2"]) == 0
    assert capsys.readouterr().out == expected.to_text()
    assert cli.main(["explain", model, text, "-k", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(expected.to_dict()))
    monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))
    assert cli.main(["explain", model, "-", "-k", "2"]) == 0
    assert capsys.readouterr().out == expected.to_text()
    assert cli.main(["explain", model, text, "--labels", "blue", "lamp", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [each["label"]["label"] for each in content["labels"]] == ["blue", "lamp"]
    assert cli.main(["explain", model, text, "--labels", "nope"]) == 2
    assert "explain: label 'nope' is none of the model's 10" in capsys.readouterr().err
    lines = [json.dumps({"text": t, "labels": ["red"]}) for t in tiny_corpus[0]]
    (tmp_path / "trn.jsonl").write_text("\n".join(lines) + "\n")
    assert cli.main(["explain", model, text, "--training", str(tmp_path / "trn.jsonl")]) == 0
    with pytest.raises(SystemExit):
        cli.main(["explain", model, text, "-k", "0"])


def test_names_of_labels_that_vote_are_no_rows():
    """Two texts and the name of the third label vote."""
    Y_NL = sp.csr_array(np.eye(3, dtype=np.float32))
    neighbours = SparseNeighbours(np.eye(3, 4), Y_NL, num_texts=2)

    class Names:
        counts_L = None

        def label(self, column: int) -> LabelName:
            return LabelName(f"L{column}", "")

        def term(self, column: int) -> str:
            return f"column {column}"

    query = np.array([[0.5, 0, 0.9, 0]])
    evidence = NeighbourEvidence(neighbours, Names(), lambda: query)
    found = evidence.nearest(2, ["first", "second"])
    assert [(row.row, row.text) for row in found.rows] == [(None, None), (0, "first")]
    with pytest.raises(DataError, match="3 training texts are passed, but the model keeps 2"):
        evidence.nearest(2, ["a", "b", "c"])
