"""Peak memory of the streamed part of `xrt label`: a log of many rows laid down and read back.

    python scripts/benchmarks/query_intent_memory.py FOLDER COPIES [--model]

FOLDER is one of `write_demo_clicks`; its log is read COPIES times over, each copy with its own
queries (a number is added to each). With --model everything is run, labelling included.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import polars as pl

from xrt.applications.query_intent import LabellingParams, label_queries
from xrt.applications.query_intent.catalogue import read_catalogue
from xrt.applications.query_intent.click_log import ClickLog
from xrt.applications.query_intent.partitions import Partitions


def main() -> None:
    """Print rows, seconds and the peak of this process's memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("copies", type=int)
    parser.add_argument("--model", action="store_true")
    arguments = parser.parse_args()
    params = LabellingParams()
    catalogue = read_catalogue(arguments.folder / "items.jsonl")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "log").mkdir()
        frame = pl.read_parquet(arguments.folder / "clicks" / "*.parquet")
        for copy in range(arguments.copies):
            frame.with_columns(pl.col("query") + f" {copy}").write_parquet(
                folder / "log" / f"{copy:05d}.parquet"
            )
        before, started = peak_mib(), time.perf_counter()
        if arguments.model:
            label_queries(folder / "log", catalogue, folder / "corpus.jsonl", params)
        else:
            (folder / "parts").mkdir()
            partitions = Partitions(folder / "parts")
            log = ClickLog(folder / "log", batch_rows=params.batch_rows, max_count=params.max_count)
            partitions.fill(log, catalogue.items)
            largest = max(len(group.rows) for group in partitions.groups(params.partition_rows))
            print(f"largest group: {largest:,} rows")
        seconds = time.perf_counter() - started
    rows = arguments.copies * len(frame)
    print(f"{rows:,} rows, {seconds:.0f} s, {before:.0f} MiB before, {peak_mib():.0f} MiB at most")


def peak_mib() -> float:
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
