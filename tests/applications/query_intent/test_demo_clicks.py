import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from xrt.applications.query_intent.demo_clicks import (
    ClickParams,
    ClickSimulator,
    is_test_query,
    write_demo_clicks,
)
from xrt.applications.query_intent.words.words import normalise_query
from xrt.demo.catalogue import DemoParams
from xrt.errors import ConfigError

SMALL = ClickParams(
    num_items=1500, num_queries=1100, delisted=0.03, catalogue=DemoParams(num_brands=300)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("clicks")
    write_demo_clicks(target, SMALL, seed=4)
    return target


@pytest.fixture(scope="module")
def rows(folder):
    return pl.read_parquet(folder / "clicks" / "*.parquet")


@pytest.fixture(scope="module")
def queries(folder):
    lines = (folder / "queries_truth.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def fingerprint(folder):
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]


def test_the_same_seed_writes_the_same_bytes(folder, tmp_path):
    write_demo_clicks(tmp_path, SMALL, seed=4)
    assert fingerprint(tmp_path) == fingerprint(folder)
    assert len(fingerprint(folder)) == 4  # items, truth, two chunks of clicks


def test_clicks_are_those_of_training_queries_only(rows, queries):
    typed = {normalise_query(text) for text in rows["query"].unique()}
    assert typed == {q["text"] for q in queries if q["split"] == "trn"}
    share = np.mean([q["split"] == "tst" for q in queries])
    assert 0.15 < share < 0.25
    assert all((q["split"] == "tst") == is_test_query(q["text"], 0.2) for q in queries)


def test_queries_are_distinct_and_typed_in_several_ways(rows, queries):
    texts = [q["text"] for q in queries]
    assert len(set(texts)) == len(texts)
    assert rows["query"].n_unique() > 1.1 * sum(q["split"] == "trn" for q in queries)


def test_a_true_path_has_all_its_steps(queries):
    for query in queries:
        path = [label for label in query["labels"] if label.startswith("category=")]
        assert [label.count(" > ") for label in path] == list(range(len(path)))


def test_clicks_prefer_the_top_and_what_was_meant(folder, rows, queries):
    items = {
        record["id"]: set(record["true_labels"])
        for record in map(json.loads, (folder / "items.jsonl").read_text().splitlines())
    }
    truth = {q["text"]: set(q["labels"]) for q in queries}
    counts = {True: [0, 0], False: [0, 0]}
    for row in rows.iter_rows(named=True):
        if row["item"] in items and row["position"] <= 5:
            fits = truth[normalise_query(row["query"])] <= items[row["item"]]
            counts[fits][0] += row["count"]
            counts[fits][1] += row["impressions"]
    rate = {fits: clicks / shown for fits, (clicks, shown) in counts.items()}
    assert rate[True] > 2 * rate[False] > 0  # fickle clicks are there, too
    at = rows.group_by("position").agg(pl.col("count").sum() / pl.col("impressions").sum())
    by_position = dict(at.iter_rows())
    assert by_position[1] > 2 * by_position[8]


def test_some_items_of_the_log_are_not_in_the_catalogue(folder, rows):
    lines = (folder / "items.jsonl").read_text().splitlines()
    listed = {json.loads(line)["id"] for line in lines}
    missing = set(rows["item"].unique()) - listed
    assert 0.005 < len(missing) / rows["item"].n_unique() < 0.08


def test_the_number_of_queries_does_not_change_the_first_chunk():
    few = next(ClickSimulator(SMALL, 4).chunks())
    more = ClickParams(**{**vars(SMALL), "num_queries": 5000})
    assert next(ClickSimulator(more, 4).chunks()).queries == few.queries


def test_settings_out_of_range_are_told():
    with pytest.raises(ConfigError, match="num_queries = 0"):
        ClickParams(num_queries=0)
    with pytest.raises(ConfigError, match="min_searches = 0: a number above 0 is needed"):
        ClickParams(min_searches=0)
    with pytest.raises(ConfigError, match="popularity_exponent = -1"):
        ClickParams(popularity_exponent=-1)
    with pytest.raises(ConfigError, match="delisted"):
        ClickParams(delisted=1.0)
    with pytest.raises(ConfigError, match="seed = -1"):
        ClickSimulator(SMALL, -1)


def test_popularity_is_zipf_shaped(rows):
    by_query = rows.group_by(pl.col("query").str.to_lowercase()).agg(pl.col("impressions").max())
    searches = np.sort(by_query["impressions"].to_numpy())[::-1]
    assert searches[: len(searches) // 100].sum() > 0.1 * searches.sum()
