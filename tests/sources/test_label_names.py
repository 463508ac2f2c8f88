"""How much of a label's name stands in a text: by hand, against its slow twin, in whole models."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference.slow_label_names import slow_named, slow_shares
from tests.small_corpora import make_rows, write_rows
from xrt import Predictor, XRLinear
from xrt.data.corpus import Corpus
from xrt.data.formats import read_corpus
from xrt.data.labels import LabelTable
from xrt.errors import ArtifactError
from xrt.features.name_words import name_words
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import WORDS_OF_TWO, TfidfParams
from xrt.hybrid import HybridMatrix
from xrt.pipeline import DatasetParams, PipelineParams, train
from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import ModelShape, SourceRows, Training
from xrt.sources.label_names import FOUND, LabelNames
from xrt.sparse import as_csr
from xrt.storage.saved_values import SavedValues

SEARCH = SearchParams()
TEXTS = ["red mug", "blue lamp", "red lamp"]
"""Words and the texts that have them: red 2, lamp 2, mug 1, blue 1."""
COMMON, RARE = np.log(4 / 3) + 1, np.log(4 / 2) + 1


def vectoriser(texts: list[str], **params: Any) -> TfidfFeatures:
    return TfidfFeatures(TfidfParams(min_df=1, **params)).fit(texts)


def source_of(names: list[str], features: TfidfFeatures) -> LabelNames:
    words = name_words(names, features)
    assert words is not None
    return LabelNames(words)


def rows_of(features: TfidfFeatures, texts: list[str]) -> SourceRows:
    return SourceRows(HybridMatrix.of(features.transform(texts)))


def every_share(source: LabelNames, rows: SourceRows, num_threads: int = 1) -> np.ndarray:
    every = np.ones((rows.num_rows, len(source.words.weights_L)), np.float32)
    shares: np.ndarray = source.score_given(rows, as_csr(every), SEARCH, num_threads).toarray()
    return shares


def same(one_NL: sp.csr_array, other_NL: sp.csr_array) -> None:
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(one_NL, part), getattr(other_NL, part))


def test_shares_by_hand():
    features = vectoriser(TEXTS)
    source = source_of(["red", "", "quux", "blue lamp", "lamp quux", "Lamp, lamp!"], features)
    shares = every_share(source, rows_of(features, ["a blue, blue mug", "RED lamp quux", "quux"]))
    blue = RARE / (RARE + COMMON)
    known = COMMON / (RARE + COMMON)  # an unknown word weighs as much as the rarest known one
    np.testing.assert_allclose(
        shares, [[0, 0, 0, blue, 0, 0], [1, 0, 0, 1 - blue, known, 1], [0] * 6], rtol=1e-6
    )
    np.testing.assert_allclose(
        source.words.weights_L, [COMMON, 0, RARE, RARE + COMMON, RARE + COMMON, COMMON], rtol=1e-6
    )


def test_counts_and_repeated_words_do_not_matter():
    features = vectoriser(TEXTS)
    source = source_of(["red lamp"], features)
    shares = every_share(source, rows_of(features, ["red red red", "red", "lamp red red"]))
    assert shares[0, 0] == shares[1, 0] == pytest.approx(0.5)
    assert shares[2, 0] == 1


def test_whole_names_are_named_and_no_others():
    features = vectoriser(TEXTS)
    source = source_of(["red", "", "quux", "blue lamp", "lamp quux", "blue"], features)
    named = source.score(rows_of(features, ["blue lamp", "lamp quux", ""]), 9, SEARCH, 1)
    np.testing.assert_array_equal(
        named.toarray(), [[0, 0, 0, 1, 0, 1], [0] * 6, [0] * 6], "a name with an unknown word"
    )
    assert named.has_sorted_indices


def test_longer_names_come_first_then_lower_labels():
    features = vectoriser(TEXTS)
    names = ["lamp", "red", "mug", "lamp red", "mug lamp red", "red"]
    source, rows = source_of(names, features), rows_of(features, ["mug lamp red"])
    best = [source.score(rows, k, SEARCH, 1).indices.tolist() for k in range(1, 7)]
    assert best == [[4], [3, 4], [2, 3, 4], [0, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]]


def test_names_all_equal():
    features = vectoriser(TEXTS)
    source = source_of(["red mug"] * 5, features)
    named = source.score(rows_of(features, ["red mug", "mug"]), 3, SEARCH, 1)
    np.testing.assert_array_equal(named.toarray(), [[1, 1, 1, 0, 0], [0] * 5])


def test_a_constraint_leaves_room_for_what_it_lets_through():
    features = vectoriser(TEXTS)
    source = source_of(["mug red", "mug", "red", "red lamp"], features)
    rows = rows_of(features, ["mug red"])
    marked = as_csr(np.float32([[1, 0, 0, 1]]))
    barred = source.score(rows, 1, SEARCH, 1, Constraint(marked, allows=False))
    assert barred.indices.tolist() == [1]
    allowed = source.score(rows, 4, SEARCH, 1, Constraint(marked, allows=True))
    assert allowed.indices.tolist() == [0]


def test_no_names_no_words_no_vectoriser_give_no_source():
    features = vectoriser(TEXTS)
    assert name_words(["", ""], features) is None
    assert name_words(["red"], None) is None
    assert name_words(["quux", "?!"], features) is None
    assert name_words(["?!"], features) is None
    assert name_words(["red"], vectoriser(TEXTS, word_ngram_max=0, char_ngrams=(2, 3))) is None
    rows = rows_of(features, TEXTS)
    training = Training(rows, as_csr(np.eye(3)), SimpleNamespace(), None, SEARCH)  # type: ignore[arg-type]
    assert LabelNames.fit(training) is None
    assert LabelNames.fit(replace(training, name_words=lambda: None)) is None
    assert LabelNames.fit(replace(training, name_words=lambda: name_words(["red"], features)))


def test_of_words_and_ngrams_single_words_count():
    """An n-gram that no text has does not stand between a name and 1."""
    features = vectoriser(TEXTS, word_ngram_max=2, char_ngrams=(2, 3))
    source = source_of(["mug lamp", "red mug"], features)
    shares = every_share(source, rows_of(features, ["lamp of a mug", "mugs"]))
    np.testing.assert_array_equal(shares, [[1, shares[0, 1]], [0, 0]])
    plain = vectoriser(TEXTS)
    expected = every_share(source_of(["mug lamp", "red mug"], plain), rows_of(plain, ["lamp mug"]))
    assert shares[0, 1] == expected[0, 1]


def test_words_that_a_regular_expression_finds():
    features = vectoriser(TEXTS, token_pattern=r"(?u)\b[a-z]{2,}\b")
    source = source_of(["red x1 mug"], features)
    assert every_share(source, rows_of(features, ["mug red"]))[0, 0] == 1
    two = vectoriser(TEXTS, token_pattern=WORDS_OF_TWO)
    assert every_share(source_of(["a mug"], two), rows_of(two, ["mug"]))[0, 0] == 1


def random_problem(num_texts: int = 700) -> tuple[list[str], list[str], TfidfFeatures]:
    """Texts over several blocks, and names of zero to four words, some unknown."""
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(40)]
    shares = 1 / np.arange(1, 41)
    texts = [" ".join(rng.choice(words, 12, p=shares / shares.sum())) for _ in range(num_texts)]
    names = [" ".join(rng.choice([*words, "un", "known"], rng.integers(0, 5))) for _ in range(90)]
    return texts, names, TfidfFeatures(TfidfParams(min_df=2)).fit(texts)


@pytest.mark.parametrize("k", [1, 5, 90])
def test_equals_the_slow_twin(k: int):
    texts, names, features = random_problem()
    source, rows = source_of(names, features), rows_of(features, texts)
    terms = features.feature_names()
    counts = {term: sum(term in text.split() for text in texts) for term in terms}
    idf = {term: np.log((1 + len(texts)) / (1 + counts[term])) + 1 for term in terms}
    of_texts, of_names = ([set(each.split()) for each in part] for part in (texts, names))
    expected = np.array(slow_shares(of_texts, of_names, idf, max(idf.values())))
    np.testing.assert_allclose(every_share(source, rows), expected, rtol=1e-5)
    named = source.score(rows, k, SEARCH, 1)
    weights = source.words.weights_L
    for row in range(len(texts)):
        low, high = named.indptr[row], named.indptr[row + 1]
        slow = slow_named(expected[row], weights, k, FOUND)
        assert named.indices[low:high].tolist() == list(slow)
        np.testing.assert_allclose(named.data[low:high], list(slow.values()), rtol=1e-5)
    assert named.nnz > 300


def test_batch_equals_one_by_one_and_threads_change_no_byte():
    texts, names, features = random_problem()
    source, rows = source_of(names, features), rows_of(features, texts)
    pairs = as_csr(np.random.default_rng(1).random((len(texts), len(names))) < 0.3)
    named, given = source.score(rows, 5, SEARCH, 1), source.score_given(rows, pairs, SEARCH, 1)
    same(named, source.score(rows, 5, SEARCH, 3))
    same(given, source.score_given(rows, pairs, SEARCH, 3))
    for row in (0, 255, 256, 699):
        alone = rows_of(features, [texts[row]])
        same(named[[row]], source.score(alone, 5, SEARCH, 1))
        same(given[[row]], source.score_given(alone, as_csr(pairs[[row]]), SEARCH, 1))


def test_what_is_named_has_the_share_of_the_pair():
    texts, names, features = random_problem()
    source, rows = source_of(names, features), rows_of(features, texts)
    named = source.score(rows, 90, SEARCH, 1)
    same(named, source.score_given(rows, named, SEARCH, 1))


def test_no_rows_and_no_pairs():
    features = vectoriser(TEXTS)
    source = source_of(["red", "mug"], features)
    none = rows_of(features, [])
    assert source.score(none, 2, SEARCH, 1).shape == (0, 2)
    assert source.score_given(none, sp.csr_array((0, 2)), SEARCH, 1).shape == (0, 2)
    rows = rows_of(features, ["red"])
    assert source.score_given(rows, sp.csr_array((1, 2)), SEARCH, 1).nnz == 0


@pytest.mark.parametrize("mmap", [True, False])
def test_saved_equals_loaded(mmap: bool, tmp_path: Path):
    texts, names, features = random_problem(50)
    source, rows = source_of(names, features), rows_of(features, texts)
    settings = source.save(tmp_path)
    loaded = LabelNames.load(tmp_path, SavedValues(settings, "here"), mmap)
    same(loaded.score(rows, 3, SEARCH, 1), source.score(rows, 3, SEARCH, 1))
    np.testing.assert_array_equal(every_share(loaded, rows), every_share(source, rows))
    loaded.check()
    fits = ModelShape(len(names), features.num_features)
    assert loaded.fault(fits) is None
    for other in (replace(fits, num_labels=91), replace(fits, num_features=3)):
        assert loaded.fault(other) == "the names are those of other labels or words"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("weights", lambda values: values[1:], "3 names with 2 weights"),
        ("weights", lambda values: -values, "a weight below 0 or not finite"),
        ("weights", lambda values: values * np.nan, "a weight below 0 or not finite"),
        ("shares.data", lambda values: -values, "a share outside of 0 to 1"),
        ("shares.data", lambda values: values * 3, "a share outside of 0 to 1"),
    ],
)
def test_damaged_parts_are_refused(name: str, change: Any, message: str, tmp_path: Path):
    source_of(["red", "mug", "red lamp"], vectoriser(TEXTS)).save(tmp_path)
    file = tmp_path / f"{name}.npy"
    np.save(file, change(np.load(file)))
    with pytest.raises(ArtifactError, match=message):
        LabelNames.load(tmp_path, SavedValues({}, "here"))


def named_corpus(named: bool = True) -> Corpus:
    """400 texts of five of 400 words; labels are the words, and named by them. The trees see some
    five texts of a label, so that many labels are found by their names alone.
    """
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(400)])
    chosen = [rng.choice(400, 5, replace=False) for _ in range(400)]
    texts = [" ".join(words[each]) for each in chosen]
    Y_NL = np.zeros((400, 400), np.float32)
    for row, each in enumerate(chosen):
        Y_NL[row, each] = 1
    ids = tuple(f"l{i}" for i in range(400))
    names = tuple(str(word) for word in words) if named else ("",) * 400
    return Corpus(texts=texts, Y=as_csr(Y_NL), labels=LabelTable(ids, names))


SETTINGS: dict[str, Any] = {"fused": True, "max_leaf_size": 8, "num_threads": 1}


@pytest.fixture(scope="module")
def fused() -> XRLinear:
    return XRLinear(**SETTINGS, label_text_weight=0.0).fit(named_corpus())


def test_a_fused_model_finds_labels_by_their_names(fused: XRLinear, tmp_path: Path):
    """Names are no training rows here, and yet in the fusion."""
    model = fused.model_
    assert LabelNames.name in model.fusion.sources
    assert model.source(LabelNames).words.shares_LF.shape == (400, model.num_features)
    text = "word7 word11"
    assert {each.label for each in Predictor(model).predict(text, 2)} == {"l7", "l11"}
    fused.save(tmp_path / "m")
    loaded = Predictor.load(tmp_path / "m", num_threads=1)
    texts = [text, "", "unknown", *named_corpus().texts[:5]]
    assert loaded.predict(texts, 4) == Predictor(model, num_threads=1).predict(texts, 4)
    assert loaded.predict(texts, 4) == [loaded.predict(each, 4) for each in texts]
    told = loaded.explain(text, 2).to_text()
    assert "words of the label's name in the text (label_names): 1.000" in told
    assert "; in the text: word7" in told


def test_a_label_without_rows_is_found_by_its_name():
    corpus = named_corpus()
    Y_NL = np.hstack([corpus.Y.toarray(), np.zeros((400, 1), np.float32)])
    labels = LabelTable((*corpus.labels.ids, "new"), (*corpus.labels.names, "word3 word4"))
    whole = replace(corpus, Y=as_csr(Y_NL), labels=labels)
    model = XRLinear(**SETTINGS, label_text_weight=0.0).fit(whole).model_
    named = model.source(LabelNames).score(model.source_rows(["word3 word4"]), 1, model.search)
    assert model.labels.ids[named.indices[0]] == "new"


def test_without_names_there_is_no_such_source():
    model = XRLinear(**SETTINGS).fit(named_corpus(named=False)).model_
    assert LabelNames.name not in {*model.sources, *model.fusion.weights}


def test_a_run_from_files_names_labels_and_reruns_for_other_names(
    tmp_path: Path, stages_that_run: Any
):
    rows = make_rows(200, 0)
    trn, run = write_rows(tmp_path / "trn.jsonl", rows), tmp_path / "run"
    ids = read_corpus(trn).labels.ids
    table = tmp_path / "labels.tsv"

    def params(ending: str) -> PipelineParams:
        table.write_text("".join(f"{id}\t{id.lower()}{ending}\n" for id in ids))
        dataset = DatasetParams(name="small", trn=str(trn), labels=str(table))
        return PipelineParams(
            dataset=dataset, encoder=None, num_threads=1, num_trees=1, label_text_weight=0.0
        )

    result = train(params(""), run)
    figures = SavedValues.read(run / "stages" / "linear-fusion" / "fused" / "scores.json")
    assert LabelNames.name in figures.content["figures"]["alone"]
    assert Predictor.load(result.model_folder).predict(["kare"], 1)[0]
    assert stages_that_run(params(""), run) == set()
    assert "linear-fusion" in stages_that_run(params(" the"), run)
