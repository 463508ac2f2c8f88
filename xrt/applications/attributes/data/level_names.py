"""What the name of a column says: its words, and which level of a hierarchy it names.

`CategoryText`, `category_text` and `Category Text` are the words category and text. `L1`, `lvl 2`,
`category_3`, `sub_category` and `SubSubCategory` count: they name levels of a hierarchy.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_WORDS = re.compile(r"[^\W\d_]+|\d+")
_SAME = {
    word: to
    for to, words in {
        "level": "l lv lvl lev levels ebene stufe niveau nivel livello",
        "category": "cat cats categ categories kategorie kategorien categorie categoria categorias "
        "categoría catégorie catégories kategoria",
        "department": "dept departments",
        "sub": "sous unter sotto",
        "main": "top root parent super primary haupt principal",
    }.items()
    for word in words.split()
}
_NUMBERS = {
    word: number
    for number, words in enumerate(
        ("one first", "two second secondary", "three third tertiary", "four fourth quaternary",
         "five fifth", "six sixth"), 1,
    )
    for word in words.split()
}  # fmt: skip
LEVEL_WORDS = frozenset(
    "level category department taxonomy hierarchy tier class segment family group division section "
    "node branch rubric warengruppe produktgruppe".split()
)
"""Nouns that a number behind or before them makes a level."""
_FILLERS = frozenset("text name label title value product item".split())
_PREFIXES = {"sub": 1, "main": -1}


class LevelName(NamedTuple):
    """`base`: the words that the levels of one hierarchy share; `depth`: sorts them, coarse to
    fine. `counts`: whether the name by itself says that it is a level, as `L2` or `sub_category`
    do and `category` does not.
    """

    base: tuple[str, ...]
    depth: tuple[int, int]
    counts: bool


def split_name(name: str) -> list[str]:
    """The words of a column's name, small: letters and numbers apart, camel case split."""
    return [word.lower() for part in _WORDS.findall(name) for word in _case_words(part)]


def _case_words(word: str) -> Iterable[str]:
    start = 0
    for i in range(1, len(word)):
        tail = word[i + 1 :]
        before_small = tail[:1].islower() and tail != "s"  # URLs is one word
        if word[i].isupper() and (word[i - 1].islower() or before_small):
            yield word[start:i]
            start = i
    yield word[start:]


def parse_level_name(name: str) -> LevelName | None:
    """Which level a column's name may stand for; None where it has two numbers or no noun."""
    words = [part for word in split_name(name) for part in _without_prefixes(word)]
    numbers = [
        int(word[:6]) if word.isdecimal() else _NUMBERS[word]
        for word in words
        if word.isdecimal() or word in _NUMBERS
    ]
    nouns = [w for w in words if not (w.isdecimal() or w in _NUMBERS or w in _PREFIXES)]
    main_nouns = [word for word in nouns if word not in _FILLERS] or nouns
    base = tuple(word for word in main_nouns if word != "level") or tuple(main_nouns[:1])
    if len(numbers) > 1 or not base:
        return None
    shift = sum(_PREFIXES.get(word, 0) for word in words)
    is_level = bool(LEVEL_WORDS.intersection(main_nouns))
    if numbers and not is_level:
        return None
    depth = (shift, numbers[0] if numbers else 0)
    return LevelName(base, depth, counts=is_level and (bool(numbers) or shift > 0))


def _without_prefixes(word: str) -> list[str]:
    """`subcategory` as `sub`, `category`; a word of its own where nothing is before it."""
    word = _SAME.get(word, word)
    for prefix in ("sub", "sous", "unter", "main", "haupt"):
        noun = _SAME.get(word.removeprefix(prefix), word.removeprefix(prefix))
        if word.startswith(prefix) and (noun in LEVEL_WORDS or noun.startswith(prefix)):
            return [_SAME.get(prefix, prefix), *_without_prefixes(noun)]
    return [word]


def find_counted_levels(names: Sequence[str]) -> list[str]:
    """The most columns whose names count as levels of one hierarchy, coarse to fine; [] where fewer
    than two do.

    A column without number or prefix (`category`) is the top level of those that have one. Of
    columns of the same depth the first counts.
    """
    series: dict[tuple[str, ...], dict[tuple[int, int], str]] = {}
    for name in names:
        level = parse_level_name(name)
        if level is not None:
            series.setdefault(level.base, {}).setdefault(level.depth, name)
    best = max(series.values(), key=len, default={})
    return [best[depth] for depth in sorted(best)] if len(best) > 1 else []
