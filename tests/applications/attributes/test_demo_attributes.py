import csv
import hashlib
from itertools import pairwise

import pytest

from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.data.schema import EmptyMeans
from xrt.applications.attributes.demo import (
    COLUMNS,
    LEVELS,
    DemoTaxonomy,
    attribute_rows,
    write_attribute_demo,
)
from xrt.demo.catalogue import DemoParams, demo_catalogue
from xrt.demo.text import Wording
from xrt.demo.vocabulary import load_vocabulary
from xrt.errors import ConfigError

SMALL = DemoParams(num_brands=300)
ROWS = 5000


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def rows():
    return list(attribute_rows(ROWS, seed=3, params=SMALL))


def test_files_are_the_rows_in_order_and_the_same_for_the_same_seed(tmp_path, rows):
    write_attribute_demo(tmp_path, 200, 50, seed=3, params=SMALL)
    names = ["trn.csv", "tst.csv", "tst_truth.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    train, test, truth = (rows_of(tmp_path / name) for name in names)
    assert train == [list(COLUMNS), *(observed for observed, _ in rows[:200])]
    assert test == [list(COLUMNS), *(observed for observed, _ in rows[200:250])]
    assert truth == [list(COLUMNS), *(true for _, true in rows[200:250])]
    content = b"".join((tmp_path / name).read_bytes() for name in names)
    assert hashlib.sha256(content).hexdigest()[:16] == "e6d160e25fe5184e"


def test_titles_prices_and_brands_are_those_of_the_demo(rows):
    narrow = demo_catalogue(ROWS, seed=3, params=SMALL)
    for (observed, true), item, truth in zip(rows, narrow.rows, narrow.true_labels, strict=True):
        price = "" if item["price"] is None else f"{item['price']:.2f}"
        assert observed[:3] == true[:3] == [item["title"], item["content"], price]
        assert f"brand={true[4]}" == truth[0]
        assert truth[2].split(" > ")[1] == true[5]


def test_a_lost_value_is_empty_and_a_path_ends_in_na(rows):
    losses = 0
    for observed, true in rows:
        path = true[5:]
        end = path.index("na") if "na" in path else 5
        assert end >= 2
        assert set(path[end:]) <= {"na"}
        assert "" not in true[4:]
        different = [
            i for i, pair in enumerate(zip(observed, true, strict=True)) if len({*pair}) > 1
        ]
        assert all(observed[i] == "" for i in different)
        assert set(different) <= {4, 5 + end - 1}
        losses += 4 + end in different
    assert 0.06 < losses / ROWS < 0.1


def test_every_value_has_one_parent_and_its_words_stand_in_most_titles(rows):
    parent = {}
    for _, true in rows:
        for level, (coarse, fine) in enumerate(pairwise(true[5:])):
            if fine != "na":
                assert parent.setdefault((level, fine), coarse) == coarse
    is_named = [true[7].lower() in true[0].lower() for _, true in rows if true[7] != "na"]
    assert sum(is_named) / len(is_named) > 0.75
    features = [
        true[8].split()[0].lower() in true[0].lower() for _, true in rows if true[8] != "na"
    ]
    assert sum(features) / len(features) > 0.8


def test_the_taxonomy_is_as_large_as_the_case_study():
    taxonomy = DemoTaxonomy(load_vocabulary().types)
    values = [set() for _ in LEVELS]
    for levels in taxonomy.levels:
        result = (
            [levels.top[0]],
            [levels.top[1]],
            [*levels.by_noun, levels.by_use],
            [name for names in levels.by_feature for name in names],
            [name for names in levels.by_size for name in names],
        )
        for known, names in zip(values, result, strict=True):
            known.update(names)
    assert [len(known) for known in values] == [35, 210, 987, 2313, 2090]


def test_paths_follow_what_the_title_says():
    taxonomy = DemoTaxonomy(load_vocabulary().types)
    pan = ["Kitchen", "Frying Pans"]
    words = Wording(noun=0, use=-1, feature=3)
    named = [*pan, "Frying pan", "Enamelled frying pan"]
    assert taxonomy.path(0, words, is_sized=True, is_large=True) == [
        *named,
        named[-1] + ", large",
    ]
    assert taxonomy.path(0, words, is_sized=True, is_large=False)[-1] == named[-1] + ", small"
    assert taxonomy.path(0, words, is_sized=False, is_large=True) == named
    assert taxonomy.path(0, Wording(0, -1, -1), True, True) == named[:3]
    assert taxonomy.path(0, Wording(2, -1, 0), True, True) == [*pan, "Frypan"]
    by_use = taxonomy.path(0, Wording(-1, 0, 0), True, True)
    assert by_use == [*pan, "Frying Pans for everyday cooking"]
    assert taxonomy.path(0, Wording(-1, 1, 0), True, True) == pan


def test_its_schema_is_inferred(tmp_path):
    write_attribute_demo(tmp_path, 3000, 100, seed=1, params=SMALL)
    corpus, space, texts = read_attributes(tmp_path / "trn.csv")
    schema = texts.schema
    assert schema.text_columns == ["title", "description"]
    assert (schema.numeric_columns, schema.categorical_columns) == (["price"], ["store"])
    assert schema.targets == ["brand", *LEVELS]
    assert schema.hierarchy == list(LEVELS)
    assert schema.empty is EmptyMeans.MISSING
    assert corpus.report.notes == ()
    assert space.none_column("L4") >= 0
    assert space.none_column("brand") == -1
    truth, _, _ = read_attributes(
        tmp_path / "tst_truth.csv", labels=corpus.labels, item_texts=texts
    )
    assert truth.Y.nnz == 600


def test_negative_numbers_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="none may be negative"):
        write_attribute_demo(tmp_path, 10, -1)
    assert list(tmp_path.iterdir()) == []
