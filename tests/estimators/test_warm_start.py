"""warm_start: a further fit keeps vocabulary and label trees of the model that is there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.data.corpus import Corpus, LabelTable
from xrt.errors import ConfigError, DataError
from xrt.estimators import XRLinear
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix
from xrt.tree.label_tree import LabelTree

Tiny = tuple[list[str], sp.csr_array, tuple[str, ...]]
Board = tuple[sp.csr_array, sp.csr_array]


def linear(**settings: Any) -> XRLinear:
    return XRLinear(**{"max_leaf_size": 3, "num_threads": 1, "warm_start": True, **settings})


def parents_of(estimator: XRLinear) -> list[list[list[int]]]:
    trees = estimator.model_.trees.trees
    return [[level.tolist() for level in ranker.tree.parents] for ranker in trees]


def terms_of(estimator: XRLinear) -> list[str]:
    features = estimator.model_.features
    assert features is not None
    return features.feature_names()


def assert_same_weights(one: XRLinear, other: XRLinear) -> None:
    for a, b in zip(one.model_.trees.trees, other.model_.trees.trees, strict=True):
        for level_a, level_b in zip(a.levels, b.levels, strict=True):
            for name in ("row_columns", "entry_children", "entry_values", "bias"):
                np.testing.assert_array_equal(getattr(level_a, name), getattr(level_b, name))


def grown(tiny: Tiny) -> tuple[list[str], sp.csr_array]:
    """The tiny corpus and later rows: a new word, and labels that go together otherwise."""
    texts, Y_NL, names = tiny
    later = [f"a velvet {name}" for name in names for _ in range(3)]
    Y_new = np.repeat(np.eye(len(names), dtype=np.float32), 3, axis=0)
    return texts + later, sp.csr_array(sp.vstack([Y_NL, sp.csr_array(Y_new)]))


def test_vocabulary_and_trees_stay_and_new_rows_are_learned(tiny_corpus: Tiny):
    texts, Y_NL, names = tiny_corpus
    more, Y_more = grown(tiny_corpus)
    estimator = linear(num_trees=2).fit(texts, Y_NL)
    trees, terms, before = parents_of(estimator), terms_of(estimator), estimator.model_
    estimator.fit(more, Y_more)
    assert estimator.model_ is not before
    assert (parents_of(estimator), terms_of(estimator)) == (trees, terms)
    assert estimator.num_rows_ == len(more)
    assert estimator.label_counts_.tolist() == Y_more.sum(0).tolist()
    assert estimator.predict(["a large"], 1).indices.tolist() == [names.index("large")]
    anew = linear(num_trees=4, warm_start=False).fit(texts, Y_NL).fit(more, Y_more)
    assert "velvet" in terms_of(anew)
    assert parents_of(anew) != trees


@pytest.mark.parametrize("settings", [{}, {"num_trees": 3}, {"max_leaf_size": 100}])
def test_the_same_rows_give_the_same_model(tiny_corpus: Tiny, settings: dict[str, Any]):
    """With names of labels among the rows; as does a first fit, which has nothing to keep."""
    texts, Y_NL, ids = tiny_corpus
    corpus = Corpus(texts=texts, Y=Y_NL, labels=LabelTable(ids, ids))
    estimator = linear(**settings).fit(corpus)
    again = linear(**settings, num_threads=2).fit(corpus).fit(corpus)
    assert parents_of(again) == parents_of(estimator)
    assert_same_weights(again, estimator)
    assert_same_weights(linear(**settings, warm_start=False).fit(corpus), estimator)


def test_a_loaded_model_is_built_on_as_one_in_memory(tiny_corpus: Tiny, tmp_path: Path):
    texts, Y_NL, _ = tiny_corpus
    more, Y_more = grown(tiny_corpus)
    features = TfidfParams(char_ngrams=(2, 3), min_df=1)
    estimator = linear(num_trees=2, warm_start=False, features=features).fit(texts, Y_NL)
    estimator.save(tmp_path / "m")
    loaded = XRLinear.load(tmp_path / "m").set_params(warm_start=True, features=None)
    loaded.fit(more, Y_more).save(tmp_path / "m")  # into the folder that it came from
    estimator.set_params(warm_start=True).fit(more, Y_more)
    opened = XRLinear.load(tmp_path / "m")
    assert opened.warm_start
    for found in (loaded, opened):
        assert (parents_of(found), terms_of(found)) == (parents_of(estimator), terms_of(estimator))
        assert_same_weights(found, estimator)


def test_rows_and_a_given_tree_stay(checkerboard: Board):
    X_NF, Y_NL = checkerboard
    tree = LabelTree.from_paths([["left"]] * 3 + [["right"]] * 5)
    estimator = linear(tree=tree, num_trees=3).fit(X_NF, Y_NL).fit(X_NF, Y_NL)
    assert parents_of(estimator) == [[level.tolist() for level in tree.parents]]
    assert estimator.predict(X_NF, 1).indices.tolist() == [n % 8 for n in range(64)]
    estimator.set_params(num_trees=1, tree=None).fit(X_NF, Y_NL)
    assert parents_of(estimator) == [[level.tolist() for level in tree.parents]]


def refused(
    estimator: XRLinear, X: Any, Y: Any, kind: type[Exception], message: str, **settings: Any
) -> None:
    before = estimator.model_
    with pytest.raises(kind, match=message + r".*, or fit with warm_start=False to start anew$"):
        estimator.set_params(**settings).fit(X, Y)
    assert estimator.model_ is before


def test_other_rows_and_labels_are_refused(tiny_corpus: Tiny, checkerboard: Board):
    texts, Y_NL, ids = tiny_corpus
    X_NF, Y_board = checkerboard
    of_texts, of_rows = linear().fit(texts, Y_NL), linear().fit(X_NF, Y_board)
    Y = Y_NL.toarray()
    wider = np.hstack([Y, Y[:, :1]])
    refused(of_texts, texts, wider, DataError, r"11 labels, the earlier model has 10; give")
    refused(of_texts, X_NF[:32], Y, DataError, r"was trained on texts, not on rows; give it such")
    Y_few = np.eye(8)[: len(texts) % 8 or 8]
    refused(of_rows, texts[: len(Y_few)], Y_few, DataError, r"on rows of 16 features, not on texts")
    wide_NF = np.hstack([X_NF.toarray(), np.ones((64, 1))])
    refused(of_rows, wide_NF, Y_board, DataError, r"rows have 17 sparse features, .* trained on 16")
    hybrid = HybridMatrix.of(X_NF, np.ones((64, 2), np.float32))
    refused(of_rows, hybrid, Y_board, DataError, r"2 dense features, .* was trained on 0")
    named = linear().fit(Corpus(texts=texts, Y=Y_NL, labels=LabelTable.from_ids(ids)))
    turned = LabelTable.from_ids((*ids[:3], *ids[:2:-1]))
    corpus = Corpus(texts=texts, Y=Y_NL, labels=turned)
    refused(named, corpus, None, DataError, r"label 3 is 'large', in the earlier model 'black'")


def test_other_trees_and_terms_are_refused(tiny_corpus: Tiny):
    texts, Y_NL, _ = tiny_corpus
    estimator = linear(num_trees=2).fit(texts, Y_NL)
    message = r"num_trees = 3: the earlier model has 2; set num_trees=2"
    refused(estimator, texts, Y_NL, ConfigError, message, num_trees=3)
    words = TfidfParams(min_df=1)
    message = r"features = .*min_df=1.* made with .*min_df=None.*; leave features out"
    refused(estimator, texts, Y_NL, ConfigError, message, num_trees=2, features=words)
    flat = LabelTree.flat(10)
    message = r"the tree given, 10, is not the earlier model's, 4-10; leave it out"
    refused(estimator, texts, Y_NL, ConfigError, message, features=None, tree=flat)
