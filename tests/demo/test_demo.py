import hashlib
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from xrt.data import read_corpus
from xrt.demo.brands import short_forms
from xrt.demo.catalogue import DemoParams, DemoWorld, demo_catalogue, demo_chunks, write_demo
from xrt.demo.text import with_typo
from xrt.demo.vocabulary import load_vocabulary, parse_types
from xrt.errors import ConfigError

ROWS = 4000


@pytest.fixture(scope="module")
def catalogue():
    return demo_catalogue(ROWS, seed=3)


def named(labels, attribute):
    return [label.partition("=")[2] for label in labels if label.startswith(f"{attribute}=")]


def test_the_same_seed_gives_the_same_bytes_wherever_it_runs():
    content = json.dumps(demo_catalogue(300, seed=5).rows).encode()
    assert hashlib.sha256(content).hexdigest()[:16] == "dba1116a1af88912"
    assert demo_catalogue(50, seed=6).rows != demo_catalogue(50, seed=5).rows


def test_rows_do_not_depend_on_how_many_are_made(catalogue):
    assert demo_catalogue(100, seed=3).rows == catalogue.rows[:100]
    second = DemoWorld(DemoParams(), seed=3).chunk(1)
    last = list(demo_chunks(16_384 + 5, seed=3))[-1]
    assert last.rows == second.rows[:5]


def test_true_labels_are_one_brand_and_a_path_with_all_its_steps(catalogue):
    for labels in catalogue.true_labels:
        assert len(named(labels, "brand")) == 1
        path = named(labels, "category")
        assert 3 <= len(path) <= 5
        assert [step.count(" > ") for step in path] == list(range(len(path)))
        assert all(longer.startswith(f"{step} > ") for step, longer in pairwise(path))


def test_labels_are_missing_but_never_wrong_unless_asked(catalogue):
    pairs = list(zip(catalogue.rows, catalogue.true_labels, strict=True))
    assert all(set(row["labels"]) <= set(truth) for row, truth in pairs)
    lost = sum(len(truth) - len(row["labels"]) for row, truth in pairs)
    assert 0.2 < lost / ROWS < 0.6
    wrong = demo_catalogue(ROWS, seed=3, params=DemoParams(wrong_brand=0.1))
    num_wrong = sum(
        named(row["labels"], "brand") not in ([], named(truth, "brand"))
        for row, truth in zip(wrong.rows, wrong.true_labels, strict=True)
    )
    assert 0.07 < num_wrong / ROWS < 0.11
    assert wrong.true_labels == catalogue.true_labels


def test_the_brand_is_in_most_texts_but_not_in_all(catalogue):
    literal = [
        named(truth, "brand")[0].lower() in row["title"].lower()
        for row, truth in zip(catalogue.rows, catalogue.true_labels, strict=True)
    ]
    assert 0.5 < np.mean(literal) < 0.7


def test_frequencies_fall_off_slowly_and_the_default_size_has_about_3000_labels():
    counts = Counter(label for row in demo_catalogue(12_000).rows for label in row["labels"])
    assert 2700 < len(counts) < 3300
    brands = sorted((n for label, n in counts.items() if label.startswith("brand=")), reverse=True)
    assert brands[0] > 100
    assert np.median(brands) <= 3


def test_categories_tell_something_about_brands(catalogue):
    sold_in = {}
    for truth in catalogue.true_labels:
        sold_in.setdefault(named(truth, "brand")[0], set()).add(named(truth, "category")[1])
    assert max(len(departments) for departments in sold_in.values()) <= 2


def test_brand_names_share_words():
    words = Counter(brand.name.split()[0] for brand in DemoWorld(DemoParams(), seed=0).brands)
    assert sum(n for n in words.values() if n > 1) > 500
    names = [brand.name for brand in DemoWorld(DemoParams(num_brands=500), seed=0).brands]
    assert len(set(names)) == 500


def test_files_are_whole_and_read_back(tmp_path):
    write_demo(tmp_path, num_train=200, num_test=50, seed=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.tsv", "trn.jsonl", "tst.jsonl"]
    train = read_corpus(tmp_path / "trn.jsonl")
    test = read_corpus(tmp_path / "tst.jsonl", labels=train.labels, label_column="true_labels")
    assert (train.num_instances, test.num_instances) == (200, 50)
    assert test.labels.num_named == len(test.labels)
    rows = demo_catalogue(250, seed=1)
    assert test.texts[0].startswith(rows.rows[200]["title"])
    assert test.Y[[0]].nnz == len(rows.true_labels[200])
    first = (tmp_path / "trn.jsonl").read_bytes()
    write_demo(tmp_path, num_train=200, num_test=50, seed=1)
    assert (tmp_path / "trn.jsonl").read_bytes() == first


def test_vocabulary_is_sound():
    vocabulary = load_vocabulary()
    paths = [product.path for product in vocabulary.types]
    assert len(set(paths)) == len(paths) > 200
    assert not {p[:i] for p in paths for i in range(1, len(p))} & set(paths)
    for product in vocabulary.types:
        assert all((*product.nouns, *product.features, *product.uses)), product
        assert product.size_scheme == "one" or product.size_scheme in vocabulary.words["sizes"]
        assert 0 < product.price_range[0] < product.price_range[1]
    tops = {product.path[0] for product in vocabulary.types}
    assert tops == set(vocabulary.words["brand-tail"])


def test_a_product_type_line():
    (pan,) = parse_types(
        "# note\n= Home > Kitchen\n~ dinner\n@ cm * | 1-2 | big\nPans > Wok: wok, pan"
    )
    assert pan.path == ("Home", "Kitchen", "Pans", "Wok")
    assert (pan.nouns, pan.uses, pan.features) == (("wok", "pan"), ("dinner",), ("big",))
    assert (pan.size_scheme, pan.is_coloured, pan.price_range) == ("cm", True, (1, 2))
    assert pan.department == "Home > Kitchen"


def test_short_forms_and_typos():
    assert short_forms("Norvelle")[3:] == ("NRV", "Norv.")
    assert short_forms("Oak & Vint")[3:] == ("O&V", "Oak Vin.")
    kinds = [with_typo("pan", 0.0, kind) for kind in (0.1, 0.5, 0.7, 0.9)]
    assert kinds == ["apn", "an", "ppan", "oan"]
    assert with_typo("a 1", 0.9, 0.1) == "a 1"


@pytest.mark.parametrize(
    "settings", [{"num_brands": 3}, {"missing_brand": 1.5}, {"brand_exponent": -1.0}]
)
def test_bad_settings(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        DemoParams(**settings)


def test_negative_counts_are_refused():
    with pytest.raises(ConfigError, match="neither may be negative"):
        demo_catalogue(-1)
