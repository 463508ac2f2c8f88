r"""What each character is to a word: a table with one entry for each code point.

An entry is the lower-case code point (or the same one, where case is kept) plus flags. Python's
`re` and `str.lower` say which characters belong to words and what their lower-case forms are. Two
characters do not fit a table: 'İ', whose lower-case form is two characters, and 'Σ', whose form
depends on its neighbours. Texts with one of these are lowered by Python first; the table then
changes nothing.

A table by `\w` alone shreds most of the world's scripts, so tables with `scripts` know more:

- Chinese, Japanese, Thai, Lao, Khmer and Burmese have no blanks between words. Their letters are
  `UNSPACED`: a run of them is cut into units, each a letter with what cannot stand without it
  (vowel signs, tone marks, the consonant below a Khmer coeng). Terms are n-grams of units.
- Combining marks (Devanagari vowel signs, say) are no `\w`. They continue a word, but begin none.
- Arabic and Hebrew vowel points, which a text may have or not, are skipped; so are the selectors of
  a glyph and joiners of no width, which are not letters.
- Full-width Latin and digits are ASCII.

`composed` does what needs more than one character: NFC, and half-width katakana.
"""

import re
import unicodedata
from functools import lru_cache

import numpy as np

from xrt.jit import njit

IN_TOKEN = np.uint32(1 << 31)
"""Belongs to words."""
UNSPACED = np.uint32(1 << 30)
"""A letter of a script without blanks between words."""
CONTINUES = np.uint32(1 << 29)
"""Belongs to the word or unit before it; a mark begins none."""
LEADS = np.uint32(1 << 28)
"""The next letter belongs to the same unit."""
SKIPPED = np.uint32(1 << 27)
"""Neither written nor the end of a word; together with CONTINUES only behind a mark."""
SPECIAL = np.uint32(UNSPACED | CONTINUES | LEADS | SKIPPED)
CODE_POINT = np.uint32((1 << 21) - 1)
NUM_CODE_POINTS = 0x110000
HARD_TO_LOWER = ("\u0130", "\u03a3")

_HIGHEST_MARK = 0x20000
"""All marks but the selectors of glyphs lie below it."""
_UNSPACED = (
    (0x0E01, 0x0E5C), (0x0E81, 0x0EE0),  # Thai, Lao
    (0x1000, 0x10A0), (0xA9E0, 0xAA00), (0xAA60, 0xAA80), (0x1780, 0x17E0),  # Burmese, Khmer
    (0x3005, 0x3008), (0x3041, 0x3100), (0x31F0, 0x3200), (0x1AFF0, 0x1B170),  # iteration, kana
    (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x3FFFE),  # Han
)  # fmt: skip
_LETTERS = ("Lo", "Lm", "Nl")
_FOLLOWING_VOWELS = (0x0E30, 0x0E32, 0x0E33, 0x0E45, 0x0EB0, 0x0EB2, 0x0EB3)
"""Letters to Unicode, but written behind the consonant that they belong to."""
_LEADING = (*range(0x0E40, 0x0E45), *range(0x0EC0, 0x0EC5), 0x1039, 0x17D2)
"""Vowels written before their consonant; the signs that stack the next consonant."""
_SKIPPED = (
    (0x0591, 0x05BE), (0x05BF, 0x05C0), (0x05C1, 0x05C3), (0x05C4, 0x05C6), (0x05C7, 0x05C8),
    (0x0610, 0x061B), (0x064B, 0x0653), (0x0670, 0x0671), (0x06D6, 0x06DD), (0x06DF, 0x06E5),
    (0x06E7, 0x06E9), (0x06EA, 0x06EE), (0x200D, 0x200E), (0xFE00, 0xFE10), (0xE0100, 0xE01F0),
)  # fmt: skip
_NON_JOINER = 0x200C
_HALF_MARKS = range(0xFE20, 0xFE30)
"""Library transliterations tie two letters with these; they stay the end of a word."""
_HALF_WIDTH = re.compile("[\uff65-\uff9f]+")
_GRAPHEME_JOINER = "\u034f"
"""Keeps a letter and its mark apart for sorting; without it they are one character."""


def is_unspaced(letter: str) -> bool:
    """Whether a character may be a letter of a script without blanks between words.

    Args:
        letter: one character.

    Returns:
        True where TF-IDF may take a run of them apart.
    """
    return any(low <= ord(letter) < high for low, high in _UNSPACED)


@lru_cache(maxsize=8)
def character_table(token_class: str, lowercase: bool, scripts: bool = False) -> np.ndarray:
    r"""The table for words made of `token_class` (a class of `re`: r"\w" or r"\S"), uint32 (code
    points).

    Surrogates, which no UTF-8 holds, are never kept.

    Args:
        token_class: the characters of a word.
        lowercase: whether characters become lower-case.
        scripts: whether full-width forms are folded and, where the class is r"\w", scripts without
            blanks and combining marks are known.

    Returns:
        The table, read-only.
    """
    every = np.arange(NUM_CODE_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    if scripts:
        ascii_forms = "".join(chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F))
        every = every[:0xFF01] + ascii_forms + every[0xFF5F:]
    if lowercase:
        every = "".join(_lowered(every[lo : lo + 4096]) for lo in range(0, len(every), 4096))
    table = np.frombuffer(every.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)
    in_token = np.zeros(NUM_CODE_POINTS, np.bool_)
    for run in re.finditer(token_class + "+", every):
        in_token[run.start() : run.end()] = True
    in_token[0xD800:0xE000] = False
    table[in_token] |= IN_TOKEN
    if scripts and token_class == r"\w":
        _mark_scripts(table)
    table.flags.writeable = False
    return table


def _mark_scripts(table: np.ndarray) -> None:
    """Set the flags of scripts without blanks, of marks and of what is skipped."""
    for first, end in _UNSPACED:
        for code in range(first, min(end, _HIGHEST_MARK)):
            if unicodedata.category(chr(code)) in _LETTERS:
                table[code] |= UNSPACED
        if first >= _HIGHEST_MARK:
            table[first:end][table[first:end] & IN_TOKEN != 0] |= UNSPACED
    for code in range(_HIGHEST_MARK):
        if unicodedata.category(chr(code)) in ("Mn", "Mc") and code not in _HALF_MARKS:
            table[code] |= CONTINUES
    table[list(_FOLLOWING_VOWELS)] |= CONTINUES
    table[list(_LEADING)] |= LEADS
    for first, end in _SKIPPED:
        table[first:end] = SKIPPED
    table[_NON_JOINER] = SKIPPED | CONTINUES


def _lowered(chars: str) -> str:
    """Each character's own lower-case form; one with a longer form stays as it is."""
    if not any(char in chars for char in HARD_TO_LOWER):
        return chars.lower()
    return "".join(low if len(low := char.lower()) == 1 else char for char in chars)


def composed(texts: list[str], encoded: bytes) -> list[str]:
    """Texts in NFC, and with half-width katakana made whole.

    Args:
        texts: the texts.
        encoded: all of them in UTF-8; a look at these bytes is faster than one at the characters.

    Returns:
        The list itself where nothing is to be changed.
    """
    uncomposed, half_width = _look_at(np.frombuffer(encoded, np.uint8))
    if uncomposed and not all(map(_is_composed, texts)):
        texts = [_composed(text) for text in texts]
    if half_width:
        texts = [_HALF_WIDTH.sub(_whole_katakana, text) for text in texts]
    return texts


@njit(nogil=True, cache=True)
def _look_at(encoded: np.ndarray) -> tuple[bool, bool]:
    """Whether UTF-8 may hold something that NFC changes, and half-width katakana.

    Blanks aside, NFC changes no text without a character for which this looks.
    """
    uncomposed, half_width = False, False
    for i in range(len(encoded)):
        byte = encoded[i]
        if byte < 0xCC:  # below U+0300
            continue
        if byte == 0xE2:  # U+2000 to U+2FFF: punctuation, and few that matter
            follower = encoded[i + 1]
            uncomposed |= 0x83 <= follower <= 0x84 or follower == 0x8C or follower >= 0xAB
        elif byte == 0xEF:  # U+F000 to U+FFFF
            follower = encoded[i + 1]
            uncomposed |= 0xA4 <= follower <= 0xAD or follower == 0xB8
            half_width |= 0xBD <= follower <= 0xBE
        elif byte == 0xCE:
            uncomposed |= encoded[i + 1] == 0x87
        elif byte == 0xD2:
            uncomposed |= 0x83 <= encoded[i + 1] <= 0x87
        else:
            uncomposed |= byte < 0xCE or byte >= 0xD6
    return uncomposed, half_width


def _is_composed(text: str) -> bool:
    return unicodedata.is_normalized("NFC", text) and _GRAPHEME_JOINER not in text


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace(_GRAPHEME_JOINER, ""))


def _whole_katakana(run: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", run[0])
