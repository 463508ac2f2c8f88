"""A taxonomy read from a file becomes a label tree."""

import pytest

from xrt.data.label_paths import read_label_paths, write_label_paths
from xrt.data.labels import LabelTable
from xrt.errors import DataError
from xrt.tree.label_tree import LabelTree

TABLE = LabelTable.from_ids(["a", "b", "c", "d"])


def write(tmp_path, text):
    path = tmp_path / "paths.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_with_the_same_ancestors_share_a_cluster(tmp_path):
    path = write(tmp_path, "a\tHome > Kitchen\nc\tHome>Kitchen\nb\tHome\nother\tHome > X\n\n")
    paths = read_label_paths(path, TABLE)
    assert paths == [("Home", "Kitchen"), ("Home",), ("Home", "Kitchen"), ()]
    tree = LabelTree.from_paths(paths)
    assert tree.describe() == "2-3-4"
    assert tree.parents[-1][0] == tree.parents[-1][2] != tree.parents[-1][1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tHome\nb Home\n", "line 2: no tab"),
        ("a\tHome\na\tHome\n", "line 2: label 'a' stands twice"),
        ("a\tHome > > x\n", "line 1: an empty ancestor"),
        ("x\tHome\n", "none of its 1 ids is among the 4 labels; it has 'x'"),
    ],
)
def test_faults_name_the_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_label_paths(write(tmp_path, text), TABLE)


def test_what_is_written_is_read(tmp_path):
    path, ancestors = tmp_path / "paths.tsv", [("home", "tea & mugs"), (), ("a > b",)]
    table = LabelTable.from_ids(["x=1", "y=>2", "z"])
    write_label_paths(path, table, ancestors)
    assert read_label_paths(path, table) == [("home", "tea & mugs"), (), ("a / b",)]
