"""What the latency benchmark's systems are given: texts to ask one by one, and the peer's rows."""

import json
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt import read_corpus
from xrt.sparse import as_csr


def write_asked(
    file: Path, columns: list[str] | None, num_texts: int, folder: Path
) -> dict[str, float]:
    """Write `asked.json`, texts spread evenly over a labelled file; gives their number and mean
    length in words.
    """
    texts = read_corpus(file, text_columns=columns).texts
    assert texts is not None
    rows = np.linspace(0, len(texts) - 1, min(num_texts, len(texts))).astype(int)
    asked = [texts[row] for row in rows]
    (folder / "asked.json").write_text(json.dumps(asked))
    words = float(np.mean([len(text.split()) for text in asked]))
    return {"num_texts": len(asked), "words_a_text": round(words, 1)}


def write_peer_rows(file: Path, max_rows: int, seed: int, folder: Path) -> dict[str, int]:
    """Write `texts.json` and `Y.npz`: training rows in which every label has one, and others up to
    `max_rows`; each text on one line, as PECOS cannot open a vocabulary whose terms hold line ends.
    """
    corpus = read_corpus(file)
    assert corpus.texts is not None
    Y_NL = as_csr(corpus.Y)
    rows = covering_rows(Y_NL, max_rows, seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.json").write_text(
        json.dumps([" ".join(corpus.texts[row].split()) for row in rows])
    )
    sp.save_npz(folder / "Y.npz", sp.csr_matrix(Y_NL[rows]))
    return {"num_train": len(rows), "num_labels": Y_NL.shape[1]}


def covering_rows(Y_NL: sp.csr_array, max_rows: int, seed: int) -> np.ndarray:
    """Rows, ascending, in which every label that has a row has one, rows with most labels first;
    then rows at random up to `max_rows`.
    """
    covered_L = np.zeros(Y_NL.shape[1], bool)
    kept = np.zeros(Y_NL.shape[0], bool)
    for row in np.argsort(-np.diff(Y_NL.indptr), kind="stable"):
        labels = Y_NL.indices[Y_NL.indptr[row] : Y_NL.indptr[row + 1]]
        if not covered_L[labels].all():
            covered_L[labels] = kept[row] = True
    others = np.random.default_rng(seed).permutation(np.flatnonzero(~kept))
    kept[others[: max(0, max_rows - int(kept.sum()))]] = True
    return np.flatnonzero(kept)
