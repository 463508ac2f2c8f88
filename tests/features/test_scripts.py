"""Words in all scripts: the fast counter against its slow twin, and what the terms should be."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from tests.reference import slow_terms
from xrt.features.ngrams.characters import character_table, composed
from xrt.features.ngrams.counter import NgramCounter
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import WORDS_AND_SIGNS, WORDS_OF_TWO, TfidfParams

SCRIPTS = (
    "aB1_ .-#+éßİΣ赤い々〆シャツー東𠀀𛀂ｶﾞﾊﾟＡｂ１＋＃・、。กรุงเทพำะแใๆ๑ข้าວຽງເຈົ້າភ្នំពេញម្មြန်မာ"
    "हिन्दीमेंক্ষশ্রীதமிழ்ශ්‍රීمُحَمَّدشָׁלוֹם한글\u1112\u1161\u11ab\u0301\u0308\u034f\u0328\ufe22\u200b\u200c\u200d\ufe0f"
    "\U000e0100😀👩❤\u20e3\u0345\u0653\u093c\u0b3e\u0b47\u0bbe\u0bc6\u3099\u309a\u212b\ufb2a\uf900\u0958\u20d1\u20e8\n\u3000\xad"
)  # fmt: skip
TEXTS = st.lists(
    st.text(st.sampled_from(SCRIPTS), max_size=30) | st.text(max_size=20), min_size=1, max_size=5
)


def terms_of(*texts: str, **changes) -> list[str]:
    params = TfidfParams(**({"min_df": 1, "token_pattern": WORDS_OF_TWO} | changes))
    return TfidfFeatures(params).fit(list(texts)).feature_names()


@pytest.mark.parametrize("changes", [{}, {"word_ngram_max": 3}, {"lowercase": False}])
@settings(max_examples=150, deadline=None)
@given(texts=TEXTS, block_chars=st.sampled_from([1, 15, 1000]))
@example(texts=["赤"], block_chars=15)
def test_the_fast_counter_equals_the_slow_twin(changes, texts, block_chars):
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    params = TfidfParams(min_df=1, token_pattern=WORDS_OF_TWO, **changes)

    def analyzer(text: str) -> list[str]:
        return slow_terms.terms(text, params.lowercase, 2, params.word_ngram_max)

    if not any(map(analyzer, texts)):
        return
    slow, fast = CountVectorizer(analyzer=analyzer), NgramCounter(params, "word", True, block_chars)
    counts = slow.fit_transform(texts)
    learned = fast.learn(texts)
    assert learned is not None
    assert learned[0].strings() == slow.get_feature_names_out().tolist()
    np.testing.assert_array_equal(learned[1].toarray(), counts.toarray())
    np.testing.assert_array_equal(
        fast.count(texts[::-1], learned[0]).toarray(), slow.transform(texts[::-1]).toarray()
    )


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("東京都", ["京", "京都", "東", "東京", "東京都", "都"]),
        ("Sony α7 カメ", ["sony", "α7", "カ", "カメ", "メ"]),
        ("型番AB-12の色", ["12", "ab", "の", "の色", "型", "型番", "番", "色"]),
        ("ＡＢＣ１２３", ["abc123"]),
        ("ｶﾞｽ", ["ガ", "ガス", "ス"]),
        ("葛\U000e0100城", ["城", "葛", "葛城"]),
        ("เก้าอี้", ["อี้", "เก้า", "เก้าอี้"]),
        ("น้ำ", ["น้ำ"]),
        ("ภาษา\u200bไทย", ["ภา", "ภาษา", "ย", "ษา", "ไท", "ไทย"]),
        ("ខ្មែរ", ["ខ្មែ", "ខ្មែរ", "រ"]),
        ("हिन्दी में किताब", ["किताब", "में", "हिन्दी"]),
        ("ශ්‍රී ලංකා", ["ලංකා", "ශ්රී"]),
        ("தமிழ் வேலை", ["தமிழ்", "வேலை"]),
        ("مُحَمَّد كتاب", ["كتاب", "محمد"]),
        ("שָׁלוֹם", ["שלום"]),
        ("می\u200cخواهم", ["خواهم", "می"]),
        ("Mu\u0308nchen fu\u034f\u0308r", ["für", "münchen"]),
        ("❤\ufe0f 1\ufe0f\u20e3 👩\u200d💻 ok 😀", ["ok"]),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", ["한글"]),
    ],
)
def test_words_of_many_scripts(text, terms):
    assert terms_of(text) == sorted(terms)


@pytest.mark.parametrize("chars", [None, (2, 3)])
def test_composed_and_decomposed_texts_have_the_same_features(chars):
    texts = ["Größe Ångström", "ガスの値段", "सड़क पर", "Việt Nam", "한글", "מִשְׁפָּט"]
    tfidf = TfidfFeatures(TfidfParams(min_df=1, char_ngrams=chars)).fit(texts)
    rows = tfidf.transform(texts)
    for form in ("NFC", "NFD"):
        again = tfidf.transform([unicodedata.normalize(form, text) for text in texts])
        np.testing.assert_array_equal(again.toarray(), rows.toarray())


def test_full_width_is_folded_in_character_ngrams_too():
    assert terms_of("ＡＢ", word_ngram_max=0, char_ngrams=(2, 2)) == [" a", "ab", "b "]


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(
        st.text(
            st.characters(max_codepoint=0x24F, exclude_characters="\u0130")
            | st.sampled_from("αβΩжш한글עראب–“”€…😀"),
            max_size=40,
        ),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_other_texts_keep_every_bit(texts):
    """All but the Turkish dotted I, whose lower-case form has a combining dot."""
    for params in (
        TfidfParams(min_df=1, word_ngram_max=2),
        TfidfParams(min_df=1, word_ngram_max=0, char_ngrams=(2, 4)),
    ):
        (kind,) = params.kinds
        new = NgramCounter(params, kind, True).learn(texts)
        old = NgramCounter(params, kind, False).learn(texts)
        assert (new is None) == (old is None)
        if new is not None and old is not None:
            assert new[0].to_text() == old[0].to_text()
            for part in ("data", "indices", "indptr"):
                assert getattr(new[1], part).tobytes() == getattr(old[1], part).tobytes()


def test_every_character_that_is_not_composed_is_seen():
    """What NFC does must not depend on the texts nearby."""
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or code in (0x2000, 0x2001):
            continue
        text = "a" + chr(code)
        changes = unicodedata.normalize("NFC", text) != text or unicodedata.combining(chr(code))
        if changes:
            pair = text + "\u0327\u0301"  # in its own order, whatever the character is
            assert composed([pair], pair.encode()) == [unicodedata.normalize("NFC", pair)]
            alone = composed([text], text.encode())
            assert alone == [unicodedata.normalize("NFC", text.replace("\u034f", ""))], hex(code)


def test_saved_and_loaded_and_one_by_one(tmp_path):
    texts = ["東京都の天気", "ภาษาไทย", "Sony カメラ", "हिन्दी में", "plain words"]
    tfidf = TfidfFeatures(TfidfParams(min_df=1))
    rows = tfidf.fit_transform(texts)
    tfidf.save(tmp_path)
    loaded = TfidfFeatures.load(tmp_path)
    np.testing.assert_array_equal(loaded.transform(texts).toarray(), rows.toarray())
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(loaded.transform([text]).toarray(), rows[[row]].toarray())


def test_a_model_of_before_counts_as_before(tmp_path):
    tfidf = TfidfFeatures(TfidfParams(min_df=1)).fit(["plain 東京 words"])
    tfidf.save(tmp_path)
    path = tmp_path / "tfidf.json"
    head = json.loads(path.read_text())
    assert head.pop("scripts") is True
    path.write_text(json.dumps(head))
    (tmp_path / "word_terms.txt").write_text("plain\nwords\n東京\n")
    np.save(tmp_path / "word_idf.npy", np.ones(3, np.float32))
    loaded = TfidfFeatures.load(tmp_path)
    assert loaded.transform(["東京 words", "東京都 words"]).toarray().astype(bool).tolist() == [
        [False, True, True],
        [False, True, False],
    ]
    loaded.save(tmp_path)
    assert json.loads(path.read_text())["scripts"] is False


def test_an_own_pattern_means_what_it_says():
    assert terms_of("東京都 हिन्दी", token_pattern=r"(?u)\b\w{2,}\b") == ["東京都"]


def test_words_of_one_letter_and_signs():
    text = "C++, C# and C in R 7: a xC++ 7-bit C#-Kurs F+ a+b +1 g+ + Ｃ＋＋"
    expected = CountVectorizer(token_pattern=WORDS_AND_SIGNS).fit([text.replace("Ｃ＋＋", "")])
    assert terms_of(text, token_pattern=WORDS_AND_SIGNS) == (
        expected.get_feature_names_out().tolist()
    )
    assert {"c++", "c#", "c", "r", "7", "a", "xc"} <= set(
        terms_of(text, token_pattern=WORDS_AND_SIGNS)
    )


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(st.text("cC#+ -x1é#+\n", max_size=12), min_size=1, max_size=4))
def test_signs_mean_what_the_pattern_says(texts):
    slow = CountVectorizer(token_pattern=WORDS_AND_SIGNS)
    params = TfidfParams(min_df=1, token_pattern=WORDS_AND_SIGNS)
    learned = NgramCounter(params, "word", False, 5).learn(texts)
    if learned is None:
        return
    counts = slow.fit_transform(texts)
    assert learned[0].strings() == slow.get_feature_names_out().tolist()
    np.testing.assert_array_equal(learned[1].toarray(), counts.toarray())


def test_a_run_as_long_as_a_book():
    text = "東京都の天気は晴れ" * 30_000 + "ก" + "า" * 100_000
    row = TfidfFeatures(TfidfParams(min_df=1)).fit_transform([text])
    assert np.linalg.norm(row.data) == pytest.approx(1, rel=1e-5)


def test_the_table_without_scripts_has_no_flags():
    table = character_table(r"\w", True)
    assert not (table >> 21 & 0x3FF).any()
