import dataclasses
import json
import logging

import pytest

from xrt.applications.attributes.data.catalogue import CatalogueTable
from xrt.applications.attributes.data.schema import AttributeSchema, EmptyMeans, TextColumn
from xrt.applications.attributes.data.schema_inference import (
    Hierarchy,
    count_cells,
    find_counted_levels,
    infer_hierarchy,
    infer_role,
    infer_schema,
    split_name,
)
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
        schema, _ = infer_schema(table(), AttributeSchema())
    assert schema.text_columns == ["title"]
    assert schema.numeric_columns == ["price"]
    assert schema.categorical_columns == ["store"]
    assert schema.targets == ["brand", "L0", "L1", "L2"]
    assert schema.hierarchy == ["L0", "L1", "L2"]
    assert schema.is_resolved
    message = "text title; numeric price; categorical store; targets brand, L0, L1, L2"
    assert message in caplog.text
    assert "hierarchy L0 > L1 > L2; not used: id" in caplog.text


def test_what_the_user_said_is_kept():
    roles = AttributeSchema(
        text_columns=["id*2", "title:T"], numeric_columns=[], targets=["L2", "L0"], hierarchy=[]
    )
    schema, _ = infer_schema(table(), roles)
    assert (schema.text_columns, schema.numeric_columns) == (["id*2", "title:T"], [])
    assert (schema.targets, schema.hierarchy) == (["L2", "L0"], [])
    assert schema.categorical_columns == ["store"]
    assert infer_schema(table(), AttributeSchema(targets=["L2", "L0"]))[0].hierarchy == ["L0", "L2"]


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
    schema, _ = infer_schema(plain, AttributeSchema())
    assert schema.text_columns == ["a"]
    assert schema.numeric_columns == ["b"]
    assert schema.targets == ["c"]
    assert schema.categorical_columns == []
    assert schema.hierarchy == []


def test_a_wordy_name_does_not_make_a_text_of_a_kind():
    more = {"product_type": ["Pan", "Mug"] * 60, "brand_name": ["A", "B", "C"] * 40}
    schema, _ = infer_schema(table(**more), AttributeSchema())
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
    assert infer_hierarchy(columns, schema).levels == ["top", "middle", "fine"]
    few_fine = ["" if i % 6 > 1 else cell for i, cell in enumerate(columns["fine"])]
    assert len(set(few_fine)) < len(set(columns["middle"]))
    assert infer_hierarchy(columns | {"fine": few_fine}, schema).levels == ["top", "middle", "fine"]
    strays = [cell if i % 50 else "Toys" for i, cell in enumerate(columns["top"])]
    assert infer_hierarchy(columns | {"top": strays}, schema).levels == ["top", "middle", "fine"]
    mixed = [cell if i % 5 else "Toys" for i, cell in enumerate(columns["top"])]
    assert infer_hierarchy(columns | {"top": mixed}, schema).levels == ["middle", "fine"]


def test_an_empty_cell_means_missing_where_none_is_written_out():
    assert infer_schema(table(), AttributeSchema())[0].empty is EmptyMeans.AUTO
    written = [path[2] or "NA" for path in CATEGORIES] * 20
    assert infer_schema(table(L2=written), AttributeSchema())[0].empty is EmptyMeans.MISSING
    assert (
        infer_schema(table(L2=written), AttributeSchema(empty="none"))[0].empty is EmptyMeans.NONE
    )


def test_a_few_words_for_nothing_do_not_make_empty_cells_unknown():
    cells = [path[2] for path in CATEGORIES] * 50
    ends = [i for i, cell in enumerate(cells) if not cell]
    cells[ends[0]] = cells[ends[1]] = "-"
    assert infer_schema(table(300, L2=cells), AttributeSchema())[0].empty is EmptyMeans.AUTO


@pytest.mark.parametrize(
    ("names", "levels"),
    [
        (["L2", "L1", "L10", "brand"], ["L1", "L2", "L10"]),
        (["lvl1", "lvl2"], ["lvl1", "lvl2"]),
        (["Level 2", "Level 1"], ["Level 1", "Level 2"]),
        (["category_3", "category_1", "category"], ["category", "category_1", "category_3"]),
        (["type", "sub_category", "category"], ["category", "sub_category"]),
        (["subsubcategory", "category", "Sub-Category"],
         ["category", "Sub-Category", "subsubcategory"]),
        (["CategoryText", "Category Level 2"], ["CategoryText", "Category Level 2"]),
        (["Main Category", "subCategory", "Category"],
         ["Main Category", "Category", "subCategory"]),
        (["productCategory2Name", "productCategory1Name"],
         ["productCategory1Name", "productCategory2Name"]),
        (["taxonomyL2", "taxonomyL1"], ["taxonomyL1", "taxonomyL2"]),
        (["Class", "SubClass", "Department"], ["Class", "SubClass"]),
        (["Unterkategorie", "Kategorie"], ["Kategorie", "Unterkategorie"]),
        (["sous-catégorie", "catégorie"], ["catégorie", "sous-catégorie"]),
        (["level two", "level one"], ["level one", "level two"]),
        (["tertiary_category", "secondary_category", "primary_category"],
         ["primary_category", "secondary_category", "tertiary_category"]),
        (["color_1", "color_2", "type_1", "type_2"], []),
        (["brand", "category"], []),
        (["level 1 of 2", "level 2 of 2"], []),
    ],
)  # fmt: skip
def test_names_that_count_are_levels(names, levels):
    assert find_counted_levels(names) == levels


def test_camel_case_is_words():
    assert split_name("CategoryText") == ["category", "text"]
    assert split_name("HTMLColor2") == ["html", "color", "2"]
    assert split_name("imageURLs") == ["image", "urls"]
    assert split_name("Größe_in CM") == ["größe", "in", "cm"]
    facts = count_cells(["Red", "Blue", "Red", "Blue"] * 10, AttributeSchema())
    assert infer_role("brandName", facts) == "target"
    assert infer_role("CategoryText", facts) == "target"
    assert infer_role("productTitle", facts) == "text"
    assert infer_role("vendorName", facts) == "categorical"
    assert infer_role("imageUrl", facts) == infer_role("productID", facts) == ""
    assert infer_role("lvl2Name", facts) == "target"


def shared_children(num_rows=600):
    """L3 has names of its own and "Other", which stands under every L2 and is most of the rows."""
    tops = [f"T{i % 4}" for i in range(num_rows)]
    middles = [f"M{i % 4}{i % 3}" for i in range(num_rows)]
    fines = ["Other" if i % 5 else f"F{i % 4}{i % 3}" for i in range(num_rows)]
    return {"L1": tops, "L2": middles, "L3": fines}


def test_a_child_under_many_parents_does_not_end_the_hierarchy():
    result = infer_hierarchy(shared_children(), AttributeSchema())
    assert (result.levels, result.notes) == (["L1", "L2", "L3"], [])
    unnamed = dict(zip(("a", "b", "c"), shared_children().values(), strict=True))
    assert infer_hierarchy(unnamed, AttributeSchema()).levels == ["a", "b"]


def test_a_level_below_those_whose_names_count_joins_by_its_cells():
    columns = {
        "kind": [f"K{i % 24}" for i in range(600)],
        "sub_category": ["Other" if i % 2 else f"S{i % 12}" for i in range(600)],
        "brand": [f"B{i % 24}" for i in range(600)],
        "category": [f"C{i % 4}" for i in range(600)],
    }
    result = infer_hierarchy(columns, AttributeSchema())
    assert result.levels == ["category", "sub_category", "kind"]  # a brand is no kind of thing


def contradicting(num_rows=400):
    rows = range(num_rows)
    tags = ["red", "round", "new", "cheap", "big"]
    return {
        "the other way round": (
            {
                "category_1": [tags[i % 5] for i in rows],
                "category_2": [tags[i // 5 % 5] for i in rows],
            },
            "category_2 is left out of the hierarchy: in 80% of the rows category_1 and "
            "category_2 also occur the other way round",
        ),
        "without a parent": (
            {
                "L1": ["" if i % 10 else f"T{i % 20}" for i in rows],
                "L2": [f"M{i % 40}" for i in rows],
            },
            "L2 is left out of the hierarchy: 90% of the rows that give L2 have no L1",
        ),
        "any combination": (
            {"L1": [f"T{i % 8}" for i in rows], "L2": [f"M{i // 8 % 10}" for i in rows]},
            "L2 is left out of the hierarchy: L1 and L2 go together in any way, in 100% of all",
        ),
        "pairs that do not come again": (
            {
                "L1": [f"T{i % 50}" for i in rows],
                "L2": [f"M{(i + 7 * (i // 50)) % 50}" for i in rows],
            },
            "L2 is left out of the hierarchy: only 0% of the rows with values of L1 and L2 that",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("case", contradicting())
def test_cells_that_contradict_the_names_are_told(case):
    columns, note = contradicting()[case]
    result = infer_hierarchy(columns, AttributeSchema())
    assert result.levels == []
    assert [text[: len(note)] for text in result.notes] == [note]


def test_numbers_that_run_from_fine_to_coarse_are_turned_round():
    columns = {"L1": [], "L2": [], "L3": []}
    for i in range(900):
        columns["L3"].append(f"T{i % 3}")
        columns["L2"].append(f"M{i % 9}")
        columns["L1"].append(f"F{i % 45}")
    assert infer_hierarchy(columns, AttributeSchema()) == Hierarchy(["L3", "L2", "L1"], [])
    columns["L1"] = ["Other" if i % 4 == 0 else f"F{i % 45}" for i in range(900)]
    assert infer_hierarchy(columns, AttributeSchema()) == Hierarchy(["L3", "L2", "L1"], [])


def test_a_leaf_without_a_number_is_not_the_top():
    columns = {name: [] for name in ("category", "category_1", "category_2")}
    for i in range(900):
        columns["category"].append(f"F{i % 90}")
        columns["category_1"].append(f"T{i % 3}")
        columns["category_2"].append(f"M{i % 9}")
    result = infer_hierarchy(columns, AttributeSchema())
    assert result.levels == ["category_1", "category_2", "category"]


def test_a_column_that_nearly_has_one_parent_is_told():
    columns = {
        "a": [f"T{i % 4}" for i in range(1000)],
        "b": [f"M{i % 16}" for i in range(1000)],
        "c": [f"F{i % 16}" if i % 7 else "F0" for i in range(1000)],
    }
    result = infer_hierarchy(columns, AttributeSchema())
    assert result.levels == ["a", "b"]
    (note,) = result.notes
    assert note.startswith("c is no level of the hierarchy a > b: its values tell a in 89%")
    assert "94% are needed; where it is one, name hierarchy" in note


def test_a_kind_may_stand_in_several_places():
    columns = shared_children()
    columns["product_type"] = ["Other" if i % 7 == 0 else f"F{i % 4}{i % 3}" for i in range(600)]
    del columns["L3"]
    assert infer_hierarchy(columns, AttributeSchema()).levels == ["L1", "L2", "product_type"]
    columns["colour"] = columns.pop("product_type")
    result = infer_hierarchy(columns, AttributeSchema())
    assert result.levels == ["L1", "L2"]


def test_columns_above_some_levels_do_not_part_the_levels_whose_names_count():
    rows = range(960)
    columns = {
        "x": [f"X{i % 4 // 2}" for i in rows],
        "y": [f"Y{i % 4}" for i in rows],
        "L1": [f"T{i % 8}" for i in rows],
        "L2": [f"M{i % 16}" for i in rows],
        "L3": ["Other" if i % 3 else f"F{i % 16}" for i in rows],
    }
    result = infer_hierarchy(columns, AttributeSchema())
    assert [name for name in result.levels if name[0] == "L"] == ["L1", "L2", "L3"]


def test_the_same_names_under_a_few_parents_are_a_hierarchy():
    columns = {
        "L1": [("Women", "Men", "Kids")[i % 3] for i in range(600)],
        "L2": [f"Kind {'ABCDEFGHIJ'[i // 3 % 10]}" for i in range(600)],
        "L3": [f"Sort {'ABCDEFGHIJ'[i // 3 % 10]}{'xy'[i % 2]}" for i in range(600)],
    }
    assert infer_hierarchy(columns, AttributeSchema()) == Hierarchy(["L1", "L2", "L3"], [])
