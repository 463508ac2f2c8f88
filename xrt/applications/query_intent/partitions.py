"""Turns a click log of any size into groups of queries that fit in memory.

Each batch is summed over equal rows and written to 64 parts by the CRC-32 of its queries; a group
is a few parts read together, or a stretch of CRCs of a part that is too large. Groups come in the
order of the CRC, and so do the queries of a group: the order of all queries is the same however
they are grouped.
"""

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from xrt.applications.query_intent.click_log import ClickLog
from xrt.applications.query_intent.words import normalise_query

NUM_PARTITIONS = 64
_SUMS = (pl.col("count").sum(), pl.col("impressions").sum())


@dataclass(frozen=True)
class QueryGroup:
    """Q queries with all their rows.

    queries: normalised, distinct. variants: other ways each was typed, the most clicked first.
    rows: `query_id` (position in queries), `item_id` (position in the catalogue), `position` (0:
    not known), `count`, `impressions` (0: not known).
    """

    queries: list[str]
    variants: list[list[str]]
    rows: pl.DataFrame


class Partitions:
    """The log in 64 parts, in a folder that the caller removes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.num_rows = [0] * NUM_PARTITIONS
        self.num_batches = 0

    def fill(self, log: ClickLog, items: dict[str, int]) -> None:
        """Read the whole log."""
        known = pl.DataFrame(
            {"item": list(items), "item_id": np.arange(len(items), dtype=np.int32)},
            schema={"item": pl.String, "item_id": pl.Int32},
        )
        waiting: list[pl.DataFrame] = []  # a folder of small files makes no more files of ours
        for batch in log.batches():
            waiting.append(batch)
            if sum(map(len, waiting)) >= log.batch_rows:
                self._spill(_normalised(pl.concat(waiting)), known, log)
                waiting = []
        if waiting:
            self._spill(_normalised(pl.concat(waiting)), known, log)

    def _spill(self, batch: pl.DataFrame, known: pl.DataFrame, log: ClickLog) -> None:
        blank = batch["query"] == ""
        log.report.num_blank_queries += int(blank.sum())
        batch = batch.filter(~blank).join(known, on="item", how="left")
        missing = pl.col("item_id").is_null()
        lost = batch.filter(missing)
        log.report.num_unknown_items += len(lost)
        log.report.clicks_on_unknown_items += float(lost["count"].sum())
        keys = ["partition", "crc", "query", "typed", "item_id", "position"]
        summed = (
            batch.with_columns(
                pl.col("position").fill_null(0),
                pl.col("impressions").fill_null(0.0),
                pl.col("item_id").fill_null(-1),
            )
            .group_by(keys)
            .agg(*_SUMS)
        )
        for (partition,), part in summed.partition_by("partition", as_dict=True).items():
            number = int(str(partition))
            part.drop("partition").write_parquet(self._path(number, self.num_batches))
            self.num_rows[number] += len(part)
        self.num_batches += 1

    def _path(self, partition: int, batch: int) -> Path:
        return self.folder / f"{partition:02d}-{batch:06d}.parquet"

    def groups(self, max_rows: int) -> Iterator[QueryGroup]:
        """All queries, in groups of about `max_rows` rows as they were laid down; one query at
        least.
        """
        pending: list[int] = []
        size = 0
        for partition, rows in enumerate(self.num_rows):
            if pending and size + rows > max_rows:
                yield _group(pl.concat(map(pl.read_parquet, self._files(pending))))
                pending, size = [], 0
            if rows > max_rows:
                yield from self._stretches(partition, max_rows)
            elif rows:
                pending.append(partition)
                size += rows
        if pending:
            yield _group(pl.concat(map(pl.read_parquet, self._files(pending))))

    def _files(self, partitions: list[int]) -> list[Path]:
        return [f for p in partitions for f in sorted(self.folder.glob(f"{p:02d}-*.parquet"))]

    def _stretches(self, partition: int, max_rows: int) -> Iterator[QueryGroup]:
        """The queries of one part, in stretches of CRCs that are equally wide."""
        width = (1 << 32) // NUM_PARTITIONS
        first = partition * width
        number = -(-self.num_rows[partition] // max_rows)
        bounds = [first + width * i // number for i in range(number + 1)]
        for low, high in itertools.pairwise(bounds):
            within = (pl.col("crc") >= low) & (pl.col("crc") < high)
            rows = pl.concat(pl.read_parquet(f).filter(within) for f in self._files([partition]))
            if len(rows):
                yield _group(rows)


def _group(rows: pl.DataFrame) -> QueryGroup:
    typed = (
        rows.group_by("crc", "query", "typed")
        .agg(pl.col("count").sum())
        .sort(["crc", "query", "count", "typed"], descending=[False, False, True, False])
        .group_by("crc", "query", maintain_order=True)
        .agg("typed")
    )
    queries = typed["query"].to_list()
    numbered = pl.DataFrame({"query": queries, "query_id": np.arange(len(queries))})
    summed = (
        rows.lazy()
        .filter(pl.col("item_id") >= 0)
        .group_by("query", "item_id", "position")
        .agg(pl.col("count").sum(), pl.col("impressions").sum())
        .join(numbered.lazy(), on="query")
        .select("query_id", "item_id", "position", "count", "impressions")
        .sort("query_id", "item_id", "position")
        .collect()
    )
    variants = [
        [form for form in forms if form != query]
        for query, forms in zip(queries, typed["typed"].to_list(), strict=True)
    ]
    return QueryGroup(queries, variants, summed)


def _normalised(batch: pl.DataFrame) -> pl.DataFrame:
    """`typed` and `query` (normalised), the CRC-32 of the query, and its partition."""
    typed = batch["query"].unique().to_list()
    queries = [normalise_query(text) for text in typed]
    crcs = np.array([zlib.crc32(query.encode()) for query in queries], np.int64)
    table = pl.DataFrame(
        {
            "typed": typed,
            "normal": queries,
            "crc": crcs,
            "partition": crcs * NUM_PARTITIONS >> 32,
        },
        schema_overrides={"typed": pl.String, "normal": pl.String},
    )
    joined = batch.rename({"query": "typed"}).join(table, on="typed", how="left")
    return joined.rename({"normal": "query"})
