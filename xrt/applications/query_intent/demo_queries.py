"""What shoppers of the demo catalogue type, and what they mean by it.

A query is written for a product that the shopper has in mind: some of its true attribute values,
in the words of shoppers (short forms, product lines instead of the maker, other nouns, slips of
the finger). Those values are its true labels; of a category all steps of the path are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xrt.demo.catalogue import DemoWorld
from xrt.demo.text import skewed, with_typo

BRAND, TYPE, COLOR, SIZE = "brand", "category", "color", "size"
NUM_DRAWS = 20
# Which attributes a query names, with shares; what the product lacks is left out.
_KINDS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.25, (BRAND, TYPE)),
    (0.16, (TYPE,)),
    (0.12, (BRAND,)),
    (0.14, (TYPE, COLOR)),
    (0.10, (TYPE, SIZE)),
    (0.04, (BRAND, COLOR)),
    (0.04, (BRAND, SIZE)),
    (0.08, (BRAND, TYPE, COLOR)),
    (0.05, (BRAND, TYPE, SIZE)),
    (0.02, (TYPE, COLOR, SIZE)),
)
_KIND_SHARES = np.cumsum([share for share, _ in _KINDS]).tolist()
# Cumulated shares of queries that name the maker in full, by a product line, by the first word of
# the name; the others use a short form.
_FULL, _LINE, _FIRST_WORD = 0.50, 0.78, 0.90
_SHARE_INNER_CATEGORY = 0.2
_SHARE_TYPO = 0.12
_SHARE_SHORTENED = 0.08


@dataclass(frozen=True)
class DemoQuery:
    """A query (small letters, single blanks), its true labels, and those of them that are not an
    ancestor of another: what an item must have to be what was meant.
    """

    text: str
    labels: tuple[str, ...]
    goal_labels: tuple[str, ...]


class Product(NamedTuple):
    """What a shopper has in mind: positions in the world's lists; '' for no colour or size."""

    type: int
    brand: int
    color: str
    size: str


class ProductReader:
    """Finds a product's parts from its true labels."""

    def __init__(self, world: DemoWorld) -> None:
        self._types = {labels[-1]: i for i, labels in enumerate(world.category_labels)}
        self._brands = {f"brand={brand.name}": i for i, brand in enumerate(world.brands)}

    def read(self, true_labels: Sequence[str]) -> Product:
        """The product with these labels.

        Args:
            true_labels: Labels `attribute=value` of an item, with its brand and type.

        Returns:
            The product; '' for a colour or size that no label names.
        """
        values = {label.partition("=")[0]: label for label in true_labels}
        color = values.get(COLOR, "").partition("=")[2]
        size = values.get(SIZE, "").partition("=")[2]
        return Product(self._types[values[TYPE]], self._brands[values[BRAND]], color, size)


class QueryWriter:
    """Writes a query from a product and `NUM_DRAWS` uniform draws in [0, 1)."""

    def __init__(self, world: DemoWorld) -> None:
        self.world = world

    def write(self, product: Product, u: Sequence[float]) -> DemoQuery:
        """The query and what is meant by it.

        Args:
            product: What the shopper has in mind.
            u: `NUM_DRAWS` uniform draws in [0, 1), which decide what is written, and how.

        Returns:
            The query and what is meant by it.
        """
        kind = int(np.searchsorted(_KIND_SHARES, u[0], side="right"))
        attributes = _KINDS[min(kind, len(_KINDS) - 1)][1]
        labels: list[str] = []
        goal_labels: list[str] = []
        words: dict[str, str] = {}
        if BRAND in attributes:
            words[BRAND] = self._maker(product.brand, u[1], u[2])
            labels.append(f"brand={self.world.brands[product.brand].name}")
            goal_labels.append(labels[-1])
        if TYPE in attributes:
            words[TYPE], path = self._thing(product.type, u[3], u[4], u[5])
            labels += path
            goal_labels.append(path[-1])
        for name, value in ((COLOR, product.color), (SIZE, product.size)):
            if name in attributes and value:
                words[name] = self._word(name, value, u[6 if name == COLOR else 7])
                labels.append(f"{name}={value}")
                goal_labels.append(labels[-1])
        text = " ".join(words[name] for name in _order(u[8]) if name in words).lower()
        if u[9] < _SHARE_SHORTENED:
            text = self._shortened(text)
        if u[10] < _SHARE_TYPO and len(text) > 3:
            text = with_typo(text, u[11], u[12])
        return DemoQuery(" ".join(text.split()), tuple(labels), tuple(goal_labels))

    def _maker(self, brand_index: int, how: float, which: float) -> str:
        brand = self.world.brands[brand_index]
        if how < _FULL:
            return brand.name
        if how < _LINE:
            return brand.lines[int(which * len(brand.lines))]
        if how < _FIRST_WORD:
            return brand.name.split()[0]
        return brand.short_forms[3 if which < 0.5 else 4]

    def _thing(
        self, type_index: int, how: float, which: float, form: float
    ) -> tuple[str, list[str]]:
        """The noun with the whole path, or the name of an inner category with the path so far."""
        path = self.world.category_labels[type_index]
        if how < _SHARE_INNER_CATEGORY and len(path) > 2:
            depth = 1 + int(which * (len(path) - 2))
            return self.world.types[type_index].path[depth], path[: depth + 1]
        return skewed(self.world.types[type_index].nouns, form), path

    def _word(self, name: str, value: str, draw: float) -> str:
        writer = self.world.writer
        return skewed((writer.color_words if name == COLOR else writer.size_forms)[value], draw)

    def _shortened(self, text: str) -> str:
        for word, short in self.world.writer.abbreviations.items():
            if word in text:
                return text.replace(word, short)
        return text


def _order(draw: float) -> tuple[str, ...]:
    if draw < 0.6:
        return (BRAND, COLOR, TYPE, SIZE)
    return (BRAND, TYPE, SIZE, COLOR) if draw < 0.85 else (COLOR, TYPE, BRAND, SIZE)


def as_typed(text: str, how: float) -> str:
    """The query as one shopper types it: other case, more blanks, full-width letters.

    Args:
        text: The query in small letters with single blanks.
        how: A uniform draw in [0, 1) that chooses the way.

    Returns:
        The text as typed; unchanged below 0.72.
    """
    if how < 0.72:
        return text
    if how < 0.86:
        return text.title()
    if how < 0.91:
        return text.upper()
    if how < 0.97:
        return "  ".join(text.split()) + " "
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
