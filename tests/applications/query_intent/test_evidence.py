import math

import numpy as np
import polars as pl
import pytest

from tests.reference.slow_click_evidence import slow_click_evidence
from xrt.applications.query_intent.agreement import agreed_values, verdicts_of
from xrt.applications.query_intent.catalogue import catalogue_of
from xrt.applications.query_intent.clicks.click_features import (
    CLICK_FEATURES,
    ClickMatrices,
    click_features,
    wilson_lower,
)
from xrt.applications.query_intent.clicks.examination import examination_by_position
from xrt.applications.query_intent.decision import decide
from xrt.applications.query_intent.labelling_params import LabellingParams
from xrt.applications.query_intent.words.aliases import AliasTable, NameTable, learn_from_titles
from xrt.applications.query_intent.words.word_features import (
    WORD_FEATURES,
    Words,
    read_query,
    supported_names,
    word_features,
)
from xrt.applications.query_intent.words.words import normalise_query, words_of
from xrt.data import read_corpus
from xrt.errors import DataError

ITEMS = [
    ("a", "Norvelle Tavola pan blue", ["brand=Norvelle", "category=Home > Pans", "color=blue"]),
    ("b", "Tavola pan red", ["brand=Norvelle", "category=Home > Pans", "color=red"]),
    ("c", "Tavola pot", ["brand=Norvelle", "category=Home > Pots"]),
    ("d", "Silver Fern skillet", ["brand=Silver Fern", "category=Home > Pans", "color=silver"]),
    ("e", "Silver Fern skillet", ["brand=Silver Fern", "category=Home > Pans"]),
    ("f", "Silver Fern toy car red", ["brand=Silver Fern", "category=Toys", "color=red"]),
    ("g", "Arlo toy car blue", ["brand=Arlo", "category=Toys", "color=blue"]),
    ("h", "Arlo 26cm toy", ["brand=Arlo", "category=Toys", "size=26 cm"]),
]


@pytest.fixture
def catalogue(tmp_path):
    return catalogue_of(write_items(tmp_path, ITEMS))


def write_items(folder, items):
    pl.DataFrame(items, schema=["id", "title", "labels"], orient="row").write_ndjson(
        folder / "items.jsonl"
    )
    return read_corpus(folder / "items.jsonl")


def random_rows(num_queries, catalogue, rng, positions=5):
    n = num_queries * 12
    frame = pl.DataFrame(
        {
            "query_id": rng.integers(0, num_queries, n),
            "item_id": rng.integers(0, len(catalogue.items), n).astype(np.int32),
            "position": rng.integers(1, positions + 1, n).astype(np.int32),
            "count": rng.integers(0, 6, n).astype(float),
            "impressions": rng.integers(6, 20, n).astype(float),
        }
    )
    return frame.unique(["query_id", "item_id", "position"]).sort("query_id", "item_id", "position")


def test_click_features_equal_plain_loops(catalogue):
    params = LabellingParams()
    rows = random_rows(9, catalogue, np.random.default_rng(1))
    look = np.concatenate([[1.0], 1 / np.arange(1, 101) ** 0.7])
    matrices = ClickMatrices.of(rows, 9, catalogue, look, params)
    share_QL = matrices.share_QL(catalogue, params.prior_strength)
    query_P = np.repeat(np.arange(9), np.diff(share_QL.indptr))
    label_P = share_QL.indices
    fast_PF = click_features(matrices, share_QL, query_P, label_P, catalogue, params)
    Y = catalogue.Y_IL.toarray()
    items = {i: [catalogue.labels[j] for j in np.flatnonzero(row)] for i, row in enumerate(Y)}
    slow = slow_click_evidence(
        [
            (r["query_id"], r["item_id"], float(look[r["position"]]), r["count"], r["impressions"])
            for r in rows.iter_rows(named=True)
        ],
        items,
        dict(zip(catalogue.labels, catalogue.prior_L.tolist(), strict=True)),
        strength=params.prior_strength,
        z=params.z,
    )
    pairs = list(zip(query_P.tolist(), [catalogue.labels[i] for i in label_P], strict=True))
    assert set(pairs) == set(slow)
    for pair, row in zip(pairs, fast_PF.tolist(), strict=True):
        got = dict(zip(CLICK_FEATURES, row, strict=True))
        for name, value in slow[pair].items():
            assert got[name] == pytest.approx(value, rel=1e-4, abs=1e-5), (pair, name)


def test_wilson_lower_is_its_formula_and_rises_with_evidence():
    few, many = wilson_lower(np.array([3.0, 30.0]), np.array([4.0, 40.0]), 1.64)
    assert few < many < 0.75
    assert wilson_lower(np.array([0.0]), np.array([0.0]), 1.64)[0] == 0


def test_examination_is_recovered_from_items_shown_at_several_positions():
    rng = np.random.default_rng(0)
    theta = 1 / np.arange(1, 11) ** 0.8
    rows = []
    for query in range(300):
        attraction = rng.beta(1, 4, 10)
        # what attracts most stands on top most often: a plain click rate would be confounded
        for order in (np.argsort(-attraction), rng.permutation(10)):
            clicks = rng.binomial(400, theta * attraction[order])
            rows += [
                (query, int(item), position + 1, float(count), 400.0)
                for position, (item, count) in enumerate(zip(order, clicks, strict=True))
            ]
    frame = pl.DataFrame(
        rows, schema=["query_id", "item_id", "position", "count", "impressions"], orient="row"
    )
    found = examination_by_position(frame)
    np.testing.assert_allclose(found[1:11], theta, rtol=0.08)
    by_position = frame.group_by("position").agg(pl.col("count").sum()).sort("position")
    naive = by_position["count"].to_numpy() / by_position["count"][0]
    assert np.abs(naive - theta).max() > 3 * np.abs(found[1:11] - theta).max()


def test_examination_needs_an_item_at_two_positions():
    frame = pl.DataFrame(
        {"query_id": [0, 0], "item_id": [0, 1], "position": [1, 2], "count": [900.0, 90.0],
         "impressions": [1000.0, 1000.0]}
    )  # fmt: skip
    assert examination_by_position(frame) is None


def tables(catalogue):
    titles = learn_from_titles(catalogue, 100, 0)
    forms = titles.forms(len(catalogue.labels))
    nothing = AliasTable({}, {}, np.zeros(len(catalogue.labels)))
    return Words(catalogue, NameTable(catalogue.names, forms), titles, nothing)


def features_of(text, share, catalogue):
    words = tables(catalogue)
    index = {label: i for i, label in enumerate(catalogue.labels)}
    share = {index[label]: value for label, value in share.items()}
    reading = read_query(text, share, words)
    rows = word_features(reading, list(share), share, words)
    return {
        catalogue.labels[label]: dict(zip(WORD_FEATURES, row, strict=True))
        for label, row in zip(share, rows, strict=True)
    }


def test_a_product_line_is_learnt_as_an_alias_of_its_brand(catalogue):
    found = features_of(
        "tavola pan", {"brand=Norvelle": 0.9, "category=Home > Pots": 0.1}, catalogue
    )
    brand, pots = found["brand=Norvelle"], found["category=Home > Pots"]
    assert brand["name_words"] == 0
    assert brand["title_forward"] > 0.8 > 0.3 > pots["title_forward"]
    assert brand["title_alias"] > pots["title_alias"] > 0
    assert pots["rival_named"] == 0  # "pan" names Pans, which no click supports


def test_a_word_inside_a_longer_name_is_not_a_name(catalogue):
    share = {"brand=Silver Fern": 0.8, "color=silver": 0.5}
    found = features_of("silver fern skillet", share, catalogue)
    assert found["brand=Silver Fern"]["name_words"] == 2
    assert found["color=silver"]["name_words"] == 0
    alone = features_of("silver skillet", {"color=silver": 0.5}, catalogue)
    assert alone["color=silver"]["name_words"] == 1


def test_joined_units_plurals_and_slips_are_found(catalogue):
    assert features_of("toy 26cm", {"size=26 cm": 0.5}, catalogue)["size=26 cm"]["name_words"] == 2
    assert words_of("Dresses, toys & 26CM") == ["dress", "toy", "26", "cm"]
    slip = features_of("norvele pan", {"brand=Norvelle": 0.9}, catalogue)["brand=Norvelle"]
    other = features_of("arlo toy", {"brand=Norvelle": 0.9}, catalogue)["brand=Norvelle"]
    assert slip["char_likeness"] > 0.6 > other["char_likeness"]


def test_queries_that_differ_in_case_blanks_and_width_are_one():
    forms = ["adidas blue", "Adidas  BLUE ", "ａｄｉｄａｓ　ｂｌｕｅ"]
    assert {normalise_query(form) for form in forms} == {"adidas blue"}


def test_agreement_leaves_open_what_words_do_not_settle(catalogue):
    index = {label: i for i, label in enumerate(catalogue.labels)}
    labels = ["brand=Arlo", "brand=Norvelle", "color=blue", "category=Toys"]
    ids = [index[label] for label in labels]
    share = dict.fromkeys(ids, 0.5)
    words = tables(catalogue)

    def verdicts(text):
        reading = read_query(text, share, words)
        named = supported_names(reading, share)
        agreed = agreed_values(reading, share, set(named), catalogue)
        return dict(zip(labels, verdicts_of(reading, agreed, ids, catalogue), strict=True))

    assert verdicts("arlo toys") == {
        "brand=Arlo": 1, "brand=Norvelle": 0, "color=blue": 0, "category=Toys": 1
    }  # fmt: skip
    assert verdicts("arlo zork") == {
        "brand=Arlo": 1, "brand=Norvelle": 0, "color=blue": -1, "category=Toys": -1
    }  # fmt: skip
    assert set(verdicts("zork").values()) == {-1}


def test_a_decision_is_one_value_or_none_and_keeps_to_the_path(catalogue):
    index = {label: i for i, label in enumerate(catalogue.labels)}
    labels = ["color=red", "color=blue", "category=Home > Pans", "category=Home > Pots"]
    label_P = np.array([index[label] for label in labels])
    p = np.array([0.6, 0.6, 0.9, 0.3])
    _, decided, confidence = decide(np.zeros(4, int), label_P, p, catalogue)
    found = {catalogue.labels[i]: c for i, c in zip(decided, confidence, strict=True)}
    assert found["color=red"] == pytest.approx(1.5 / 4)  # odds 1.5 each, and 1 for none
    assert found["color=red"] + found["color=blue"] < 1
    assert found["category=Home"] == pytest.approx(0.9)
    pans = 9 / (1 + 9 + 0.3 / 0.7)
    assert found["category=Home > Pans"] == pytest.approx(pans)
    assert all(math.isfinite(c) for c in confidence)


def test_ancestors_come_with_a_value_and_last_duplicates_count(tmp_path):
    items = [*ITEMS, ("a", "Norvelle pot", ["brand=Norvelle", "category=Home > Pots"]), ITEMS[1]]
    catalogue = catalogue_of(write_items(tmp_path, items))
    row = catalogue.Y_IL[[catalogue.items["a"]]].toarray()[0]
    assert {catalogue.labels[i] for i in np.flatnonzero(row)} == {
        "brand=Norvelle", "category=Home", "category=Home > Pots"
    }  # fmt: skip
    assert any(
        note.startswith("2 rows repeat an item") and "1 items have other values" in note
        for note in catalogue.notes
    )
    assert any("1 attributes have one value (size)" in note for note in catalogue.notes)


def test_a_catalogue_without_names_or_ids_is_told(tmp_path):
    items = [(id, title, ["brand=1", "brand=2"][:1]) for id, title, _ in ITEMS]
    notes = catalogue_of(write_items(tmp_path, items)).notes
    assert any("1 of 1 values have no letter" in note for note in notes)
    (tmp_path / "no_ids.jsonl").write_text('{"title": "x", "labels": ["brand=A"]}\n')
    with pytest.raises(DataError, match="items have no ids"):
        catalogue_of(read_corpus(tmp_path / "no_ids.jsonl"))
