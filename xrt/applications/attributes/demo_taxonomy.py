"""Five category levels for the demo catalogue, deeper than its product types.

- L0: the department ("Kitchen").
- L1: the group of product types ("Kettles"); one of three types or more is split into them.
- L2: the product by the noun of its title ("Skillet"), or by the first use of its type where the
  title has that instead ("Frying pans for everyday cooking").
- L3: one of the two usual nouns with a feature that stands in the title ("Enamelled skillet").
- L4: such a product of the usual noun, by its size ("Enamelled frying pan, large").

A path ends above a level for which the product has nothing. Each value has one parent: a name that
two parents would share is followed by its parent.
"""

from collections import Counter
from dataclasses import dataclass

from xrt.demo.text import Wording
from xrt.demo.vocabulary import ProductType

NUM_LEVELS = 5
_LARGEST_GROUP = 2  # types of a group that stay one value of L1
_FEATURES_OF_SECOND_NOUN = 3
_FEATURES_BY_SIZE = 5


@dataclass(frozen=True)
class TypeLevels:
    """The values below and above one product type; of L2 by noun and by use, of L3 by noun and
    feature, of L4 by feature.
    """

    top: tuple[str, str]
    by_noun: tuple[str, ...]
    by_use: str
    by_feature: tuple[tuple[str, ...], ...]
    by_size: tuple[tuple[str, str], ...]


class DemoTaxonomy:
    """The levels of every product type."""

    def __init__(self, types: tuple[ProductType, ...]) -> None:
        self._parent_of: dict[tuple[int, str], str] = {}
        group_sizes = Counter(t.path[:3] for t in types)
        self.levels = [self._levels(t, group_sizes[t.path[:3]]) for t in types]

    def path(self, type_index: int, wording: Wording, is_sized: bool, is_large: bool) -> list[str]:
        """The values of a product, coarse to fine: two to five."""
        levels = self.levels[type_index]
        path = list(levels.top)
        if wording.use == 0:
            path.append(levels.by_use)
        if wording.noun < 0:
            return path
        path.append(levels.by_noun[wording.noun])
        features = levels.by_feature[wording.noun] if wording.noun < len(levels.by_feature) else ()
        if 0 <= wording.feature < len(features):
            path.append(features[wording.feature])
            if wording.noun == 0 and is_sized and wording.feature < len(levels.by_size):
                path.append(levels.by_size[wording.feature][is_large])
        return path

    def _levels(self, product: ProductType, group_size: int) -> TypeLevels:
        group = product.path[2] if group_size <= _LARGEST_GROUP else product.path[-1]
        top = self._name(0, product.path[1], product.path[0])
        second = self._name(1, group, top)
        nouns = [self._name(2, _capitalised(noun), second) for noun in product.nouns]
        use = self._name(2, f"{product.path[-1]} for {product.uses[0]}", second)
        numbers = (len(product.features), _FEATURES_OF_SECOND_NOUN)
        features = [
            tuple(
                self._name(3, f"{_capitalised(feature)} {noun[0].lower()}{noun[1:]}", noun)
                for feature in product.features[:number]
            )
            for noun, number in zip(nouns, numbers, strict=False)
        ]
        sizes = [
            (self._name(4, f"{name}, small", name), self._name(4, f"{name}, large", name))
            for name in features[0][: _FEATURES_BY_SIZE if product.size_scheme != "one" else 0]
        ]
        return TypeLevels((top, second), tuple(nouns), use, tuple(features), tuple(sizes))

    def _name(self, level: int, name: str, parent: str) -> str:
        if self._parent_of.setdefault((level, name), parent) != parent:
            name = f"{name} ({parent})"
            self._parent_of[level, name] = parent
        return name


def _capitalised(words: str) -> str:
    return words[0].upper() + words[1:]
