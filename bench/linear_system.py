"""Trains one linear system on one row set, predicts with it, and measures both.

    python -m bench.peers.libpecos SYSTEM ROWS_FOLDER OUT_FOLDER NUM_THREADS

The module of a system calls `run_system`, in the interpreter that has the system (Python 3.10 or
later), so nothing but numpy and scipy is imported here. OUT_FOLDER gets predicted.npz,
figures.json and, while this runs, the model. Memory is that of this process in /proc/self.
"""

import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

TOP_K = 10
BEAM_SIZE = 10
NUM_SINGLE_ROWS = 200
NUM_WARM_ROWS = 20


@dataclass(frozen=True)
class LinearRows:
    """A row set: sparse rows (N, F), labels (N, L), dense columns (N, H) or None."""

    folder: Path
    X_trn: sp.csr_matrix
    Y_trn: sp.csr_matrix
    X_tst: sp.csr_matrix
    E_trn: np.ndarray | None
    E_tst: np.ndarray | None

    @classmethod
    def load(cls, folder: Path) -> "LinearRows":
        """Read a row set; training rows without a label are left out."""
        X_trn, Y_trn, X_tst = (load_csr(folder / f"{n}.npz") for n in ("X_trn", "Y_trn", "X_tst"))
        dense = [
            np.load(path) if (path := folder / f"{n}.npy").is_file() else None
            for n in ("E_trn", "E_tst")
        ]
        labelled = np.flatnonzero(np.diff(Y_trn.indptr))
        E_trn = None if dense[0] is None else dense[0][labelled]
        return cls(folder, X_trn[labelled], Y_trn[labelled], X_tst, E_trn, dense[1])


class System(Protocol):
    """What a system must be able to do. It is made with the rows, the threads and a folder."""

    version: str
    settings: str

    def prepare(self) -> None:
        """All that is off the clock: imports, compiling, rows in a form of its own."""

    def train(self) -> dict[str, float]:
        """Train. Returns seconds of parts, `index_seconds` and others.

        Seconds of `reading_seconds` (a text file, say) are taken off the training time.
        """

    def save(self, folder: Path) -> None:
        """Write the model."""

    def load(self, folder: Path) -> None:
        """Let go of the trained model and open the saved one, in the form that is best to predict
        with.
        """

    def predict(self) -> tuple[sp.csr_matrix, float]:
        """Scores of the TOP_K best labels of all test rows (N, L), and seconds."""

    def single_rows(self, rows: np.ndarray) -> list[Any]:
        """These test rows, each by itself, as `predict_one` wants it."""

    def predict_one(self, row: Any) -> Any:
        """The TOP_K best labels of one row."""


def run_system(make: Callable[[str, LinearRows, int, Path], System]) -> None:
    """Load the rows, run the system, leave predictions and figures in the folder.

    Args:
        make: Makes the system from its name, the rows, the number of threads and a folder to
            write to.
    """
    name, rows_folder, out, num_threads = sys.argv[1:5]
    system = make(name, LinearRows.load(Path(rows_folder)), int(num_threads), Path(out))
    figures, scores = measure(system, Path(out) / "model")
    sp.save_npz(Path(out) / "predicted.npz", sp.csr_matrix(scores))
    (Path(out) / "figures.json").write_text(json.dumps(figures))


def measure(system: System, folder: Path) -> tuple[dict[str, Any], sp.csr_matrix]:
    """Figures of training, saving, loading and predicting, and the scores (N, L)."""
    system.prepare()
    rss_before = reset_peak_memory()
    started, started_cpu = time.perf_counter(), time.process_time()
    parts = system.train()
    train_seconds = time.perf_counter() - started - parts.get("reading_seconds", 0.0)
    figures: dict[str, Any] = {
        "version": system.version,
        "settings": system.settings,
        "train_seconds": train_seconds,
        **parts,
        "train_cpu_seconds": time.process_time() - started_cpu,
        "peak_memory_mb": peak_memory(),
    }
    figures["memory_rise_mb"] = figures["peak_memory_mb"] - rss_before
    system.save(folder)
    figures["model_mb"] = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20
    started = time.perf_counter()
    system.load(folder)
    figures["load_ms"] = (time.perf_counter() - started) * 1e3
    reset_peak_memory()
    scores, seconds = system.predict()
    figures["predict_seconds"] = seconds
    figures["predict_rows_per_second"] = scores.shape[0] / seconds
    figures.update(single_row_latency(system, scores.shape[0]))
    figures["predict_peak_memory_mb"] = peak_memory()
    return {key: rounded(value) for key, value in figures.items()}, scores


def single_row_latency(system: System, num_test: int) -> dict[str, float]:
    """Median and 99th percentile of milliseconds for one row, over rows spread evenly."""
    sampled = np.unique(np.linspace(0, num_test - 1, NUM_SINGLE_ROWS).astype(int))
    singles = system.single_rows(sampled)
    for row in singles[:NUM_WARM_ROWS]:
        system.predict_one(row)
    milliseconds = []
    for row in singles:
        started = time.perf_counter()
        system.predict_one(row)
        milliseconds.append((time.perf_counter() - started) * 1e3)
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {"single_row_p50_ms": float(p50), "single_row_p99_ms": float(p99)}


def reset_peak_memory() -> float:
    """Give back what is free, forget the peak so far; resident memory now, MiB."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory_line("VmRSS")


def peak_memory() -> float:
    """The most resident memory since `reset_peak_memory`, MiB."""
    return memory_line("VmHWM")


def memory_line(key: str) -> float:
    """A line of /proc/self/status, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def load_csr(path: Path) -> sp.csr_matrix:
    """A CSR matrix of float32 with sorted indices."""
    matrix = sp.csr_matrix(sp.load_npz(path), dtype=np.float32)
    matrix.sort_indices()
    return matrix


def rounded(value: Any) -> Any:
    """Four digits are enough."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


class Peer:
    """What the peers share: the rows with their dense columns appended."""

    def __init__(self, rows: LinearRows, num_threads: int, scratch: Path) -> None:
        """Join the blocks of the rows."""
        self.X_trn = joined(rows.X_trn, rows.E_trn)
        self.X_tst = joined(rows.X_tst, rows.E_tst)
        self.Y_trn, self.rows_folder = rows.Y_trn, rows.folder
        self.num_threads, self.scratch = num_threads, scratch
        self.version = ""

    def prepare(self) -> None:
        """Nothing is off the clock."""

    def single_rows(self, rows: np.ndarray) -> list[Any]:
        """CSR rows."""
        return [self.X_tst[int(row)] for row in rows]


def joined(X_NF: sp.csr_matrix, E_NH: np.ndarray | None) -> sp.csr_matrix:
    """Sparse rows with dense columns appended: (N, F + H)."""
    if E_NH is None:
        return X_NF
    both = sp.hstack([X_NF, sp.csr_matrix(E_NH)], format="csr", dtype=np.float32)
    both.sort_indices()
    return both


def top_scores(scores_NL: np.ndarray, k: int) -> sp.csr_matrix:
    """The k best of dense scores of each row, ties by label, as a matrix (N, L)."""
    num_rows, num_labels = scores_NL.shape
    best_NK = np.argsort(-scores_NL, axis=1, kind="stable")[:, :k]
    indptr = np.arange(num_rows + 1) * best_NK.shape[1]
    best = np.take_along_axis(scores_NL, best_NK, axis=1).ravel()
    return sp.csr_matrix((best, best_NK.ravel(), indptr), shape=(num_rows, num_labels))


def scores_of(pairs_of_rows: list[list[tuple[int, float]]], num_labels: int) -> sp.csr_matrix:
    """Pairs (label, score) of each row as a matrix (N, L)."""
    indptr = np.cumsum([0, *map(len, pairs_of_rows)])
    pairs = [pair for row in pairs_of_rows for pair in row]
    indices = np.array([label for label, _ in pairs], np.int64)
    data = np.array([score for _, score in pairs], np.float32)
    return sp.csr_matrix((data, indices, indptr), shape=(len(pairs_of_rows), num_labels))
