"""A click log over the demo catalogue, with the truth known.

The shop's search is erroneous: beside items that are what was meant it shows items that share a
part of it and items that share nothing, in an order that changes from day to day. Shoppers look at
position p with probability p^-examination, and click on what they look at: mostly on what matches
wholly, at times on anything (fickle clicks), more often on items that draw the eye.

Queries are made in chunks of 1,024, chunk c from the seed (seed, stream, c): the same seed gives
the same bytes, and memory does not grow with the number of clicks.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from xrt.applications.query_intent.demo_queries import (
    NUM_DRAWS,
    DemoQuery,
    ProductReader,
    QueryWriter,
    as_typed,
)
from xrt.demo.catalogue import DemoParams, DemoWorld, demo_catalogue
from xrt.errors import ConfigError
from xrt.storage.atomic import atomic_file, atomic_folder

CHUNK_QUERIES = 1_024
_QUERY_STREAM, _ITEM_STREAM = 2, 3
_NUM_RANKINGS = 3
ITEMS_NAME, CLICKS_NAME, TRUTH_NAME = "items.jsonl", "clicks", "queries_truth.jsonl"


@dataclass(frozen=True, kw_only=True)
class ClickParams:
    """How the log is drawn.

    num_queries: queries drawn; of equal ones the first is kept. min_searches: of the rarest query;
    the number of searches falls off like Zipf's law with this `popularity_exponent`, up to
    max_searches. shown_matching, shown_partly, shown_wrong: items of each kind on a page, at most.
    ranking_noise: standard deviation of an item's rank score; wholly matching scores 1.
    attract_matching, attract_partly, attract_wrong: chance of a click on an item that is looked at.
    delisted: share of the items that the written catalogue does not have any more.
    test_share: share of the queries, by hash, of which no click is written.
    catalogue: its missing and wrong values.
    """

    num_items: int = 20_000
    num_queries: int = 12_000
    min_searches: float = 6.0
    popularity_exponent: float = 1.1
    max_searches: float = 5_000.0
    shown_matching: int = 8
    shown_partly: int = 8
    shown_wrong: int = 6
    ranking_noise: float = 0.45
    examination: float = 0.8
    attract_matching: float = 0.35
    attract_partly: float = 0.09
    attract_wrong: float = 0.03
    delisted: float = 0.01
    test_share: float = 0.2
    catalogue: DemoParams = field(
        default_factory=lambda: DemoParams(wrong_brand=0.04, missing_depth=0.12)
    )

    def __post_init__(self) -> None:
        for name in ("num_items", "num_queries", "shown_matching"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: at least 1 is needed")
        for name in ("delisted", "test_share", "attract_matching", "attract_partly"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: 0 to below 1 is needed")
        for name in ("min_searches", "popularity_exponent"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} = {getattr(self, name)}: a number above 0 is needed")


@dataclass(frozen=True)
class ClickChunk:
    """Queries of a chunk, and rows of the log: (row,) arrays, `query` as it was typed."""

    queries: list[DemoQuery]
    columns: dict[str, Any]


def is_test_query(text: str, test_share: float) -> bool:
    """Whether a query belongs to the test split: a function of its text alone.

    Args:
        text: The query.
        test_share: Share of all queries that belong to the test split, 0 to 1.

    Returns:
        True for a test query.
    """
    return zlib.crc32(b"split " + text.encode()) < test_share * 2**32


class ClickSimulator:
    """The catalogue, its search, and its shoppers."""

    def __init__(self, params: ClickParams, seed: int) -> None:
        if seed < 0:
            raise ConfigError(f"seed = {seed}: must not be negative")
        self.params, self.seed = params, seed
        self.world = DemoWorld(params.catalogue, seed)
        self.catalogue = demo_catalogue(params.num_items, seed, params.catalogue)
        self.reader, self.writer = ProductReader(self.world), QueryWriter(self.world)
        rng = np.random.default_rng([seed, _ITEM_STREAM])
        self.draw_N = np.exp(0.7 * rng.standard_normal(params.num_items))
        self.listed_N = rng.random(params.num_items) >= params.delisted
        items_by_label: dict[str, list[int]] = {}
        for item, labels in enumerate(self.catalogue.true_labels):
            for label in labels:
                items_by_label.setdefault(label, []).append(item)
        self.items_of = {label: np.array(items) for label, items in items_by_label.items()}

    def item_id(self, item: int) -> str:
        """The item's id in the catalogue and in the log.

        Args:
            item: Number of the item.

        Returns:
            Its id, such as `i0000012`.
        """
        return f"i{item:07d}"

    def chunks(self) -> Iterator[ClickChunk]:
        """All queries once, with the log of those that are not test queries.

        Yields:
            At most CHUNK_QUERIES drawn queries, and their rows.
        """
        texts: set[str] = set()
        for number, start in enumerate(range(0, self.params.num_queries, CHUNK_QUERIES)):
            rng = np.random.default_rng([self.seed, _QUERY_STREAM, number])
            size = min(CHUNK_QUERIES, self.params.num_queries - start)
            yield self._chunk(rng, size, texts)

    def _chunk(self, rng: np.random.Generator, size: int, texts: set[str]) -> ClickChunk:
        queries: list[DemoQuery] = []
        pages: list[tuple[np.ndarray, ...]] = []
        typed: list[str] = []
        for product, u in zip(
            (rng.random(CHUNK_QUERIES) * self.params.num_items).astype(int)[:size].tolist(),
            rng.random((CHUNK_QUERIES, NUM_DRAWS))[:size].tolist(),
            strict=True,
        ):
            query = self.writer.write(self.reader.read(self.catalogue.true_labels[product]), u)
            page = self._searches(query, u, rng)
            if query.text in texts:
                continue
            texts.add(query.text)
            queries.append(query)
            if not is_test_query(query.text, self.params.test_share):
                pages.append(page)
                form = as_typed(query.text, u[-1]), as_typed(query.text, u[-2])
                typed += [form[i % 2] for i in page[-1].tolist()]
        item, position, impressions, count, _ = (
            np.concatenate(parts) for parts in zip(*pages, strict=True)
        )
        columns = {
            "query": typed,
            "item": [self.item_id(i) for i in item.tolist()],
            "count": count,
            "impressions": impressions,
            "position": position,
        }
        return ClickChunk(queries, columns)

    def _searches(
        self, query: DemoQuery, u: list[float], rng: np.random.Generator
    ) -> tuple[np.ndarray, ...]:
        """Rows (item, position, impressions, clicks, ranking) of all searches for one query."""
        p = self.params
        items, matched = self._retrieve(query, rng)
        searches = min(p.max_searches, p.min_searches * (1 - u[13]) ** (-1 / p.popularity_exponent))
        split = rng.multinomial(round(searches), np.full(_NUM_RANKINGS, 1 / _NUM_RANKINGS))
        wholly = matched == 1
        attract = np.where(
            wholly,
            p.attract_matching,
            np.where(matched > 0, p.attract_partly, p.attract_wrong),
        )
        attract = np.minimum(attract * self.draw_N[items], 0.9)
        rows = []
        for ranking, num_searches in enumerate(split.tolist()):
            score = matched + p.ranking_noise * rng.standard_normal(len(items))
            order = np.argsort(-score, kind="stable")
            position = np.arange(1, len(items) + 1)
            chance = attract[order] * position**-p.examination
            clicks = rng.binomial(num_searches, chance)
            if num_searches:
                num_shown = np.full(len(items), num_searches)
                rows.append(
                    (items[order], position, num_shown, clicks, np.full(len(items), ranking))
                )
        return tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))

    def _retrieve(
        self, query: DemoQuery, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Items on the page, and the share of what was meant that each has."""
        p = self.params
        sets = [self.items_of[label] for label in query.goal_labels]
        whole = reduce(lambda a, b: np.intersect1d(a, b, assume_unique=True), sets)
        each = -(-p.shown_partly // len(sets))
        picked = [self._pick(whole, p.shown_matching, rng)]
        picked += [self._pick(items, each, rng) for items in sets]
        picked.append(self._pick(np.arange(p.num_items), p.shown_wrong, rng))
        items = np.unique(np.concatenate(picked))
        matched = np.mean([np.isin(items, of_label) for of_label in sets], axis=0)
        return items, matched

    def _pick(self, items: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        """At most k of the items, those that draw the eye more often than others."""
        tried = items[(rng.random(4 * k) * len(items)).astype(int)]
        race = rng.exponential(size=4 * k) / self.draw_N[tried]
        first = np.unique(tried[np.argsort(race, kind="stable")[: 2 * k]])
        return first if len(first) <= k else first[np.sort(rng.permutation(len(first))[:k])]


def write_demo_clicks(
    folder: str | Path, params: ClickParams | None = None, seed: int = 0
) -> dict[str, int]:
    """Write `items.jsonl`, `clicks/00000.parquet` ... and `queries_truth.jsonl`.

    Items have `id`, `title`, `content`, `labels` (with the catalogue's missing and wrong values)
    and `true_labels`; clicks `query`, `item`, `count`, `impressions`, `position`, a row for each
    ranking and item that was shown, clicked or not; queries `text`, `labels` (true) and `split`
    (trn, tst).

    Args:
        folder: Folder that the files are written into.
        params: How the log is drawn; None for the defaults.
        seed: Seed of all draws.

    Returns:
        Numbers of `items`, `queries` and `click_rows` that were written.
    """
    import polars as pl

    folder = Path(folder)
    simulator = ClickSimulator(params or ClickParams(), seed)
    counts = {"items": 0, "queries": 0, "click_rows": 0}
    with atomic_file(folder / ITEMS_NAME) as path, open(path, "wb") as file:
        rows = zip(simulator.catalogue.rows, simulator.catalogue.true_labels, strict=True)
        for item, (row, true_labels) in enumerate(rows):
            if simulator.listed_N[item]:
                record = {"id": simulator.item_id(item), **row, "true_labels": true_labels}
                file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
                counts["items"] += 1
    with (
        atomic_file(folder / TRUTH_NAME) as path,
        open(path, "wb") as file,
        atomic_folder(folder / CLICKS_NAME) as parts,
    ):
        for number, chunk in enumerate(simulator.chunks()):
            for query in chunk.queries:
                split = "tst" if is_test_query(query.text, simulator.params.test_share) else "trn"
                truth = {"text": query.text, "labels": list(query.labels), "split": split}
                file.write(json.dumps(truth, ensure_ascii=False).encode() + b"\n")
            pl.DataFrame(chunk.columns).write_parquet(parts / f"{number:05d}.parquet")
            counts["queries"] += len(chunk.queries)
            counts["click_rows"] += len(chunk.columns["query"])
    return counts
