"""Which characters belong to tokens and their lower-case forms, computed with Python's `re` and
`str.lower`.

The table has one entry for each code point: the lower-case code point (or the same one, where case
is kept) plus `IN_TOKEN` where that belongs to a token. Two characters do not fit a table: 'İ',
whose lower-case form is two characters, and 'Σ', whose form depends on its neighbours. Texts with
one of these are lowered by Python first; the table then changes nothing.
"""

import re
from functools import lru_cache

import numpy as np

IN_TOKEN = np.uint32(1 << 31)
CODE_POINT = np.uint32((1 << 21) - 1)
NUM_CODE_POINTS = 0x110000
HARD_TO_LOWER = ("\u0130", "\u03a3")

_WORDS = re.compile(r"(?:\(\?u\))?(?:\\b)?((?:\\w)+)\+(?:\\b)?")


def shortest_word(token_pattern: str) -> int | None:
    r"""Letters a word needs at least where the pattern means whole runs of \w, else None.

    >>> shortest_word(r"(?u)\b\w\w+\b"), shortest_word(r"\w+"), shortest_word(r"[a-z]+")
    (2, 1, None)
    """
    match = _WORDS.fullmatch(token_pattern)
    return match[1].count("w") if match else None


@lru_cache(maxsize=4)
def character_table(token_class: str, lowercase: bool) -> np.ndarray:
    r"""The table for tokens made of `token_class` (a class of `re`: r"\w" or r"\S"), uint32 (code
    points).

    Surrogates, which no UTF-8 holds, are never kept.
    """
    every = np.arange(NUM_CODE_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    if lowercase:
        every = "".join(_lowered(every[lo : lo + 4096]) for lo in range(0, len(every), 4096))
    table = np.frombuffer(every.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)
    in_token = np.zeros(NUM_CODE_POINTS, np.bool_)
    for run in re.finditer(token_class + "+", every):
        in_token[run.start() : run.end()] = True
    in_token[0xD800:0xE000] = False
    table[in_token] |= IN_TOKEN
    table.flags.writeable = False
    return table


def _lowered(chars: str) -> str:
    """Each character's own lower-case form; one with a longer form stays as it is."""
    if not any(char in chars for char in HARD_TO_LOWER):
        return chars.lower()
    return "".join(low if len(low := char.lower()) == 1 else char for char in chars)
