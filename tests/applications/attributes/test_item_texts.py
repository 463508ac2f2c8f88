import json

import numpy as np
import pytest

from xrt.applications.attributes.data.catalogue import CatalogueTable
from xrt.applications.attributes.data.item_texts import ItemTexts, compute_edges, make_token
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.errors import ArtifactError, DataError
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams

SCHEMA = AttributeSchema(
    text_columns=["title*2", "note:about"],
    numeric_columns=["price"],
    categorical_columns=["store"],
    targets=["brand"],
)


def table(**more):
    columns = {
        "title": ["red pan", "blue mug", "", "cup"],
        "note": ["big", "", "", "old"],
        "price": ["1.00 EUR", "2", "1,299.00", "free"],
        "store": ["Big-Mart!", "", "Öko Läden & Co.", "+"],
        "brand": ["A", "B", "A", "B"],
    }
    return CatalogueTable(columns | more, path="shop.csv")


def test_columns_in_order_then_tokens_then_the_repeats():
    texts = ItemTexts.fit(table(), SCHEMA).texts(table())
    assert texts[0] == "red pan\nabout big\nprice_bin0\nstore_big_mart\nred pan"
    assert texts[1] == "blue mug\nprice_bin5\nblue mug"
    assert texts[2] == "price_bin9\nstore_öko_läden_co"
    assert texts[3] == "cup\nabout old\nstore_u2b\ncup"


def test_bins_hold_about_equally_many_values_and_take_any_number():
    values = np.random.default_rng(0).lognormal(3, 1, 5000)
    cells = [f"{value:.6f}" for value in values]
    full = CatalogueTable({"t": ["x"] * 5000, "p": cells, "b": ["A"] * 5000})
    schema = AttributeSchema(text_columns=["t"], numeric_columns=["p"], targets=["b"])
    texts = ItemTexts.fit(full, schema)
    tokens, counts = np.unique(texts.texts(full), return_counts=True)
    assert len(tokens) == 10
    assert counts.min() > 490
    new = CatalogueTable({"t": [""] * 3, "p": ["-1e9", "1e9", "?"]})
    assert texts.texts(new) == ["p_bin0", "p_bin9", ""]
    assert compute_edges(np.ones(50), 10) == [1.0]
    assert compute_edges(np.zeros(0), 10) == []


def test_a_token_is_one_word_to_tfidf():
    values = ["Big-Mart!", "Öko Läden & Co.", "+", "İstanbul", "7/11", "a_b", "日本 店"]
    tokens = [f"store_{make_token(value)}" for value in values]
    rows = [f"some words\n{token}\nmore" for token in tokens for _ in range(2)]
    vocabulary = TfidfFeatures(TfidfParams()).fit(rows).feature_names()
    assert {*tokens, "some", "words", "more"} == set(vocabulary)


def test_cells_that_are_no_numbers_are_told():
    assert ItemTexts.fit(table(), SCHEMA).notes == (
        "column 'price': 1 cells are not numbers and were left out",
    )


def test_columns_may_be_absent_as_long_as_one_of_text_is_there():
    fitted = ItemTexts.fit(table(), SCHEMA)
    assert fitted.texts(CatalogueTable({"title": ["pan"], "note": [""]})) == ["pan\npan"]
    assert fitted.texts(CatalogueTable({"title": ["pan"]})) == ["pan\npan"]
    with pytest.raises(DataError, match="no text column title, note; the columns are price"):
        fitted.texts(CatalogueTable({"price": ["1"]}))


def test_a_list_is_read_as_its_parts():
    fitted = ItemTexts.fit(table(), SCHEMA)
    for cell in ('["red", "pan"]', "['red', 'pan']"):
        assert fitted.texts(CatalogueTable({"note": [cell]}))[0].endswith("red pan")
    assert fitted.texts(CatalogueTable({"note": ["[red] pan"]}))[0].endswith("[red] pan")


def test_saved_and_loaded_give_the_same_texts():
    fitted = ItemTexts.fit(table(), SCHEMA)
    loaded = ItemTexts.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert loaded == fitted
    assert loaded.texts(table()) == fitted.texts(table())
    one_by_one = [fitted.texts(table().subset([i]))[0] for i in range(4)]
    assert one_by_one == fitted.texts(table())


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"schema": {}, "edges": {}},
        {"schema": {"colour": 1}, "edges": {}},
        {"schema": {"targets": []}, "edges": {}},
        {"schema": ItemTexts.fit(table(), SCHEMA).to_dict()["schema"], "edges": {}},
    ],
)
def test_what_was_not_saved_by_us_is_refused(saved):
    with pytest.raises(ArtifactError, match="train anew"):
        ItemTexts.from_dict(saved)
