"""Queries, titles and names as words that can be compared.

Queries that differ in case, blanks or width of letters are one query (NFKC, case folded). Words are
runs of letters or of digits, so "26cm" is "26 cm"; a plural loses its ending.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

_WORD = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+")
_LONG_ENDINGS = ("sses", "shes", "ches", "xes", "zes")
MAX_WORDS = 3
"""Words of the longest phrase that is looked up."""


def normalise_query(text: str) -> str:
    """The query in small letters of usual width, with single blanks.

    Args:
        text: The query as typed.

    Returns:
        The normalised query.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.lower().split())


def words_of(text: str) -> list[str]:
    """The words of a text, plurals as singulars.

    Args:
        text: Any text.

    Returns:
        Its words, normalised, in order.
    """
    return [_singular(word) for word in _WORD.findall(normalise_query(text))]


@lru_cache(maxsize=200_000)
def _singular(word: str) -> str:
    if len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(_LONG_ENDINGS) else word[:-1]


def phrases(words: Sequence[str], longest: int = MAX_WORDS) -> Iterator[tuple[int, int, str]]:
    """Every run of at most `longest` words.

    Args:
        words: The words of a text.
        longest: Most words of a phrase.

    Yields:
        (first word, number of words, phrase).
    """
    for start in range(len(words)):
        for length in range(1, min(longest, len(words) - start) + 1):
            yield start, length, " ".join(words[start : start + length])


def trigrams(text: str) -> frozenset[str]:
    """Character trigrams, with a blank before and after.

    Args:
        text: Any text.

    Returns:
        Its distinct trigrams.
    """
    padded = f" {text} "
    return frozenset(padded[i : i + 3] for i in range(len(padded) - 2))


def likeness(a: frozenset[str], b: frozenset[str]) -> float:
    """Dice coefficient of two sets of trigrams, 0 to 1.

    Args:
        a: Trigrams of one text.
        b: Trigrams of the other.

    Returns:
        1 for equal sets, 0 where none is shared or one is empty.
    """
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0
