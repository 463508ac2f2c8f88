"""Made-up words and how texts are written of them, with and without blanks.

Words are made of syllables or characters that a seed draws; the texts mean nothing, but their words
repeat as words do, and stand together as in the language of that name.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

HAN = (0x4E00, 0x9FA5)
HIRAGANA_PARTICLES = ("の", "を", "に", "は", "が", "で", "と", "から", "まで", "する", "した", "")
KATAKANA = (0x30A2, 0x30F3)
THAI_CONSONANTS = (0x0E01, 0x0E2E)
THAI_LEADING = ("", "", "", "เ", "แ", "โ", "ไ")
THAI_VOWELS = ("ะ", "า", "ิ", "ี", "ุ", "ู", "")
THAI_TONES = ("", "", "่", "้")
LINKS = ("", "", "s", "n", "en")
"""Between the stems of a German compound."""


@dataclass(frozen=True)
class Writing:
    """A vocabulary's maker, and how a text is written of words."""

    word: Callable[[np.random.Generator], str]
    text: Callable[[Sequence[str]], str]
    blanks: bool = True
    """Whether blanks stand between words."""

    def words(self, num_words: int, rng: np.random.Generator) -> list[str]:
        """So many different words."""
        words: dict[str, None] = {}
        while len(words) < num_words:
            words[self.word(rng)] = None
        return list(words)


def syllables(rng: np.random.Generator) -> str:
    """A word of one to four syllables."""
    consonants, vowels = "bdfgklmnprstvz", "aeiou"
    return "".join(
        consonants[rng.integers(len(consonants))] + vowels[rng.integers(len(vowels))]
        for _ in range(rng.integers(1, 5))
    ) + ("", "n", "r", "s")[rng.integers(4)]  # fmt: skip


def stem(rng: np.random.Generator) -> str:
    """A stem of two or three syllables, which ends in a consonant."""
    return syllables(rng) + syllables(rng)[0] + "aeiou"[rng.integers(5)] + "lnrt"[rng.integers(4)]


def han(rng: np.random.Generator) -> str:
    """A word of one to three characters out of 1,200."""
    num = (1, 2, 2, 2, 3)[rng.integers(5)]
    step = (HAN[1] - HAN[0]) // 1200
    return "".join(chr(HAN[0] + step * int(place)) for place in rng.integers(1200, size=num))


def japanese_word(rng: np.random.Generator) -> str:
    """Two characters of Chinese origin, or three to five of katakana."""
    if rng.random() < 0.7:
        step = (HAN[1] - HAN[0]) // 800
        return "".join(chr(HAN[0] + step * int(place)) for place in rng.integers(800, size=2))
    return "".join(chr(c) for c in rng.integers(*KATAKANA, size=int(rng.integers(3, 6))))


def thai_word(rng: np.random.Generator) -> str:
    """One to three syllables of consonant, vowel and tone."""
    parts = []
    for _ in range(rng.integers(1, 4)):
        consonants = [chr(c) for c in rng.integers(*THAI_CONSONANTS, size=2)]
        lead = THAI_LEADING[rng.integers(len(THAI_LEADING))]
        vowel = "" if lead else THAI_VOWELS[rng.integers(len(THAI_VOWELS))]
        final = consonants[1] if rng.random() < 0.5 else ""
        parts.append(lead + consonants[0] + vowel + THAI_TONES[rng.integers(4)] + final)
    return "".join(parts)


def chosen(options: Sequence[str], word: str, neighbour: str = "") -> str:
    """One of the options, always the same for the same words."""
    return options[zlib.crc32(f"{word} {neighbour}".encode()) % len(options)]


def with_blanks(words: Sequence[str]) -> str:
    """Words with blanks between them."""
    return " ".join(words)


def chinese_text(words: Sequence[str]) -> str:
    """Nothing between words, a comma after every eight."""
    return in_clauses(words, 8, "，")


def japanese_text(words: Sequence[str]) -> str:
    """A particle behind each word, a full stop after every ten."""
    following = [*words[1:], ""]
    written = [
        word + chosen(HIRAGANA_PARTICLES, word, after)
        for word, after in zip(words, following, strict=True)
    ]
    return in_clauses(written, 10, "。")


def thai_text(words: Sequence[str]) -> str:
    """Nothing between words, a blank after every eight."""
    return in_clauses(words, 8, " ")


def in_clauses(words: Sequence[str], length: int, sign: str) -> str:
    """Words without blanks, a sign between clauses."""
    clauses = ("".join(words[start : start + length]) for start in range(0, len(words), length))
    return sign.join(clauses)


def german_text(words: Sequence[str]) -> str:
    """Two of three words stand in a compound of two, as its first or second stem."""
    written, place = [], 0
    while place < len(words):
        word, after = words[place], words[place + 1] if place + 1 < len(words) else ""
        if after and chosen(("join", "alone"), word, after) == "join":
            written.append((word + chosen(LINKS, word) + after).capitalize())
            place += 2
        else:
            written.append(word.capitalize())
            place += 1
    return " ".join(written)


WORDS = Writing(syllables, with_blanks)
CHINESE = Writing(han, chinese_text, blanks=False)
JAPANESE = Writing(japanese_word, japanese_text, blanks=False)
THAI = Writing(thai_word, thai_text, blanks=False)
GERMAN = Writing(stem, german_text)
