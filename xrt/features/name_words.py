"""The words of the labels' names, and how much of its name each is.

L labels, F TF-IDF columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.features.tfidf import TfidfFeatures


@dataclass(frozen=True, eq=False)
class NameWords:
    """What the names of L labels are made of.

    Attributes:
        shares_LF: of each name its words that are columns, each with its idf divided by the sum
            over all words of the name, known and unknown: csr float32 (L, F), rows sum to at most
            1. A label without a name, or whose name has no known word, has an empty row.
        weights_L: that sum: what a whole name weighs, more for rare words and for longer names;
            float32 (L,), 0 without a name.
    """

    shares_LF: sp.csr_array
    weights_L: np.ndarray


def name_words(names: Sequence[str], features: TfidfFeatures | None) -> NameWords | None:
    """The words of the labels' names.

    Args:
        names: of L labels; '' for a label without one.
        features: the vectoriser of the texts; None where there is none.

    Returns:
        The words; None where no name has a known word, or where no column of the vectoriser is a
        word.
    """
    if features is None or not any(names):
        return None
    words = features.single_words(list(names))
    if words is None:
        return None
    idf_LF, weights_L = words
    if not idf_LF.nnz:
        return None
    of_entries = np.repeat(weights_L, np.diff(idf_LF.indptr))
    idf_LF.data = (idf_LF.data / of_entries).astype(np.float32)
    return NameWords(idf_LF, weights_L.astype(np.float32))
