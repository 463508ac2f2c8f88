"""What the systems are given of a corpus: its views, written as row sets.

`own`: xrt gets the texts and makes its own features; peers get rows of one TF-IDF, scikit-learn's
with its defaults but `sublinear_tf=True` and `min_df=2`, n-grams of 1 to 3 characters where no
blanks stand between words. `equal`: all get the rows of xrt's default TF-IDF. `given`: a corpus
without texts has rows of its own, which all get.

A row set is a folder as in `bench.rows`, with texts_trn.json and texts_tst.json in `own`.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from bench.corpora.corpus import SuiteCorpus
from bench.rows import NAMES
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams

VIEWS = ("own", "equal", "given")
PEER_TFIDF: dict[str, Any] = {"sublinear_tf": True, "min_df": 2}
PEER_CHARACTERS: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3)}
"""Where no blanks stand between words."""
MADE = "rows.json"


def write_view(corpus: SuiteCorpus, view: str, folder: Path) -> dict[str, Any]:
    """Write the row set of a view.

    Args:
        corpus: the corpus.
        view: one of VIEWS.
        folder: a folder that gets the files; it is made.

    Returns:
        `rows_train_seconds` and `rows_test_seconds`, which it took to make rows of texts, 0 where
        they are given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seconds = {"rows_train_seconds": 0.0, "rows_test_seconds": 0.0}
    if corpus.texts_trn is None or corpus.texts_tst is None:
        assert corpus.X_trn is not None
        assert corpus.X_tst is not None
        X_trn, X_tst = corpus.X_trn, corpus.X_tst
    else:
        maker = peer_tfidf(blanks=corpus.blanks) if view == "own" else TfidfFeatures(TfidfParams())
        started = time.perf_counter()
        X_trn = fitted_rows(maker, corpus.texts_trn)
        fitted = time.perf_counter()
        X_tst = maker.transform(corpus.texts_tst)
        if view == "own":
            done = time.perf_counter()
            seconds = {
                "rows_train_seconds": fitted - started, "rows_test_seconds": done - fitted
            }  # fmt: skip
            (folder / "texts_trn.json").write_text(json.dumps(list(corpus.texts_trn)))
            (folder / "texts_tst.json").write_text(json.dumps(list(corpus.texts_tst)))
    splits = (X_trn, corpus.Y_trn, X_tst, corpus.Y_tst)
    for name, matrix in zip(NAMES, splits, strict=True):
        written = sp.csr_matrix(matrix, dtype=np.float32)
        sp.save_npz(folder / f"{name}.npz", written, compressed=False)
    return {name: round(value, 3) for name, value in seconds.items()}


def peer_tfidf(*, blanks: bool, min_df: int = PEER_TFIDF["min_df"]) -> Any:
    """The TF-IDF of the peers' rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    settings = PEER_TFIDF | {"min_df": min_df} | ({} if blanks else PEER_CHARACTERS)
    return TfidfVectorizer(dtype=np.float32, **settings)


def fitted_rows(maker: Any, texts: Any) -> Any:
    """Rows of the training texts; terms of one text count, too, where no term is in two."""
    try:
        return maker.fit_transform(texts)
    except ValueError:
        if not hasattr(maker, "set_params") or maker.min_df == 1:
            raise
        return maker.set_params(min_df=1).fit_transform(texts)
