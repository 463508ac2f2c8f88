import dataclasses
import json
import logging

import pytest

from xrt.data.attribute_schema import AttributeSchema, EmptyMeans, TextColumn
from xrt.data.catalogue import CatalogueTable
from xrt.data.schema_inference import find_hierarchy, infer_schema
from xrt.errors import ConfigError, DataError

CATEGORIES = [("Home", "Pans", "Woks"), ("Home", "Pans", "Skillets"), ("Home", "Mugs", "Cups")]
CATEGORIES += [("Toys", "Games", "Chess"), ("Toys", "Dolls", "Rag dolls"), ("Toys", "Dolls", "")]


def table(num_rows=120, **more):
    rows = range(num_rows)
    paths = [CATEGORIES[i % 6] for i in rows]
    columns = {
        "id": [str(10_000 + i) for i in rows],
        "title": [f"item number {i} of its kind" for i in rows],
        "price": [f"{i % 17},50 EUR" for i in rows],
        "store": [f"Store {i % 3}" for i in rows],
        "brand": [f"Brand {i % 35}" for i in rows],
        **{f"L{k}": [path[k] for path in paths] for k in range(3)},
    }
    return CatalogueTable(columns | more, path="shop.csv")


def test_a_text_column_with_repeat_and_marker():
    assert TextColumn.parse("title") == TextColumn("title", "", 1)
    assert TextColumn.parse("title*2") == TextColumn("title", "", 2)
    assert TextColumn.parse("title:T") == TextColumn("title", "T", 1)
    assert TextColumn.parse("title*3:T") == TextColumn("title", "T", 3)
    assert TextColumn.parse("dc:title:") == TextColumn("dc:title", "", 1)
    assert TextColumn.parse("5*") == TextColumn("5*", "", 1)
    assert str(TextColumn.parse("title*3:T")) == "title*3:T"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"text_columns": []}, "at least one text"),
        ({"text_columns": "title"}, "give a list"),
        ({"text_columns": ["title*0"]}, "repeats 0 times"),
        ({"text_columns": ["title*11"]}, "1..10"),
        ({"text_columns": [""]}, "write name"),
        ({"targets": []}, "at least one target"),
        ({"targets": ["a=b"]}, "has '='"),
        ({"targets": ["brand", "brand"]}, "one use"),
        ({"text_columns": ["brand*2"], "targets": ["brand"]}, "one use"),
        ({"targets": ["brand"], "hierarchy": ["L0"]}, "not among the targets"),
        ({"hierarchy": ["L0", "L0"]}, "twice"),
        ({"num_bins": 1}, "2..1000"),
        ({"empty": "perhaps"}, "none, missing, auto"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ConfigError, match=words):
        AttributeSchema(**settings)


def test_a_schema_survives_json():
    schema = AttributeSchema(text_columns=["title*2"], targets=["brand"], empty="missing")
    assert AttributeSchema(**json.loads(json.dumps(dataclasses.asdict(schema)))) == schema
    assert schema.empty is EmptyMeans.MISSING
    assert not schema.is_resolved


def test_every_role_is_told_from_the_columns(caplog):
    with caplog.at_level(logging.INFO, "xrt"):
        schema = infer_schema(table(), AttributeSchema())
    assert schema.text_columns == ["title"]
    assert schema.numeric_columns == ["price"]
    assert schema.categorical_columns == ["store"]
    assert schema.targets == ["brand", "L0", "L1", "L2"]
    assert schema.hierarchy == ["L0", "L1", "L2"]
    assert schema.is_resolved
    told = "text title; numeric price; categorical store; targets brand, L0, L1, L2"
    assert told in caplog.text
    assert "hierarchy L0 > L1 > L2; not used: id" in caplog.text


def test_what_the_user_said_is_kept():
    asked = AttributeSchema(
        text_columns=["id*2", "title:T"], numeric_columns=[], targets=["L2", "L0"], hierarchy=[]
    )
    schema = infer_schema(table(), asked)
    assert (schema.text_columns, schema.numeric_columns) == (["id*2", "title:T"], [])
    assert (schema.targets, schema.hierarchy) == (["L2", "L0"], [])
    assert schema.categorical_columns == ["store"]
    assert infer_schema(table(), AttributeSchema(targets=["L2", "L0"])).hierarchy == ["L0", "L2"]


def test_columns_without_telling_names_are_told_by_their_cells():
    rows = range(100)
    plain = CatalogueTable(
        {
            "a": [f"some words about thing {i}" for i in rows],
            "b": [f"{i % 40}.5" for i in rows],
            "c": ["red", "blue", "green", ""] * 25,
            "d": ["always the same"] * 100,
            "e": [""] * 100,
            "f": [str(i) for i in rows],
        },
        path="x.csv",
    )
    schema = infer_schema(plain, AttributeSchema())
    assert schema.text_columns == ["a"]
    assert schema.numeric_columns == ["b"]
    assert schema.targets == ["c"]
    assert schema.categorical_columns == []
    assert schema.hierarchy == []


def test_a_wordy_name_does_not_make_a_text_of_a_kind():
    more = {"product_type": ["Pan", "Mug"] * 60, "brand_name": ["A", "B", "C"] * 40}
    schema = infer_schema(table(**more), AttributeSchema())
    assert schema.text_columns == ["title"]
    assert {"product_type", "brand_name"} <= set(schema.targets)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"text_columns": ["name"]}, "no text column name; the columns are id, title, price"),
        ({"targets": ["brand", "kind"]}, "no target column kind; the columns are id, title"),
        ({"numeric_columns": ["cost"]}, "no numeric column cost"),
        ({"categorical_columns": ["shop"]}, "no categorical column shop"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_there_are(settings, words):
    with pytest.raises(DataError, match=words):
        infer_schema(table(), AttributeSchema(**settings))


def test_nothing_to_read_or_to_predict():
    numbers = {"price": ["1", "2"], "brand": ["A", "B"]}
    with pytest.raises(DataError, match=r"looks like a text column.*price, brand"):
        infer_schema(CatalogueTable(numbers), AttributeSchema())
    titles = {"title": ["a b c", "d e f"], "price": ["1", "2"]}
    with pytest.raises(DataError, match=r"looks like a target column.*title, price"):
        infer_schema(CatalogueTable(titles), AttributeSchema())


def test_the_chain_is_counted_not_read_off_the_order_or_the_sizes():
    paths = [CATEGORIES[i % 6] for i in range(600)]
    columns = {
        "fine": [p[2] for p in paths],
        "top": [p[0] for p in paths],
        "brand": [f"b{i * i % 7}" for i in range(600)],
        "middle": [p[1] for p in paths],
    }
    schema = AttributeSchema()
    assert find_hierarchy(columns, schema) == ["top", "middle", "fine"]
    few_fine = ["" if i % 6 > 1 else cell for i, cell in enumerate(columns["fine"])]
    assert len(set(few_fine)) < len(set(columns["middle"]))
    assert find_hierarchy(columns | {"fine": few_fine}, schema) == ["top", "middle", "fine"]
    strays = [cell if i % 50 else "Toys" for i, cell in enumerate(columns["top"])]
    assert find_hierarchy(columns | {"top": strays}, schema) == ["top", "middle", "fine"]
    mixed = [cell if i % 5 else "Toys" for i, cell in enumerate(columns["top"])]
    assert find_hierarchy(columns | {"top": mixed}, schema) == ["middle", "fine"]


def test_an_empty_cell_means_missing_where_none_is_written_out():
    assert infer_schema(table(), AttributeSchema()).empty is EmptyMeans.AUTO
    written = [path[2] or "NA" for path in CATEGORIES] * 20
    assert infer_schema(table(L2=written), AttributeSchema()).empty is EmptyMeans.MISSING
    assert infer_schema(table(L2=written), AttributeSchema(empty="none")).empty is EmptyMeans.NONE
