"""Turns a click log of any size into groups of queries that fit in memory.

Each batch is summed over equal rows and written to 64 parts by the CRC-32 of its queries; a group
is a few parts read together, or a stretch of CRCs of a part that is too large. Groups come in the
order of the CRC, and so do the queries of a group: the order of all queries is the same however
they are grouped.
"""

import itertools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from xrt.applications.query_intent.clicks.log import ClickLog
from xrt.applications.query_intent.words.words import normalise_query
from xrt.data.cells import id_text
from xrt.data.frames import frame_faults

NUM_PARTITIONS = 64
_WHOLE_AS_FLOAT = re.compile(r"-?[0-9]+\.0+")
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
        """Read the whole log.

        Args:
            log: The log.
            items: Position in the catalogue of each item's id.
        """
        item_numbers = ItemNumbers(items)
        waiting: list[pl.DataFrame] = []  # a folder of small files makes no more files of ours
        for batch in log.batches():
            waiting.append(batch)
            if sum(map(len, waiting)) >= log.batch_rows:
                self._spill(_normalised(pl.concat(waiting)), item_numbers, log)
                waiting = []
        if waiting:
            self._spill(_normalised(pl.concat(waiting)), item_numbers, log)

    def _spill(self, batch: pl.DataFrame, item_numbers: "ItemNumbers", log: ClickLog) -> None:
        blank = batch["query"] == ""
        log.report.num_blank_queries += int(blank.sum())
        batch = batch.filter(~blank)
        batch = batch.join(item_numbers.of(batch["item"]), on="item", how="left")
        is_unknown = pl.col("item_id").is_null()
        unknown = batch.filter(is_unknown)
        log.report.num_unknown_items += len(unknown)
        log.report.clicks_on_unknown_items += float(unknown["count"].sum())
        log.report.num_float_ids += int(batch["is_float"].sum())
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
            path = self._path(number, self.num_batches)
            with frame_faults(path, "cannot be written"):
                part.drop("partition").write_parquet(path)
            self.num_rows[number] += len(part)
        self.num_batches += 1

    def _path(self, partition: int, batch: int) -> Path:
        return self.folder / f"{partition:02d}-{batch:06d}.parquet"

    def groups(self, max_rows: int) -> Iterator[QueryGroup]:
        """All queries, in groups of about `max_rows` rows as they were laid down.

        Args:
            max_rows: Rows of a group; a group has more where one query alone has more.

        Yields:
            A group of one query or more.
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


class ItemNumbers:
    """Positions in the catalogue of ids as a log writes them.

    An id is compared as it stands, then as `id_text` cleans it, then, where it looks like a whole
    number kept as a float ("392.0", as many programs write a column with an empty cell), as that.
    """

    def __init__(self, items: dict[str, int]) -> None:
        self.items = items

    def of(self, column: pl.Series) -> pl.DataFrame:
        """Look up the ids of a column.

        Args:
            column: Ids as the log has them, text.

        Returns:
            A row for each distinct id: `item`, `item_id` (position in the catalogue; null: not
            known), `is_float` (whether the id was found as a whole number kept as a float).
        """
        ids = column.unique().to_list()
        numbers = [self.items.get(id) for id in ids]
        is_float = [False] * len(ids)
        for place, id in enumerate(ids):
            if numbers[place] is None:
                clean = id_text(id)
                numbers[place] = self.items.get(clean)
                if numbers[place] is None and _WHOLE_AS_FLOAT.fullmatch(clean):
                    numbers[place] = self.items.get(clean.partition(".")[0])
                    is_float[place] = numbers[place] is not None
        return pl.DataFrame(
            {"item": ids, "item_id": numbers, "is_float": is_float},
            schema={"item": pl.String, "item_id": pl.Int32, "is_float": pl.Boolean},
        )


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
