import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from xrt.errors import ArtifactError, ConfigError, DataError, NotFittedError
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import FEW_TEXTS, WORDS_OF_TWO, TfidfParams
from xrt.progress import SilentProgress

TEXTS = ["red shirt", "blue shirt", "red mug, red lamp", "groß 𝐀𝐁 機械学習"]
BOTH = TfidfParams(word_ngram_max=2, char_ngrams=(2, 3), min_df=1)


def same(a: sp.csr_array, b: sp.csr_array) -> bool:
    """Equal to the last bit."""
    parts = ("data", "indices", "indptr")
    return a.shape == b.shape and all(np.array_equal(getattr(a, p), getattr(b, p)) for p in parts)


@pytest.fixture
def fitted() -> TfidfFeatures:
    return TfidfFeatures(BOTH).fit(TEXTS)


def test_idf_and_length_worked_by_hand():
    rows = TfidfFeatures(TfidfParams(word_ngram_max=1, min_df=1)).fit_transform(["aa bb", "aa"])
    rare = np.log(3 / 2) + 1
    length = np.hypot(1, rare)
    np.testing.assert_allclose(rows.toarray(), [[1 / length, rare / length], [1, 0]], rtol=1e-6)


def test_rows_are_float32_csr_of_length_1_with_sorted_int32_indices(fitted):
    rows = fitted.transform(TEXTS)
    assert isinstance(rows, sp.csr_array)
    assert rows.dtype == np.float32
    assert rows.indices.dtype == rows.indptr.dtype == np.int32
    assert (np.diff(rows.indices)[np.diff(rows.indices) < 0].size) == len(TEXTS) - 1
    np.testing.assert_allclose(np.sqrt((rows.toarray() ** 2).sum(axis=1)), 1, rtol=1e-6)
    assert rows.shape[1] == fitted.num_features == len(set(fitted.feature_names()))


def test_transform_of_the_training_texts_equals_fit_transform():
    tfidf = TfidfFeatures(BOTH)
    assert same(tfidf.fit_transform(TEXTS), tfidf.transform(TEXTS))


def test_a_row_does_not_depend_on_its_neighbours(fitted):
    together = fitted.transform(TEXTS)
    for row, text in enumerate(TEXTS):
        assert same(fitted.transform([text]), together[[row]])


def test_vocabulary_is_frozen(fitted):
    before = fitted.feature_names()
    assert fitted.transform(["entirely 1234 different"]).shape == (1, len(before))
    assert fitted.feature_names() == before


def test_the_name_of_one_column(fitted):
    names = fitted.feature_names()
    assert [fitted.feature_name(column) for column in range(len(names))] == names
    for beyond in (-1, len(names)):
        with pytest.raises(DataError, match=f"column {beyond} is none of the {len(names)} feat"):
            fitted.feature_name(beyond)


def test_empty_and_unknown_texts_give_empty_rows():
    tfidf = TfidfFeatures(TfidfParams(min_df=1)).fit(TEXTS)
    rows = tfidf.transform(["", "   ", "unknown", "red"])
    assert np.diff(rows.indptr).tolist() == [0, 0, 0, 1]
    assert tfidf.transform([]).shape == (0, tfidf.num_features)


def test_a_text_of_a_megabyte(fitted):
    row = fitted.transform(["red mug " * 131_072])
    assert np.linalg.norm(row.data) == pytest.approx(1, rel=1e-5)


def test_save_and_load_give_the_same_bits(fitted, tmp_path):
    fitted.save(tmp_path)
    loaded = TfidfFeatures.load(tmp_path)
    assert loaded.params == fitted.params
    assert loaded.feature_names() == fitted.feature_names()
    assert same(loaded.transform([*TEXTS, "RED groß"]), fitted.transform([*TEXTS, "RED groß"]))
    assert not [
        path.name for path in tmp_path.iterdir() if path.suffix not in (".json", ".npy", ".txt")
    ]


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(st.characters(), max_size=20), min_size=1, max_size=4))
def test_any_text_survives_saving_even_lone_surrogates(texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfidf")
    texts = [*texts, "words \ud800\udfff and \udfff\ud800 halves"]
    tfidf = TfidfFeatures(BOTH)
    rows = tfidf.fit_transform(texts)
    tfidf.save(folder)
    assert same(TfidfFeatures.load(folder).transform(texts), rows)


def test_a_block_without_terms_is_left_out(tmp_path):
    tfidf = TfidfFeatures(replace(BOTH, token_pattern=WORDS_OF_TWO)).fit(
        ["a b", "a c"]
    )  # no word of two letters
    assert all(not name.startswith("char:") for name in tfidf.feature_names())
    tfidf.save(tmp_path)
    assert same(TfidfFeatures.load(tmp_path).transform(["a c"]), tfidf.transform(["a c"]))


def test_empty_vocabulary_says_what_to_change():
    with pytest.raises(DataError, match=r"no term is left of 2 texts with min_df 2.*lower min_df"):
        TfidfFeatures(TfidfParams(min_df=2)).fit(["every word", "differs here"])
    with pytest.raises(DataError, match="no term is left of 2 texts with min_df 1"):
        TfidfFeatures().fit(["", "..."])
    with pytest.raises(DataError, match="no term is left of 0 texts"):
        TfidfFeatures().fit([])


def test_few_texts_keep_every_term(tmp_path):
    texts = [f"common word{row}" for row in range(FEW_TEXTS)]
    assert TfidfFeatures().fit(texts[1:]).num_features == FEW_TEXTS
    tfidf = TfidfFeatures().fit(texts)
    assert tfidf.feature_names() == ["common"]
    tfidf.save(tmp_path)
    assert TfidfFeatures.load(tmp_path).params == tfidf.params == TfidfParams()


def test_terms_of_one_text_are_taken_where_there_are_no_others(caplog):
    texts = [f"code{row}" for row in range(FEW_TEXTS)]
    tfidf = TfidfFeatures().fit(texts)
    assert tfidf.num_features == FEW_TEXTS
    (record,) = caplog.records
    assert "no term occurs in two of 1000 texts" in record.message
    with pytest.raises(DataError, match="no term is left of 1000 texts with min_df 2"):
        TfidfFeatures(TfidfParams(min_df=2)).fit(texts)


@pytest.mark.parametrize(
    ("texts", "message"),
    [("one string", "texts is a str"), (["a", None], "text 1 is None"), (3, "int")],
)
def test_only_lists_of_strings(texts, message):
    with pytest.raises(DataError, match=message):
        TfidfFeatures().fit(texts)


@pytest.mark.parametrize("kind", [tuple, np.array, lambda texts: dict.fromkeys(texts).keys()])
def test_other_collections_of_strings_are_taken(fitted, kind):
    assert same(fitted.transform(kind(TEXTS)), fitted.transform(TEXTS))


def test_unfitted():
    with pytest.raises(NotFittedError, match="fit or load"):
        TfidfFeatures().transform(["a"])
    with pytest.raises(NotFittedError):
        _ = TfidfFeatures().num_features


def test_progress_counts_every_text():
    progress = SilentProgress()
    TfidfFeatures(TfidfParams(min_df=1)).fit(["red shirt"] * 1201, progress)
    assert progress.completed == 1201


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"word_ngram_max": -1}, "word_ngram_max = -1"),
        ({"word_ngram_max": 0}, "leaves no features"),
        ({"char_ngrams": (3, 2)}, "char_ngrams"),
        ({"char_ngrams": (0, 2)}, "char_ngrams"),
        ({"char_ngrams": (1, 2, 3)}, "char_ngrams"),
        ({"min_df": 0}, "min_df = 0"),
        ({"max_features": 0}, "max_features = 0"),
        ({"token_pattern": "("}, "not a regular expression"),
        ({"token_pattern": "(a)(b)"}, "2 capturing groups"),
    ],
)
def test_params_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        TfidfParams(**settings)


def test_char_ngrams_may_come_as_a_list():
    assert TfidfParams(char_ngrams=[3, 5]) == TfidfParams(char_ngrams=(3, 5))


def _edit(name, change):
    def damage(folder):
        path = folder / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return damage


def _edit_terms(change):
    def damage(folder):
        path = folder / "word_terms.txt"
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "tfidf.json").unlink(),
        lambda folder: (folder / "word_terms.txt").unlink(),
        lambda folder: np.save(folder / "word_idf.npy", np.ones(3, np.float32)),
        lambda folder: np.save(folder / "char_idf.npy", np.array([{}], object)),
        lambda folder: (folder / "word_terms.txt").write_bytes(b"red\n\xff\n"),
        _edit_terms(lambda lines: [lines[0], *lines[:-1]]),
        _edit_terms(lambda lines: lines[1:]),
        _edit_terms(lambda lines: [*lines[:-1], lines[-1].removesuffix(b"\n")]),
        _edit_terms(lambda lines: [*lines[:-1], b"a\\b\n"]),
        _edit_terms(lambda lines: []),
        _edit("tfidf.json", lambda head: head | {"format_version": 99}),
        _edit("tfidf.json", lambda head: head | {"params": {"unknown": 1}}),
        _edit("tfidf.json", lambda head: head | {"params": {"min_df": "two"}}),
        _edit("tfidf.json", lambda head: head | {"blocks": []}),
        _edit("tfidf.json", lambda head: [head]),
    ],
)
def test_damaged_folders_are_refused(fitted, tmp_path, damage):
    fitted.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ArtifactError):
        TfidfFeatures.load(tmp_path)


def test_idf_must_be_finite(fitted, tmp_path):
    fitted.save(tmp_path)
    idf = np.load(tmp_path / "word_idf.npy")
    idf[0] = np.nan
    np.save(tmp_path / "word_idf.npy", idf)
    with pytest.raises(ArtifactError, match="idf"):
        TfidfFeatures.load(tmp_path)
