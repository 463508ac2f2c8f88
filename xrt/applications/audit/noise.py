"""Damage on purpose, so that it is known what an audit should find.

N rows, L labels.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.errors import ConfigError
from xrt.sparse import as_csr, binarize


@dataclass(frozen=True, eq=False)
class Damaged:
    """A corpus with labels removed and wrong ones added; which, as cells of (N, L)."""

    corpus: Corpus
    removed_NL: sp.csr_array
    added_NL: sp.csr_array


def damage(
    corpus: Corpus, removed: float, added: float, *, by_frequency: bool, seed: int
) -> Damaged:
    """Remove this share of the given labels, and add that share of wrong ones to random rows.

    Wrong labels are drawn by how often labels occur, or (`by_frequency` false) each as often.
    Labels are removed alike, or by frequency with a chance that falls with the square root of
    their rows, the shares being those of all labels. Raises ConfigError for a share outside of
    [0, 1).
    """
    for name, share in (("removed", removed), ("added", added)):
        if not 0 <= share < 1:
            raise ConfigError(f"noise: {name} = {share}: a share from 0 up to below 1 is needed")
    Y_NL = binarize(as_csr(corpus.Y))
    rng = np.random.default_rng([seed, 7])
    removed_NL = _removed(Y_NL, removed, by_frequency, rng)
    added_NL = _added(Y_NL, added, by_frequency, rng)
    Y_new = sp.csr_array(Y_NL - removed_NL + added_NL, dtype=np.float32)
    Y_new.eliminate_zeros()
    return Damaged(replace(corpus, Y=as_csr(Y_new)), removed_NL, added_NL)


def _removed(
    Y_NL: sp.csr_array, share: float, by_frequency: bool, rng: np.random.Generator
) -> sp.csr_array:
    counts_E = np.bincount(Y_NL.indices, minlength=Y_NL.shape[1])[Y_NL.indices]
    chances = counts_E**-0.5 if by_frequency else np.ones(len(counts_E))
    chances = np.minimum(1.0, chances * share / max(chances.mean(), 1e-12))
    cells = Y_NL.copy()
    cells.data = (rng.random(Y_NL.nnz) < chances).astype(np.float32)
    cells.eliminate_zeros()
    return as_csr(cells)


def _added(
    Y_NL: sp.csr_array, share: float, by_frequency: bool, rng: np.random.Generator
) -> sp.csr_array:
    num_rows, num_labels = Y_NL.shape
    size = round(share * Y_NL.nnz)
    rows = rng.integers(0, num_rows, size)
    used = Y_NL.indices if by_frequency else np.arange(num_labels)
    columns = used[rng.integers(0, len(used), size)]
    draws_NL = sp.csr_array((np.ones(size, np.float32), (rows, columns)), shape=Y_NL.shape)
    draws_NL = binarize(as_csr(draws_NL))
    cells = sp.csr_array(draws_NL - draws_NL.multiply(Y_NL), dtype=np.float32)
    cells.eliminate_zeros()
    return as_csr(cells)
