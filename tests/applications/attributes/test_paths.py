"""Ancestors of attribute labels, learnt from the rows they stand in."""

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.label_trees import build_taxonomy_paths
from xrt.data.labels import LabelTable
from xrt.errors import DataError
from xrt.hybrid import HybridMatrix
from xrt.tree.clustering import TreeParams, build_inside

ROWS = [
    "brand=Leaf L0=Food L1=Tea L2=Green",
    "brand=Leaf L0=Food L1=Tea L2=Black",
    "brand=Leaf L0=Home L1=Kitchen L2=<none>",
    "brand=Oak L0=Home L1=Kitchen L2=Mugs",
    "brand=Oak L0=Home L1=Tea L2=Mugs",
    "brand=<none> L0=Home L2=Rugs",
    "brand=Alone",
    "L2=Lost",
    "L1=Orphan",
]


def space_of(rows, attributes=("brand", "L0", "L1", "L2"), hierarchy=("L0", "L1", "L2")):
    ids = list(dict.fromkeys(label for row in rows for label in row.split()))
    names = ["" if label.endswith("<none>") else label.split("=")[1] for label in ids]
    space = AttributeSpace(attributes, hierarchy, LabelTable.from_ids(ids, names))
    Y_NL = [[float(label in row.split()) for label in ids] for row in rows]
    return space, sp.csr_array(np.array(Y_NL, np.float32))


def test_each_label_stands_under_what_it_occurs_with_most():
    space, Y_NL = space_of(ROWS)
    assert dict(zip(space.labels.ids, build_taxonomy_paths(space, Y_NL), strict=True)) == {
        "brand=Leaf": ("L0=Food",),
        "brand=Oak": ("L0=Home",),
        "brand=<none>": ("brand",),
        "brand=Alone": ("brand",),
        "L0=Food": ("L0=Food",),
        "L0=Home": ("L0=Home",),
        "L1=Tea": ("L0=Food", "L1=Tea"),  # twice with Food, once with Home
        "L1=Kitchen": ("L0=Home", "L1=Kitchen"),
        "L1=Orphan": ("L1=Orphan",),
        "L2=Green": ("L0=Food", "L1=Tea"),
        "L2=Black": ("L0=Food", "L1=Tea"),
        "L2=Mugs": ("L0=Food", "L1=Tea"),  # as often with Kitchen, which comes later
        "L2=Rugs": ("L0=Home",),  # the level above is missing in its only row
        "L2=Lost": ("L2",),
        "L2=<none>": ("L2",),
    }


def test_the_tree_keeps_a_category_together():
    space, Y_NL = space_of(ROWS)
    paths, Z = build_taxonomy_paths(space, Y_NL), HybridMatrix.of(Y_NL.T)
    tree = build_inside(Z, paths, TreeParams(max_leaf_size=1, branching=2), 0)
    top = dict(zip(space.labels.ids, tree.labels_below(0).tolist(), strict=True))
    home = ["L0=Home", "L1=Kitchen", "L2=Rugs", "brand=Oak"]
    assert {label for label, node in top.items() if node == top["L0=Home"]} == set(home)


def test_without_a_hierarchy_values_stand_under_their_attribute():
    space, Y_NL = space_of(ROWS, hierarchy=())
    attributes = [(label.split("=")[0],) for label in space.labels.ids]
    assert build_taxonomy_paths(space, Y_NL) == attributes
    with pytest.raises(DataError, match="Y has 3 labels, the label space 15"):
        build_taxonomy_paths(space, Y_NL[:, :3])
