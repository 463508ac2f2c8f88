"""Compares xrt's linear tree with libpecos XR-Linear and omikuji on the same TF-IDF rows.

    python -m venv PEERS
    PEERS/bin/pip install "numpy<2" "libpecos==1.2.8" omikuji
    python scripts/benchmarks/compare_linear.py --peer-python PEERS/bin/python --data DATA

Each system trains and predicts in a process of its own, with its defaults (beam 10, top 10) and the
same number of threads, nothing else running. The TF-IDF rows are made once by xrt and handed over
as npz files; one metrics code, xrt's, judges all predictions. One JSON line a system goes to stdout
and, with --output, to the end of a file. DATA (or XRT_DATA) is a folder that holds the data sets,
each with trn.jsonl and tst.jsonl (.gz and .xz too).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from xrt.metrics.ranking import judge, precision_at, recall_at
from xrt.sparse import as_csr

SYSTEMS = ("xrt", "pecos", "omikuji")
MATRICES = ("X_trn", "Y_trn", "X_tst", "Y_tst")
CHILD = Path(__file__).with_name("linear_systems.py")


def main() -> int:
    """Parse the command line, make the rows, run the systems one after the other."""
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="compare-linear-") as scratch:
        rows = args.rows
        if rows is None:
            rows = Path(scratch)
            make_rows(find_data(args.data) / args.dataset, rows, args.max_train_rows)
        failed = 0
        for system in args.systems:
            line = run_system(system, rows, Path(scratch), args)
            failed += "error" in line
            report(line, args.output)
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="interpreter that has libpecos and omikuji")
    parser.add_argument("--data", help="folder of the data sets (default: XRT_DATA)")
    parser.add_argument("--dataset", default="tibkat")
    parser.add_argument(
        "--rows", type=Path, help="folder with X_trn.npz Y_trn.npz X_tst.npz Y_tst.npz"
    )
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-train-rows", type=int, help="only the first rows, for a trial")
    parser.add_argument("--output", type=Path, help="JSONL file to append to")
    args = parser.parse_args()
    if args.peer_python is None and set(args.systems) != {"xrt"}:
        parser.error("--peer-python is needed for pecos and omikuji (see the head of this script)")
    return args


def find_data(given: str | None) -> Path:
    """The folder of the data sets."""
    folder = given or os.environ.get("XRT_DATA")
    if not folder or not Path(folder).is_dir():
        raise SystemExit(f"data folder {folder!r} not found; give --data or set XRT_DATA")
    return Path(folder)


def make_rows(dataset: Path, folder: Path, max_train_rows: int | None) -> None:
    """Write TF-IDF rows and labels of both splits as npz; the vocabulary comes from trn alone."""
    from xrt import read_corpus
    from xrt.features.tfidf import TfidfFeatures, TfidfParams

    train = read_corpus(split_file(dataset, "trn"))
    if max_train_rows:
        train = train.subset(list(range(min(max_train_rows, train.num_instances))))
    test = read_corpus(split_file(dataset, "tst"), labels=train.labels)
    tfidf = TfidfFeatures(TfidfParams())
    matrices = (tfidf.fit_transform(train.texts), train.Y, tfidf.transform(test.texts), test.Y)
    for name, matrix in zip(MATRICES, matrices, strict=True):
        sp.save_npz(folder / f"{name}.npz", sp.csr_matrix(matrix), compressed=False)


def split_file(dataset: Path, split: str) -> Path:
    """The file of one split, compressed or not."""
    for suffix in ("", ".gz", ".xz"):
        if (path := dataset / f"{split}.jsonl{suffix}").is_file():
            return path
    raise SystemExit(
        f"{dataset}: no {split}.jsonl (.gz, .xz) there; give another --data or --dataset"
    )


def run_system(system: str, rows: Path, scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Train and predict in a child process, then judge what it predicted."""
    predicted = scratch / f"{system}.npz"
    python = sys.executable if system == "xrt" else args.peer_python
    command = [python, str(CHILD), system, str(rows), str(predicted), str(args.threads)]
    threads = str(args.threads)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "XRT_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, threads)}
    head = {"system": system, "dataset": args.dataset if args.rows is None else str(args.rows.name)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr[-4000:], file=sys.stderr)
        return {**head, "error": f"exit status {done.returncode}; see its messages on stderr"}
    figures = json.loads(done.stdout.splitlines()[-1])
    return {**head, **figures, **judged(rows, predicted), "threads": args.threads, **machine()}


def judged(rows: Path, predicted: Path) -> dict[str, float | int]:
    """P@1, P@3, P@5 and R@10 on the test rows, and the sizes of the problem."""
    X_trn, Y_tst = sp.load_npz(rows / "X_trn.npz"), as_csr(sp.load_npz(rows / "Y_tst.npz"))
    ranking = judge(Y_tst, as_csr(sp.load_npz(predicted)), depth=10)
    P_K, R_K = precision_at(ranking), recall_at(ranking)
    metrics = {f"P@{k}": round(float(P_K[k - 1]), 5) for k in (1, 3, 5)}
    metrics["R@10"] = round(float(R_K[9]), 5)
    sizes = {
        "num_train": X_trn.shape[0],
        "num_test": Y_tst.shape[0],
        "num_features": X_trn.shape[1],
    }
    return {**metrics, **sizes}


def machine() -> dict[str, Any]:
    """What the figures depend on besides the systems."""
    commit = subprocess.run(
        ["git", "-C", str(CHILD.parent), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "load_average": load,
        "commit": commit.stdout.strip() or None,
    }


def report(line: dict[str, Any], output: Path | None) -> None:
    """One JSON line to stdout, and to the end of the output file."""
    text = json.dumps(line)
    print(text, flush=True)
    if output is not None:
        with output.open("a") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
