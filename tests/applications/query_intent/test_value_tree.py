"""Which value lies above which: paths in values, a taxonomy in a file, and both."""

import pytest

from xrt.applications.query_intent.catalogue import read_catalogue
from xrt.applications.query_intent.value_tree import value_tree
from xrt.errors import ConfigError, DataError


def above(tree):
    return {
        label: tree.labels[parent] if parent >= 0 else None
        for label, parent in zip(tree.labels, tree.parent_L, strict=True)
    }


def test_paths_in_values_bring_their_ancestors():
    tree = value_tree(["c=A > B > C", "c=A", "brand=x"])
    assert above(tree) == {"c=A > B > C": "c=A > B", "c=A": None, "brand=x": None, "c=A > B": "c=A"}
    assert tree.depth_L.tolist() == [2, 0, 0, 1]


def test_a_taxonomy_finds_ancestors_by_value_name_and_path_or_makes_them():
    ids = ["c=pans", "c=7", "brand=7", "c=Home > Pots"]
    names = ["", "Kitchen", "Kitchen", ""]
    tree = value_tree(ids, names, [("Home", "Kitchen"), (), (), ("Home",)])
    assert above(tree) == {
        "c=pans": "c=7",  # by name, within the attribute
        "c=7": "c=Home",  # what the path of "pans" says of it
        "brand=7": None,
        "c=Home > Pots": "c=Home",
        "c=Home": None,
    }
    assert tree.depth_L.tolist() == [2, 1, 0, 1, 0]


def test_labels_without_an_attribute_have_a_taxonomy_too():
    tree = value_tree(["pans", "pots"], paths=[("Home", "Kitchen"), ("Home", "Kitchen")])
    assert above(tree) == {
        "pans": "Home > Kitchen",
        "pots": "Home > Kitchen",
        "Home > Kitchen": "Home",
        "Home": None,
    }


def test_a_label_above_itself_is_told():
    with pytest.raises(DataError, match="must not lie above itself"):
        value_tree(["c=a", "c=b"], paths=[("b",), ("a",)])


def items(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("sku,title,labels\n8,red pan,c=pans;color=red\n9,blue pot,c=pots\n")
    return path


def test_a_catalogue_takes_a_taxonomy_and_a_column_of_ids(tmp_path):
    taxonomy = tmp_path / "paths.tsv"
    taxonomy.write_text("c=pans\tHome > Kitchen\nc=pots\tHome > Kitchen\n")
    catalogue = read_catalogue(items(tmp_path), id_column="sku", paths=taxonomy)
    assert list(catalogue.items) == ["8", "9"]
    has = [{catalogue.labels[i] for i in catalogue.Y_IL[[row]].indices} for row in range(2)]
    assert has == [
        {"c=pans", "color=red", "c=Home > Kitchen", "c=Home"},
        {"c=pots", "c=Home > Kitchen", "c=Home"},
    ]
    assert catalogue.names[catalogue.labels.index("c=Home > Kitchen")] == "Kitchen"
    assert catalogue.exclusive_A.tolist() == [True, True]


def test_a_column_of_ids_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match=r"call their column `id` .or pass id_column=\.\.\. to"):
        read_catalogue(items(tmp_path))
    with pytest.raises(DataError, match=r"no column 'ean' of ids; the columns are sku, title, lab"):
        read_catalogue(items(tmp_path), id_column="ean")
    with pytest.raises(ConfigError, match="id_column = ''"):
        read_catalogue(items(tmp_path), id_column="")
