"""napkinXC as a system of the linear suite; dense columns are appended to the CSR rows."""

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from bench.linear_system import TOP_K, LinearRows, Peer, run_system, scores_of


class NapkinXC(Peer):
    """napkinXC's PLT with its defaults; training writes the model, so that there is no `save`."""

    settings = "PLT's defaults: one tree, arity 2, logistic loss, exact search"

    def prepare(self) -> None:
        """Import the library."""
        from napkinxc.models import PLT

        self.version, self.kind = version("napkinxc"), PLT

    def train(self) -> dict[str, float]:
        """Train into a folder."""
        self.model = self.kind(str(self.scratch / "model"), threads=self.num_threads, seed=0)
        self.model.fit(self.X_trn, self.Y_trn)
        return {}

    def save(self, folder: Path) -> None:
        """Training has done it."""

    def load(self, folder: Path) -> None:
        """Open the folder."""
        del self.model
        self.model = self.kind(str(folder), threads=self.num_threads)
        self.model.load()

    def predict(self) -> tuple[sp.csr_matrix, float]:
        """All test rows at once."""
        started = time.perf_counter()
        pairs_of_rows = self.model.predict_proba(self.X_tst, top_k=TOP_K)
        seconds = time.perf_counter() - started
        return scores_of(pairs_of_rows, self.Y_trn.shape[1]), seconds

    def predict_one(self, row: sp.csr_matrix) -> Any:
        """One CSR row."""
        return self.model.predict_proba(row, top_k=TOP_K)


def make(name: str, rows: LinearRows, num_threads: int, scratch: Path) -> NapkinXC:
    """The only system there is."""
    return NapkinXC(rows, num_threads, scratch)


if __name__ == "__main__":
    run_system(make)
