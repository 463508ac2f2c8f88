"""Peak memory and time of `xrt label` on a click log of any length.

    python -m bench query_intent_memory ROWS [--distinct COPIES] [--whole]

A simulated log (`write_demo_clicks`, about 50 rows a query) is written to disk as often as ROWS
asks for, as a log of many days would be, a file a copy. Queries of a copy are its own (a number is
added to each) unless there are more than COPIES of them: from then on they come again. Without
--whole all rows are read, checked, normalised, laid down and read back group by group; with it
everything is run, and a corpus written.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from xrt.applications.query_intent import LabellingParams, label_queries
from xrt.applications.query_intent.catalogue import read_catalogue
from xrt.applications.query_intent.clicks.log import ClickLog
from xrt.applications.query_intent.clicks.partitions import Partitions
from xrt.applications.query_intent.demo_clicks import (
    CLICKS_NAME,
    ITEMS_NAME,
    ClickParams,
    write_demo_clicks,
)
from xrt.demo.catalogue import DemoParams


def main(arguments: Sequence[str]) -> int:
    """Print one line of JSON: rows, queries, seconds, peak memory, disk. Returns 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=int)
    parser.add_argument("--distinct", type=int, default=10**9, metavar="COPIES")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--brands", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="for the log and the corpus; default: /tmp")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        print(json.dumps(measured(Path(name), args)), flush=True)
    return 0


def measured(folder: Path, args: argparse.Namespace) -> dict[str, object]:
    """Write the log, run, and say what it took."""
    log, rows = write_log(folder, args)
    figures: dict[str, object] = {"rows": rows, "log_gb": gigabytes(log)}
    params = LabellingParams()
    catalogue = read_catalogue(folder / ITEMS_NAME)
    figures["mib_before"] = peak_mib()
    started = time.perf_counter()
    if args.whole:
        result = label_queries(log, catalogue, folder / "corpus.jsonl", params)
        figures["queries"] = result.report.num_queries
        figures["labelled"] = result.report.num_labelled
    else:
        parts = folder / "parts"
        parts.mkdir()
        partitions = Partitions(parts)
        reader = ClickLog(log, batch_rows=params.batch_rows, max_count=params.max_count)
        partitions.fill(reader, catalogue.items)
        figures["seconds_laying_down"] = round(time.perf_counter() - started)
        figures["parts_gb"], figures["laid_rows"] = gigabytes(parts), sum(partitions.num_rows)
        queries = groups = largest = 0
        for group in partitions.groups(params.partition_rows):
            queries, groups = queries + len(group.queries), groups + 1
            largest = max(largest, len(group.rows))
        figures |= {"queries": queries, "groups": groups, "largest_group": largest}
    return figures | {"seconds": round(time.perf_counter() - started), "mib": peak_mib()}


def write_log(folder: Path, args: argparse.Namespace) -> tuple[Path, int]:
    """The folder of the log, and its number of rows."""
    params = ClickParams(
        num_items=args.items,
        num_queries=args.queries,
        catalogue=DemoParams(num_brands=args.brands),
    )
    write_demo_clicks(folder, params, args.seed)
    one = pl.read_parquet(folder / CLICKS_NAME / "*.parquet")
    log = folder / "log"
    log.mkdir()
    copies = -(-args.rows // len(one))
    for copy in range(copies):
        one.with_columns(pl.col("query") + f" {copy % args.distinct}").write_parquet(
            log / f"{copy:05d}.parquet"
        )
    return log, copies * len(one)


def gigabytes(folder: Path) -> float:
    """Size of the files in a folder."""
    return round(sum(file.stat().st_size for file in folder.iterdir()) / 1e9, 2)


def peak_mib() -> int:
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
