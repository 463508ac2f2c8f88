"""The sets made of files: each with its published split, or one by hash of the text.

Numbers of rows and labels are checked, so that figures of one name are of one set.
"""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.corpora.corpus import SuiteCorpus, labels_matrix
from bench.rows import split_file
from xrt import read_corpus

TEST_SHARE = 0.3
"""Of rows split by hash here."""
STEP = " > "
"""Between the steps of a category path."""


def tibkat(data: Path) -> SuiteCorpus:
    """Library records, title and abstract, and their subjects; English and German."""
    return of_jsonl(data / "tibkat", (41_902, 6_980, 24_473), "published")


def yso(data: Path) -> SuiteCorpus:
    """Titles and their concepts."""
    return of_jsonl(data / "yso", (525_485, 131_099, 25_056), "by hash of the title")


def depends(data: Path) -> SuiteCorpus:
    """Package descriptions and what the packages depend on."""
    return of_jsonl(data / "depends", (41_226, 9_819, 14_654), "by source package")


def bibtex(data: Path) -> SuiteCorpus:
    """Bookmarked articles and their tags, a bag of words."""
    return of_bag_of_words(data / "bibtex", (4_880, 2_515, 159))


def delicious(data: Path) -> SuiteCorpus:
    """Bookmarked pages and their tags, a bag of words."""
    return of_bag_of_words(data / "delicious", (12_920, 3_185, 983))


def bigbasket_type(data: Path) -> SuiteCorpus:
    """Products of a grocery and their type, one of 392."""
    return of_catalogue(data / "bigbasket", "type", (4_874, 1_205, 392))


def bigbasket_all(data: Path) -> SuiteCorpus:
    """The same products with brand, category, sub-category and type as labels of one space."""
    columns = ["brand", "category", "sub_category", "type"]
    return of_catalogue(data / "bigbasket", columns, (4_874, 1_205, 1_820))


def bestbuy_queries(data: Path) -> SuiteCorpus:
    """Queries of a shop and the category paths of what its search returned."""
    records = read_records(data / "bestbuy" / "queries.jsonl", 2_118)
    return split_by_hash(
        [record["query"] for record in records], [list(record["labels"]) for record in records]
    )


def bestbuy_products(data: Path) -> SuiteCorpus:
    """Products of a shop and each step of their category path."""
    records = read_records(data / "bestbuy" / "products.jsonl", 3_291)
    return split_by_hash(
        [f"{record['name']}\n{record['description']}" for record in records],
        [steps_of(record["categories"]) for record in records],
        [record["name"] for record in records],
    )


def of_jsonl(folder: Path, sizes: tuple[int, int, int], split: str) -> SuiteCorpus:
    """A set of trn.jsonl and tst.jsonl."""
    train = read_corpus(split_file(folder, "trn"))
    test = read_corpus(split_file(folder, "tst"), labels=train.labels)
    assert train.texts is not None
    assert test.texts is not None
    corpus = SuiteCorpus.of_texts(train.texts, train.Y, test.texts, test.Y, split)
    return checked(corpus, folder, sizes)


def of_bag_of_words(folder: Path, sizes: tuple[int, int, int]) -> SuiteCorpus:
    """A set in the text form of the Extreme Classification Repository."""
    train, test = (read_corpus(existing(folder / f"{part}.txt")) for part in ("train", "test"))
    assert train.X is not None
    assert test.X is not None
    corpus = SuiteCorpus.of_rows(train.X, train.Y, test.X, test.Y, "published")
    return checked(corpus, folder, sizes)


def of_catalogue(
    folder: Path, label_column: str | list[str], sizes: tuple[int, int, int]
) -> SuiteCorpus:
    """Products of trn.csv and tst.csv with the values of one column, or of several."""
    columns: dict[str, Any] = {
        "text_columns": ["product", "description"], "label_column": label_column
    }  # fmt: skip
    if isinstance(label_column, str):
        columns["label_separator"] = "\x1f"  # a value is one label, whatever it holds
    train = read_corpus(existing(folder / "trn.csv"), **columns)
    test = read_corpus(existing(folder / "tst.csv"), labels=train.labels, **columns)
    assert train.texts is not None
    assert test.texts is not None
    corpus = SuiteCorpus.of_texts(
        train.texts, train.Y, test.texts, test.Y, "by hash of the product name"
    )
    return checked(corpus, folder, sizes)


def split_by_hash(
    texts: Sequence[str], labels: Sequence[Sequence[str]], keys: Sequence[str] | None = None
) -> SuiteCorpus:
    """Three rows in ten are test rows, by the CRC of their key; equal keys stay together."""
    ids = {label: number for number, label in enumerate(sorted({i for row in labels for i in row}))}
    limit = TEST_SHARE * 2**32
    in_test = [zlib.crc32(b"split " + key.encode()) < limit for key in keys or texts]
    trn = [row for row, test in enumerate(in_test) if not test]
    tst = [row for row, test in enumerate(in_test) if test]
    Y_trn, Y_tst = (
        labels_matrix([[ids[label] for label in labels[row]] for row in rows], len(ids))
        for rows in (trn, tst)
    )
    return SuiteCorpus.of_texts(
        [texts[row] for row in trn], Y_trn, [texts[row] for row in tst], Y_tst, "by hash"
    )


def steps_of(categories: Sequence[str]) -> list[str]:
    """The path down to each step: `A`, `A > B`, `A > B > C`."""
    return [STEP.join(categories[: depth + 1]) for depth in range(len(categories))]


def read_records(path: Path, num_rows: int) -> list[dict[str, Any]]:
    """All lines of a JSONL file, so many."""
    lines = existing(path).read_text(encoding="utf-8").splitlines()
    if len(lines) != num_rows:
        raise SystemExit(f"{path}: {len(lines)} rows, the set of this name has {num_rows}")
    return [json.loads(line) for line in lines]


def existing(path: Path) -> Path:
    """The path. Raises SystemExit where there is no file."""
    if not path.is_file():
        raise SystemExit(f"{path}: not found; give another --data or --sets")
    return path


def checked(corpus: SuiteCorpus, folder: Path, sizes: tuple[int, int, int]) -> SuiteCorpus:
    """The corpus, with so many training rows, test rows and labels of training rows."""
    actual = (corpus.Y_trn.shape[0], corpus.Y_tst.shape[0], corpus.Y_trn.shape[1])
    if actual != sizes:
        raise SystemExit(
            f"{folder}: {actual[0]} and {actual[1]} rows and {actual[2]} labels in training, "
            f"the set of this name has {sizes[0]}, {sizes[1]} and {sizes[2]}"
        )
    return corpus
