"""Groups of rows with the same text, or the same features.

N rows.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from xrt.data.corpus import Corpus

_NOT_WORDS = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """The text without case, width, punctuation and number of blanks.

    Args:
        text: Any text.

    Returns:
        Its words with single blanks between them.
    """
    return _NOT_WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def groups_of_texts(texts: Sequence[str]) -> np.ndarray:
    """A number for each row, the same for texts that are equal once normalised.

    Numbers rise in the order in which texts appear first.

    Args:
        texts: N texts.

    Returns:
        int64 (N,), from 0.
    """
    numbers: dict[str, int] = {}
    return np.fromiter(
        (numbers.setdefault(normalised(text), len(numbers)) for text in texts), np.int64, len(texts)
    )


def groups_of(corpus: Corpus, dense_NH: np.ndarray | None = None) -> np.ndarray:
    """The groups of equal texts, or of equal rows of features.

    Args:
        corpus: The corpus, N rows.
        dense_NH: Dense features beside those of the corpus, in which rows must be equal, too.

    Returns:
        int64 (N,), from 0, in the order of first appearance.
    """
    if corpus.texts is not None:
        return groups_of_texts(corpus.texts)
    X = corpus.X
    assert X is not None
    numbers: dict[tuple[bytes, ...], int] = {}
    keys = (
        (X.indices[a:b].astype(np.int64).tobytes(), X.data[a:b].tobytes())
        for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True)
    )
    if dense_NH is not None:
        dense = (row.tobytes() for row in np.ascontiguousarray(dense_NH))
        return np.fromiter(
            (numbers.setdefault((*key, more), len(numbers))
             for key, more in zip(keys, dense, strict=True)), np.int64,
        )  # fmt: skip
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64)
