import json
import logging
import unicodedata

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.applications.attributes.data.catalogue import CatalogueTable
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.space import NONE_VALUE, AttributeSpace, make_value_table
from xrt.applications.attributes.filling.cell_codes import CellCodes
from xrt.data.formats import read_corpus
from xrt.errors import DataError

ROWS = [
    ("red pan", "Norvelle", "Home", "Pans", "Woks"),
    ("blue pan", "", "Home", "Pans", ""),
    ("green mug", " Oak  &\tVint ", "Home", "", "Cups"),
    ("chess", "NA", "Toys", "n/a", ""),
    ("thing", "", "", "", ""),
]
NAMES = ("title", "brand", "L0", "L1", "L2")


def table(rows=ROWS, names=NAMES):
    cells = zip(*rows, strict=True)
    columns = {name: list(column) for name, column in zip(names, cells, strict=True)}
    return CatalogueTable(columns, path="shop.csv")


def schema(**more):
    settings = {"text_columns": ["title"], "numeric_columns": [], "categorical_columns": []}
    settings |= {"targets": ["brand", "L0", "L1", "L2"], "hierarchy": ["L0", "L1", "L2"]}
    return AttributeSchema(**settings | more)


def ids_of(corpus, row):
    return [corpus.labels.ids[column] for column in corpus.Y[[row]].indices]


def test_labels_are_attribute_and_value_sorted_and_named_by_the_value():
    corpus, space, texts = read_attributes(table(), schema(empty="missing"))
    assert corpus.labels.ids == tuple(sorted(corpus.labels.ids))
    assert ids_of(corpus, 0) == ["L0=Home", "L1=Pans", "L2=Woks", "brand=Norvelle"]
    assert ids_of(corpus, 2) == ["L0=Home", "L2=Cups", "brand=Oak & Vint"]
    assert ids_of(corpus, 3) == ["L0=Toys", "L1=<none>", "brand=<none>"]
    assert ids_of(corpus, 4) == []
    names = dict(zip(corpus.labels.ids, corpus.labels.names, strict=True))
    assert names["brand=Oak & Vint"] == "Oak & Vint"
    assert names["L1=<none>"] == ""
    assert corpus.texts == [row[0] for row in ROWS]
    assert corpus.report.num_without_labels == 1
    assert space.labels is corpus.labels
    assert (space.attributes, space.hierarchy) == (NAMES[1:], NAMES[2:])
    assert texts.schema.targets == list(NAMES[1:])
    corpus.validate()


@pytest.mark.parametrize(
    ("empty", "of_each_row"),
    [
        ("missing", ["", "", "", ""]),
        ("none", ["", "L2 brand", "L1", "L0 L1 L2 brand"]),
        ("auto", ["", "L2", "", ""]),
    ],
)
def test_what_an_empty_cell_says(empty, of_each_row):
    corpus, _, _ = read_attributes(table(ROWS[:3] + ROWS[4:]), schema(empty=empty))
    for row, attributes in enumerate(of_each_row):
        none = [id for id in ids_of(corpus, row) if id.endswith(NONE_VALUE)]
        assert none == [f"{name}={NONE_VALUE}" for name in attributes.split()]


def test_a_gap_in_a_path_is_missing_and_not_none():
    corpus, _, _ = read_attributes(table(ROWS[:3]), schema(empty="auto"))
    assert ids_of(corpus, 2) == ["L0=Home", "L2=Cups", "brand=Oak & Vint"]


def test_given_values_are_columns_and_the_space_tells_them():
    corpus, space, _ = read_attributes(table(), schema(empty="missing"))
    true_NA = space.cells_of(corpus.Y)
    assert true_NA.dtype == np.int32
    values = [[space.value(c) if c >= 0 else "missing" for c in row] for row in true_NA]
    assert values == [
        ["Norvelle", "Home", "Pans", "Woks"],
        ["missing", "Home", "Pans", "missing"],
        ["Oak & Vint", "Home", "missing", "Cups"],
        [None, "Toys", None, "missing"],
        ["missing"] * 4,
    ]
    assert space.none_column("brand") == corpus.labels.index["brand=<none>"]
    assert space.none_column("L0") == -1
    by_attribute = [space.columns_of(name) for name in space.attributes]
    assert sorted(np.concatenate(by_attribute)) == list(range(len(corpus.labels)))
    assert space.attribute_of_L.dtype == np.int32
    with pytest.raises(DataError, match="'colour' is unknown; there are brand, L0"):
        space.columns_of("colour")


def test_of_several_values_the_first_counts_and_strange_labels_do_not():
    labels = make_value_table(["x", "b=1", "b=2", "b=<none>", "bb=1"])
    space = AttributeSpace(("b",), (), labels)
    assert space.attribute_of_L.tolist() == [-1, 0, 0, 0, -1]
    Y = sp.csr_array(np.array([[1, 0, 1, 1, 0], [1, 0, 0, 0, 1]], np.float32))
    assert space.cells_of(Y).tolist() == [[2], [-1]]
    unsorted = sp.csr_array((np.ones(2), np.array([3, 1]), np.array([0, 2])), shape=(1, 5))
    assert space.cells_of(unsorted).tolist() == [[1]]
    with pytest.raises(DataError, match="Y has 2 columns but the attribute space 5"):
        space.cells_of(Y[:, :2])
    with pytest.raises(DataError, match="L9 not among the attributes b"):
        AttributeSpace(("b",), ("L9",), labels)


def test_values_never_seen_in_training_follow_and_are_counted():
    trained, _, texts = read_attributes(table(), schema())
    rows = [("pan", "New Brand", "Home", "Pans", "Woks"), ("mug", "New Brand", "Space", "", "")]
    test, space, same = read_attributes(table(rows), labels=trained.labels, item_texts=texts)
    num_known = len(trained.labels)
    assert test.labels.ids[:num_known] == trained.labels.ids
    assert set(test.labels.ids[num_known:]) == {"brand=New Brand", "L0=Space"}
    assert test.labels.names[test.labels.index["brand=New Brand"]] == "New Brand"
    assert (test.report.num_unseen_labels, test.report.num_unseen_pairs) == (2, 3)
    true_NA = space.cells_of(test.Y)
    assert ((true_NA >= num_known).sum(axis=0) == [2, 1, 0, 0]).all()
    assert same is texts


def test_target_columns_may_be_absent_at_evaluation_but_not_at_training():
    trained, _, texts = read_attributes(table(), schema())
    bare = table([("pan", "Norvelle"), ("mug", "")], ("title", "brand"))
    test, space, _ = read_attributes(bare, labels=trained.labels, item_texts=texts)
    assert (space.cells_of(test.Y)[:, 1:] == -1).all()
    assert test.num_labels == trained.num_labels
    none_there = table([("pan", "x")], ("title", "z"))
    test, _, _ = read_attributes(none_there, labels=trained.labels, item_texts=texts)
    assert test.Y.shape == (1, trained.num_labels)
    assert test.Y.nnz == 0
    with pytest.raises(DataError, match="no target column L0, L1, L2; the columns are title, b"):
        read_attributes(bare, schema())
    with pytest.raises(DataError, match="no text column title; the columns are brand"):
        read_attributes(table([("A",)], ("brand",)), labels=trained.labels, item_texts=texts)


def test_an_attribute_that_no_row_gives_is_told_and_left_out(caplog):
    rows = [(*row[:3], "", row[4]) for row in ROWS]
    with caplog.at_level(logging.WARNING, "xrt"):
        corpus, space, texts = read_attributes(table(rows), schema(empty="missing"))
    note = "attribute 'L1': none of the 5 rows gives it; left out of the model"
    assert note in corpus.report.notes
    assert note in caplog.text
    assert space.attributes == ("brand", "L0", "L2")
    assert (texts.schema.hierarchy, space.hierarchy) == (["L0", "L2"], ("L0", "L2"))
    again, same_space, _ = read_attributes(table(), labels=corpus.labels, item_texts=texts)
    assert same_space.attributes == space.attributes
    assert not any(id.startswith("L1=") for id in again.labels.ids)
    with pytest.raises(DataError, match="none of the 5 rows has a value for brand, L0, L1, L2"):
        read_attributes(table([(row[0], "", "", "", "") for row in ROWS]), schema())


def test_a_category_with_two_parents_is_told_and_both_are_kept():
    rows = [("a", "A", top, "Sets", "") for top in ("Home", "Toys", "Garden")]
    rows += [("b", "B", "Home", "Pans", "Woks"), ("c", "B", "Toys", "Chess", "Woks")]
    corpus, _, _ = read_attributes(table(rows), schema(empty="missing"))
    assert corpus.report.notes == (
        "1 value of L1 stands under two values of L0 or more (all kept): "
        "'Sets' under 'Home' and 'Toys'",
        "1 value of L2 stands under two values of L1 or more (all kept): "
        "'Woks' under 'Pans' and 'Chess'",
    )
    assert [ids_of(corpus, i)[:2] for i in (0, 2)] == [
        ["L0=Home", "L1=Sets"], ["L0=Garden", "L1=Sets"]
    ]  # fmt: skip


def test_a_file_is_read_from_end_to_end(tmp_path):
    path = tmp_path / "shop.csv"
    lines = [f'a good thing {i},"{i},50 EUR",Brand {i % 4},Top {i % 2}' for i in range(60)]
    path.write_bytes("\n".join(["title,price,brand,category", *lines, "x"]).encode("cp1252"))
    with pytest.raises(DataError, match="line 62: 1 columns where the header has 4"):
        read_attributes(path)
    corpus, space, texts = read_attributes(path, skip_bad_lines=True, bad_lines_folder=tmp_path)
    assert corpus.num_instances == 60
    assert corpus.report.num_skipped == 1
    assert "\nprice_bin9" in corpus.texts[59]
    assert space.attributes == ("brand", "category")
    assert corpus.Y.nnz == 120
    assert texts.schema.is_resolved


def test_duplicate_rows_are_counted():
    corpus, _, _ = read_attributes(table([*ROWS, ROWS[0], ("red pan", "", "", "", "")]), schema())
    assert corpus.report.num_duplicate_rows == 1


def brands_of(cells, **more):
    columns = {"title": [f"thing {i}" for i in range(len(cells))], "brand": cells}
    roles = schema(targets=["brand"], hierarchy=[], **more)
    return read_attributes(CatalogueTable(columns, path="shop.csv"), roles)


def test_words_for_nothing_are_no_values():
    words = ["nan", "NaN", "<NA>", "-", "None", "NULL", "n/a", "NA", "#N/A", "NaT", "—", r"\N"]
    corpus, _, _ = brands_of(["Acme", *words, " nan ", "\u200bnull", "Nan & Co"])
    assert corpus.labels.ids == ("brand=<none>", "brand=Acme", "brand=Nan & Co")


def test_values_that_look_alike_are_one():
    alike = ["Nestlé", unicodedata.normalize("NFD", "Nestlé"), " Nestlé\u200b", "Nest\u00adlé",
             "\ufeffNestlé", '["Nestlé"]', "['Nestlé ']"]  # fmt: skip
    corpus, space, texts = brands_of(alike)
    assert corpus.labels.ids == ("brand=Nestlé",)
    codes = CellCodes(texts.schema, space).codes_NA(CatalogueTable({"brand": alike}))
    assert (codes == 0).all()


@pytest.mark.parametrize("cell", ['["Acme", "Bolt"]', "['Acme', 'Bolt']", '["Acme","Bolt","Acme"]'])
def test_a_list_of_several_values_is_no_value(cell):
    wrong = (
        r"shop\.csv: row 2: column 'brand' holds a list of 2 values \('Acme', 'Bolt'\), where a "
    )
    with pytest.raises(DataError, match=wrong):
        brands_of(["Acme", cell])
    with pytest.raises(DataError, match=r"row 1 \(and 2 rows more\)"):
        brands_of([cell, cell, "Acme", cell])
    _, space, texts = brands_of(["Acme", "Bolt"])
    table = CatalogueTable({"brand": ["Acme", cell]}, path="new.csv")
    with pytest.raises(DataError, match=r"new\.csv: row 12: column 'brand'"):
        CellCodes(texts.schema, space).codes_NA(table, num_before=10)
    more = CatalogueTable({"title": ["a", "b"], "brand": ["Acme", cell]})
    with pytest.raises(DataError, match=r"row 2: column 'brand' holds a list"):
        read_attributes(more, labels=space.labels, item_texts=texts)


def test_lists_of_one_and_objects_from_json(tmp_path):
    path = tmp_path / "shop.jsonl"
    rows = [{"title": "a", "brand": ["Acme"]}, {"title": "b", "brand": []}]
    path.write_text("\n".join(map(json.dumps, rows)))
    roles = schema(targets=["brand"], hierarchy=[])
    assert read_attributes(path, roles)[0].labels.ids == ("brand=Acme",)
    path.write_text("\n".join(map(json.dumps, [*rows, {"title": "c", "brand": {"name": "x"}}])))
    with pytest.raises(
        DataError, match="column 'brand': line 3 has a dict, where a target has one"
    ):
        read_attributes(path, roles)


def test_a_column_of_lists_is_no_target_by_itself():
    columns = {
        "title": [f"a nice thing {i}" for i in range(40)],
        "brand": ["A", "B"] * 20,
        "categories": ['["Grocery", "Tea"]', '["Grocery", "Pans"]'] * 20,
    }
    corpus, space, _ = read_attributes(CatalogueTable(columns, path="shop.csv"))
    assert space.attributes == ("brand",)
    note = (
        "column 'categories' is no target: 40 cells hold a list of several values, where a target"
    )
    assert any(result.startswith(note) for result in corpus.report.notes)


def test_words_for_nothing_are_no_labels_of_several_columns(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("id,title,brand,kind\n1,a,nan,Pan\n2,b,Acme,-\n3,c,N/A,<NA>\n")
    corpus = read_corpus(path, label_column=["brand", "kind"])
    assert corpus.labels.ids == ("brand=Acme", "kind=Pan")


def test_what_empty_cells_are_taken_for_is_told():
    corpus, _, _ = read_attributes(table(ROWS[:3]), schema())
    message = (
        "empty cells where a path ends are learnt as 'none' (L2 in 1 rows); where the value is"
    )
    assert any(note.startswith(message) for note in corpus.report.notes)
    for empty in ("missing", "none"):
        corpus, _, _ = read_attributes(table(ROWS[:3]), schema(empty=empty))
        assert not any("empty cells" in note for note in corpus.report.notes)


def test_an_attribute_of_words_for_nothing_is_left_out():
    rows = [(*row[:1], "n/a", *row[2:]) for row in ROWS]
    corpus, space, _ = read_attributes(table(rows), schema())
    assert space.attributes == ("L0", "L1", "L2")
    assert any("attribute 'brand': none of the 5 rows gives it" in n for n in corpus.report.notes)
