"""libpecos: XR-Linear as a system of the linear suite, and over the labels of all attributes.

Dense columns are appended to the CSR rows. Imports of libpecos stand where they are used: tests
read this module without it.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from bench.attribute_peer import AttributeRows, best_of_each, run_peer
from bench.linear_system import BEAM_SIZE, TOP_K, LinearRows, Peer, run_system


class Pecos(Peer):
    """XR-Linear on PIFA and hierarchical k-means; predicts with the model opened for that."""

    settings = "PIFA, hierarchical k-means, beam 10"

    def prepare(self) -> None:
        """Import the library."""
        from pecos.xmc import Indexer, LabelEmbeddingFactory
        from pecos.xmc.xlinear.model import XLinearModel

        self.version = version("libpecos")
        self.embed, self.index = LabelEmbeddingFactory.create, Indexer.gen
        self.kind = XLinearModel

    def train(self) -> dict[str, float]:
        """Label features, tree, rankers."""
        started = time.perf_counter()
        Y, threads = self.Y_trn.tocsc(), self.num_threads
        Z = self.embed(Y, self.X_trn, method="pifa", threads=threads)
        chain = self.index(Z, indexer_type="hierarchicalkmeans", threads=threads)
        indexed = time.perf_counter()
        self.model = self.kind.train(self.X_trn, Y, C=chain, threads=threads)
        return {"index_seconds": indexed - started}

    def save(self, folder: Path) -> None:
        """Write the model's folder."""
        self.model.save(str(folder))

    def load(self, folder: Path) -> None:
        """Open it for prediction only, which libpecos recommends for speed."""
        del self.model
        self.model = self.kind.load(str(folder), is_predict_only=True)

    def predict(self) -> tuple[sp.csr_matrix, float]:
        """All test rows at once."""
        started = time.perf_counter()
        scores = self._predict(self.X_tst, self.num_threads)
        return scores, time.perf_counter() - started

    def predict_one(self, row: sp.csr_matrix) -> sp.csr_matrix:
        """One CSR row; one thread, as a row cannot be shared."""
        return self._predict(row, 1)

    def _predict(self, X: sp.csr_matrix, threads: int) -> sp.csr_matrix:
        return self.model.predict(X, beam_size=BEAM_SIZE, only_topk=TOP_K, threads=threads)


def make(name: str, rows: LinearRows, num_threads: int, scratch: Path) -> Pecos:
    """The only linear system there is."""
    return Pecos(rows, num_threads, scratch)


def attribute_values(rows: AttributeRows, num_threads: int) -> tuple[np.ndarray, dict[str, Any]]:
    """XR-Linear of libpecos over all labels; for each attribute the label with the highest score.

    The beam holds every cluster, so that each attribute has all its labels.
    """
    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xlinear.model import XLinearModel

    X, Y = rows.X_trn.astype(np.float32), rows.Y_trn.astype(np.float32)
    Z = LabelEmbeddingFactory.create(Y.tocsc(), X, method="pifa", threads=num_threads)
    chain = Indexer.gen(Z, indexer_type="hierarchicalkmeans", threads=num_threads)
    model = XLinearModel.train(X, Y.tocsc(), C=chain, threads=num_threads)
    scores = model.predict(
        rows.X_tst.astype(np.float32), beam_size=Y.shape[1], only_topk=Y.shape[1],
        threads=num_threads,
    )  # fmt: skip
    predicted_NA = best_of_each(scores.toarray(), rows.attribute_of_L, rows.num_attributes)
    return predicted_NA, {"version": f"libpecos {version('libpecos')}"}


if __name__ == "__main__":
    if sys.argv[1] == "attributes":
        run_peer(attribute_values)
    else:
        run_system(make)
