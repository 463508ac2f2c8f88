"""Invented makers for the demo catalogue: names, short forms, product lines, departments.

Some names share a word ("Norvelle", "Norvelle Home"), some are made of ordinary words that also
stand in titles ("Silver Fern"), and a line ("Tavola") belongs to one maker, at times to two.
"""

from dataclasses import dataclass

import numpy as np

from xrt.demo.vocabulary import Vocabulary

_STARTS = "b br c ch cl d dr f fl g gl h j k kl l m n p pl qu r s sk st t tr v w z vr".split()
_VOWELS = "a e i o u a e i o ai ea io ou ei au".split()
_MIDDLES = "l n r v m s t d nd lt rv ll mb x ss rn lv nt rk".split()
_ENDS = "n r s l x a o e ia is en um elle ex ara ino ent ova ard eth".split()
_SHARE_OF_LINES_SHARED = 0.08


@dataclass(frozen=True)
class Brand:
    """A maker: name, short forms, product lines, and the departments (positions) it sells in."""

    name: str
    short_forms: tuple[str, ...]
    lines: tuple[str, ...]
    departments: tuple[int, ...]


def invent_brands(
    num_brands: int, departments: list[str], vocabulary: Vocabulary, rng: np.random.Generator
) -> list[Brand]:
    """Invent `num_brands` makers with distinct names; every department gets at least one.

    Args:
        num_brands: how many brands.
        departments: names of the departments, each `top > ...`.
        vocabulary: the words of which names are made.
        rng: where chance comes from.

    Returns:
        The brands.
    """
    names: set[str] = set()
    coined: list[str] = []
    brands: list[Brand] = []
    lines: list[str] = []
    for i in range(num_brands):
        main = i if i < len(departments) else _pick(rng, len(departments))
        sold_in = {main: None}
        if rng.random() < 0.35:
            sold_in[_pick(rng, len(departments))] = None
        name = _fresh_name(rng, vocabulary, departments[main].split(" > ")[0], coined, names)
        own = [_line(rng, lines) for _ in range(1 + _pick(rng, 3))]
        brands.append(Brand(name, short_forms(name), tuple(own), tuple(sold_in)))
    return brands


def _pick(rng: np.random.Generator, n: int) -> int:
    return int(rng.random() * n)


def _choose(rng: np.random.Generator, words: tuple[str, ...] | list[str]) -> str:
    return words[_pick(rng, len(words))]


def coin_word(rng: np.random.Generator) -> str:
    """A pronounceable word of two or three syllables, such as "Norvelle".

    Args:
        rng: where chance comes from.

    Returns:
        The word, with a capital.
    """
    parts = [_choose(rng, _STARTS), _choose(rng, _VOWELS), _choose(rng, _MIDDLES)]
    if rng.random() < 0.55:
        parts += [_choose(rng, _VOWELS), _choose(rng, _MIDDLES)]
    end = _choose(rng, _ENDS)
    if end[0] not in "aeiou":
        parts.append(_choose(rng, _VOWELS))
    return "".join([*parts, end]).capitalize()


def _fresh_name(
    rng: np.random.Generator,
    vocabulary: Vocabulary,
    top: str,
    coined: list[str],
    taken: set[str],
) -> str:
    firsts = vocabulary.words["brand-first"]["names"]
    seconds = vocabulary.words["brand-second"]["names"]
    tails = vocabulary.words["brand-tail"].get(top, ("Works",))
    while True:
        kind = rng.random()
        if kind < 0.2:
            name = f"{_choose(rng, firsts)} {_choose(rng, seconds)}"
        elif kind < 0.28:
            name = f"{_choose(rng, seconds)} & {coin_word(rng)}"
        else:
            reused = kind < 0.5 and coined
            word = _choose(rng, coined) if reused else coin_word(rng)
            coined.append(word)
            name = f"{word} {_choose(rng, tails)}" if kind < 0.6 else word
        if name not in taken:
            taken.add(name)
            return name


def short_forms(name: str) -> tuple[str, ...]:
    """How shops write the name: as it is, in capitals, small, and shortened.

    Args:
        name: the brand's name.

    Returns:
        The forms, the name itself first.
    """
    words = name.replace("&", " ").split()
    if len(words) > 1:
        initials = "&" if "&" in name else ""
        short = initials.join(word[0] for word in words)
        return (name, name.upper(), name.lower(), short, f"{words[0]} {words[1][:3]}.")
    consonants = name[0] + "".join(letter for letter in name[1:] if letter not in "aeiou")
    return (name, name.upper(), name.lower(), consonants[:3].upper(), f"{name[:4]}.")


def _line(rng: np.random.Generator, lines: list[str]) -> str:
    if lines and rng.random() < _SHARE_OF_LINES_SHARED:
        return _choose(rng, lines)
    word = coin_word(rng)
    if rng.random() < 0.3:
        word += f" {1 + _pick(rng, 9)}00"
    lines.append(word)
    return word
