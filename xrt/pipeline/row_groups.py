"""Which training rows stay together where rows are held out.

N rows, F TF-IDF columns, H dense columns. A column of the file says it; else rows of the same text
or features, and of nearly the same, are a group. Where times are known, texts that come back later
are no such group: there, rows come back in the time to come as well.
"""

from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.equal_rows import groups_of
from xrt.data.near_rows import near_groups, numbered, rarity_weighted
from xrt.errors import DataError
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.pipeline.runner import StageRunner
from xrt.sparse import as_csr
from xrt.storage.atomic import save_array
from xrt.storage.hashing import content_hash
from xrt.storage.reading import load_array
from xrt.storage.stages import Settings, Stage, Workspace


def _load_groups(folder: Path) -> np.ndarray:
    return load_array(folder / "groups.npy", np.int64, 1)


ROW_GROUPS = Stage[np.ndarray](
    "row-groups", 1, (),
    save=lambda groups_N, folder: save_array(folder / "groups.npy", groups_N),
    load=_load_groups,
)  # fmt: skip


def group_rows(
    runner: StageRunner,
    corpus: Corpus,
    dense_NH: np.ndarray | None = None,
) -> np.ndarray:
    """The rows that stay together: those of a named group; else those of a text.

    Args:
        runner: runs the stage that compares texts.
        corpus: N rows.
        dense_NH: dense features beside sparse ones: rows must be equal in both, and rows that are
            nearly the same are not looked for.

    Returns:
        The group of each row, int64 (N,), from 0 in the order of first appearance.
    """
    named_N = corpus.groups
    if named_N is not None and (named_N >= 0).all():
        return numbered(named_N)
    groups_N = _alike(runner, corpus, dense_NH)
    if corpus.times is not None:
        groups_N = np.unique([groups_N, _ranks(corpus.times)], axis=1, return_inverse=True)[1]
    if named_N is not None:
        groups_N = np.where(named_N < 0, named_N.max() + 1 + groups_N, named_N)
    return numbered(groups_N.ravel())


def _ranks(times_N: np.ndarray) -> np.ndarray:
    """A number for each time; one for all rows of unknown time."""
    ranks_N: np.ndarray = np.unique(times_N, return_inverse=True)[1]
    return ranks_N


def _telling_rows(corpus: Corpus) -> sp.csr_array | None:
    """Rows (N, F) by which texts are compared, whatever the settings of the features: all words, by
    rarity, also those that stand in one text alone. None where no text has a word.
    """
    if corpus.texts is None:
        return rarity_weighted(as_csr(corpus.X, "X"))
    try:
        return TfidfFeatures(TfidfParams(min_df=1)).fit_transform(corpus.texts)
    except DataError:
        return None


def _alike(runner: StageRunner, corpus: Corpus, dense_NH: np.ndarray | None) -> np.ndarray:
    """The stage that finds rows that are the same, or nearly."""

    def make(settings: Settings, workspace: Workspace) -> np.ndarray:
        equal_N = groups_of(corpus, dense_NH)
        if dense_NH is not None:
            return equal_N
        X_NF = _telling_rows(corpus)
        return equal_N if X_NF is None else near_groups(X_NF, equal_N, runner.num_threads)

    texts = cache(lambda: content_hash([corpus.texts, corpus.X, dense_NH]))
    return runner.run(ROW_GROUPS, make, {"rows": texts}).value
