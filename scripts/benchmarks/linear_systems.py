"""Trains one linear tree system and predicts with it; started by compare_linear.py.

    python linear_systems.py SYSTEM ROWS_FOLDER PREDICTED.npz NUM_THREADS

Runs in the interpreter that has the system, so nothing but numpy, scipy and the system itself is
imported. The last line on stdout is a JSON object with versions, seconds and peak memory.
"""

import json
import os
import resource
import sys
import tempfile
import time

import numpy as np
import scipy.sparse as sp

BEAM_SIZE = 10
TOP_K = 10


def main():
    """Load the rows, run the system, save its predictions, tell its figures."""
    system, rows, predicted, num_threads = sys.argv[1:5]
    # Until all is done, what a system prints goes to stderr, also from compiled code.
    stdout = os.dup(1)
    os.dup2(2, 1)
    X_trn, Y_trn, X_tst = (
        load(os.path.join(rows, f"{n}.npz")) for n in ("X_trn", "Y_trn", "X_tst")
    )
    labelled = np.flatnonzero(np.diff(Y_trn.indptr))
    run = {"xrt": run_xrt, "pecos": run_pecos, "omikuji": run_omikuji}[system]
    figures, scores = run(X_trn[labelled], Y_trn[labelled], X_tst, int(num_threads))
    sp.save_npz(predicted, sp.csr_matrix(scores))
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures.update(peak_memory_mb=round(peak_kib / 1024), num_labels=Y_trn.shape[1])
    with os.fdopen(stdout, "w") as file:
        file.write("\n" + json.dumps(figures) + "\n")


def load(path):
    """A CSR matrix of float32 with sorted indices."""
    matrix = sp.csr_matrix(sp.load_npz(path), dtype=np.float32)
    matrix.sort_indices()
    return matrix


def timed(version, train, predict):
    """Seconds of `train()` -> model and `predict(model)` -> scores."""
    started = time.perf_counter()
    model = train()
    trained = time.perf_counter()
    scores = predict(model)
    seconds = {
        "train_seconds": round(trained - started, 3),
        "predict_seconds": round(time.perf_counter() - trained, 3),
    }
    return {"version": version, **seconds}, scores


def run_xrt(X, Y, X_tst, num_threads):
    """XRLinear with its defaults; kernels are compiled, or read from the cache, off the clock."""
    import xrt

    few = slice(0, 200)
    xrt.XRLinear(beam_size=BEAM_SIZE).fit(X[few], Y[few]).predict(X_tst[few], k=TOP_K)
    return timed(
        xrt.__version__,
        lambda: xrt.XRLinear(beam_size=BEAM_SIZE).fit(X, Y),
        lambda model: model.predict(X_tst, k=TOP_K),
    )


def run_pecos(X, Y, X_tst, num_threads):
    """XR-Linear with its defaults on PIFA and hierarchical k-means; training includes both."""
    from importlib.metadata import version

    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xlinear.model import XLinearModel

    def train():
        Z = LabelEmbeddingFactory.create(Y.tocsc(), X, method="pifa", threads=num_threads)
        chain = Indexer.gen(Z, indexer_type="hierarchicalkmeans", threads=num_threads)
        return XLinearModel.train(X, Y.tocsc(), C=chain, threads=num_threads)

    def predict(model):
        return model.predict(X_tst, beam_size=BEAM_SIZE, only_topk=TOP_K, threads=num_threads)

    return timed(version("libpecos"), train, predict)


def run_omikuji(X, Y, X_tst, num_threads):
    """Omikuji with its defaults (three Parabel trees).

    Training includes reading the rows back from the text file it asks for, prediction its Python
    binding, which takes one row at a time.
    """
    import omikuji

    with tempfile.TemporaryDirectory(prefix="omikuji-") as scratch:
        path = os.path.join(scratch, "train.txt")
        write_text_rows(path, X, Y)
        return timed(
            omikuji.__version__,
            lambda: omikuji.Model.train_on_data(path, n_threads=num_threads),
            lambda model: predict_rows(model, X_tst, Y.shape[1], num_threads),
        )


def write_text_rows(path, X, Y):
    """The text form of the Extreme Classification Repository: `N F L`, then `l,l f:v f:v`."""
    with open(path, "w") as file:
        file.write(f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}\n")
        for row in range(X.shape[0]):
            labels = Y.indices[Y.indptr[row] : Y.indptr[row + 1]]
            entries = slice(X.indptr[row], X.indptr[row + 1])
            pairs = zip(X.indices[entries], X.data[entries])  # noqa: B905
            features = " ".join(f"{feature}:{value:.9g}" for feature, value in pairs)
            file.write(",".join(map(str, labels)) + f" {features}\n")


def predict_rows(model, X, num_labels, num_threads):
    """Scores of every row as CSR (N, L)."""
    model.init_prediction_thread_pool(num_threads)
    indptr, indices, data = [0], [], []
    for row in range(X.shape[0]):
        entries = slice(X.indptr[row], X.indptr[row + 1])
        pairs = list(zip(X.indices[entries].tolist(), X.data[entries].tolist()))  # noqa: B905
        for label, score in model.predict(pairs, beam_size=BEAM_SIZE, top_k=TOP_K):
            indices.append(label)
            data.append(score)
        indptr.append(len(indices))
    return sp.csr_matrix((data, indices, indptr), shape=(X.shape[0], num_labels), dtype=np.float32)


if __name__ == "__main__":
    main()
