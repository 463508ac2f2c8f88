"""Which rows are scored by a model of which others.

N rows. Rows of the same text stand in the same fold, or each would be scored by a model that has
seen it.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from xrt.data.corpus import Corpus
from xrt.errors import DataError

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


def groups_of(corpus: Corpus) -> np.ndarray:
    """The groups of equal texts, or of equal rows of features.

    Args:
        corpus: The corpus, N rows.

    Returns:
        int64 (N,), from 0, in the order of first appearance.
    """
    if corpus.texts is not None:
        return groups_of_texts(corpus.texts)
    X = corpus.X
    assert X is not None
    numbers: dict[tuple[bytes, bytes], int] = {}
    keys = (
        (X.indices[a:b].astype(np.int64).tobytes(), X.data[a:b].tobytes())
        for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True)
    )
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64)


def fold_of_rows(group_N: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Deal out groups of rows to folds at random, to each fold as many.

    Args:
        group_N: Group of each row, int64 (N,), from 0 without gaps.
        num_folds: Number of folds.
        seed: Seed of the order.

    Returns:
        The fold of each row, int64 (N,), from 0.

    Raises:
        DataError: There are fewer than two different rows, or fewer than folds.
    """
    num_groups = int(group_N.max(initial=-1)) + 1
    if num_groups < 2:
        raise DataError(f"{num_groups} different row(s): an audit needs at least 2; add rows")
    if num_groups < num_folds:
        raise DataError(
            f"{num_folds} folds of {num_groups} different rows: each fold needs one; add rows",
            settings={f"folds={num_groups}": "to make fewer"},
        )
    fold_of_group = np.empty(num_groups, np.int64)
    order = np.random.default_rng(seed).permutation(num_groups)
    fold_of_group[order] = np.arange(num_groups) % num_folds
    fold_N: np.ndarray = fold_of_group[group_N]
    return fold_N
