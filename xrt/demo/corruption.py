"""Damage to texts as shops do it: typos, dropped vowels, words and texts cut short.

What happens to a text depends on the text, the kind, the rate and the seed only, not on the texts
beside it. A higher rate hits what a lower one hits, and more.
"""

import random
import re
from collections.abc import Callable, Sequence
from enum import Enum

from xrt.errors import ConfigError

_WORD = re.compile(r"[^\W\d_]+")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_VOWELS = frozenset("aeiouäöüáéíóúàèìòùâêîôû")
_SHORTEST_TYPO, _SHORTEST_CUT, _KEPT = 3, 5, 3


class CorruptionKind(str, Enum):
    """`typos`: a share `rate` of the words of three letters or more gets one slip: a letter swapped
    with the next, replaced, lost, or one put in. `vowels`: such a share of the words loses the
    vowels after its first letter. `words`: such a share of the words of five letters or more is cut
    to its first three or more. `text`: the last share `rate` of the words is gone, one at least
    stays.
    """

    TYPOS = "typos"
    VOWELS = "vowels"
    WORDS = "words"
    TEXT = "text"


def corrupt(
    texts: Sequence[str], kind: CorruptionKind | str, rate: float, seed: int = 0
) -> list[str]:
    """The texts damaged in one way; numbers and signs stay, rate 0 changes nothing.

    Args:
        texts: the texts.
        kind: the way, or its name.
        rate: the share of words that are damaged, or cut off; 0 to 1.
        seed: of chance.

    Returns:
        As many texts, in order.

    Raises:
        ConfigError: the kind is unknown, or the rate not in 0..1.
    """
    try:
        kind = CorruptionKind(kind)
    except ValueError:
        names = ", ".join(choice.value for choice in CorruptionKind)
        raise ConfigError(f"corruption kind {kind!r} is unknown; choose one of {names}") from None
    if not 0 <= rate <= 1:
        raise ConfigError(f"corruption rate = {rate}: must lie in 0..1")
    if kind is CorruptionKind.TEXT:
        return [cut_text(text, rate) for text in texts]
    damage, shortest = _DAMAGE[kind]
    return [_corrupted(text, kind, rate, seed, damage, shortest) for text in texts]


def _corrupted(
    text: str,
    kind: CorruptionKind,
    rate: float,
    seed: int,
    damage: Callable[[str, random.Random], str],
    shortest: int,
) -> str:
    rng = random.Random(f"{seed} {kind.value} {text}")

    def one(match: re.Match[str]) -> str:
        word = match[0]
        if len(word) < shortest:
            return word
        own = random.Random(rng.getrandbits(64))  # so that no word's damage shifts the next one's
        return damage(word, own) if own.random() < rate else word

    return _WORD.sub(one, text)


def with_slip(word: str, rng: random.Random) -> str:
    """One letter swapped with the next, replaced, lost, or a new one put in.

    Args:
        word: the word, of two letters or more.
        rng: where chance comes from.

    Returns:
        The word with the slip.
    """
    slip = rng.randrange(4)
    at = rng.randrange(len(word) - 1 if slip == 0 else len(word))
    letter = rng.choice(_LETTERS)
    if slip == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if slip == 1:
        return word[:at] + letter + word[at + 1 :]
    if slip == 2:
        return word[:at] + word[at + 1 :]
    return word[:at] + letter + word[at:]


def without_vowels(word: str, rng: random.Random | None = None) -> str:
    """The word without the vowels after its first letter; a word of vowels only stays.

    Args:
        word: the word, not empty.
        rng: not used.

    Returns:
        The word.
    """
    short = word[0] + "".join(letter for letter in word[1:] if letter.lower() not in _VOWELS)
    return short if len(short) > 1 else word


def cut_word(word: str, rng: random.Random) -> str:
    """The first three letters or more of a longer word, not all.

    Args:
        word: the word, of four letters or more.
        rng: where chance comes from.

    Returns:
        The beginning of the word.
    """
    return word[: rng.randrange(_KEPT, len(word))]


def cut_text(text: str, rate: float) -> str:
    """The text without the last share `rate` of its words, one at least kept.

    Args:
        text: the text.
        rate: 0 to 1.

    Returns:
        The beginning of the text.
    """
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    if not ends:
        return text
    num_kept = max(1, len(ends) - int(rate * len(ends) + 0.5))
    return text if num_kept == len(ends) else text[: ends[num_kept - 1]]


_DAMAGE: dict[CorruptionKind, tuple[Callable[[str, random.Random], str], int]] = {
    CorruptionKind.TYPOS: (with_slip, _SHORTEST_TYPO),
    CorruptionKind.VOWELS: (without_vowels, _SHORTEST_TYPO),
    CorruptionKind.WORDS: (cut_word, _SHORTEST_CUT),
}
