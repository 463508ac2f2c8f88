"""The demo catalogue as a wide table: one column for each attribute, at any number of rows.

The products and titles are those of `xrt.demo.catalogue` for the same seed and settings; each row
comes from a store. The category has five levels, deeper than the product types:

- L0: the department ("Kitchen").
- L1: the group of product types ("Kettles"); one of three types or more is split into them.
- L2: the product by the noun of its title ("Skillet"), or by the first use of its type where the
  title has that instead ("Frying pans for everyday cooking").
- L3: one of the two usual nouns with a feature that stands in the title ("Enamelled skillet").
- L4: such a product of the usual noun, by its size ("Enamelled frying pan, large").

A path ends above a level for which the product has nothing. Each value has one parent: a name that
two parents would share is followed by its parent.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xrt.demo.brands import coin_word
from xrt.demo.catalogue import CHUNK_ROWS, DemoParams, DemoWorld
from xrt.demo.text import Wording, wording
from xrt.demo.vocabulary import ProductType
from xrt.errors import ConfigError
from xrt.storage.atomic import atomic_file

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
        """The values of a product, coarse to fine: two to five.

        Args:
            type_index: The position of the product's type.
            wording: Which of its words the product is named with.
            is_sized: Whether the product has a size.
            is_large: Whether that is one of the larger half of sizes.

        Returns:
            The values, one a level.
        """
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


NUM_BRANDS = 14_262
NO_VALUE = "na"
LEVELS = tuple(f"L{level}" for level in range(NUM_LEVELS))
COLUMNS = ("title", "description", "price", "store", "brand", *LEVELS)
NUM_STORES = 48
_FILES = ("trn", "tst", "tst_truth")
_STORES_OF_DEPARTMENT = 6
_MISSING_STORE = 0.05
_STORE_WORLD_STREAM, _STORE_STREAM = 2, 3  # beside those of xrt.demo.catalogue


def write_attribute_demo(
    folder: str | Path,
    num_train: int,
    num_test: int,
    seed: int = 0,
    params: DemoParams | None = None,
) -> None:
    """Write `trn.csv`, `tst.csv` and `tst_truth.csv` to `folder`, each whole or not at all.

    Columns are `COLUMNS`. In `trn.csv` and `tst.csv` a target is '' where the catalogue lost it;
    `tst_truth.csv` has the true values for the same rows. `na` stands in levels below the end of a
    path. The test rows are those that follow the training rows. Without `params` there are
    `NUM_BRANDS` makers. Rows are written as they are made.

    Raises ConfigError: a number or the seed is negative.

    Args:
        folder: Where the files are written.
        num_train: Rows of `trn.csv`.
        num_test: Rows of `tst.csv`.
        seed: The same seed and `params` give the same rows.
        params: The settings of the demo's world, or None.
    """
    if min(num_train, num_test, seed) < 0:
        raise ConfigError(
            f"num_train = {num_train}, num_test = {num_test}, seed = {seed}: none may be negative"
        )
    folder = Path(folder)
    rows = attribute_rows(num_train + num_test, seed, params)
    with ExitStack() as stack:
        files = [stack.enter_context(atomic_file(folder / f"{name}.csv")) for name in _FILES]
        opened = [
            stack.enter_context(open(path, "w", encoding="utf-8", newline="")) for path in files
        ]
        train, test, truth = (csv.writer(file, lineterminator="\n") for file in opened)
        for writer in (train, test, truth):
            writer.writerow(COLUMNS)
        for i, (observed, true) in enumerate(rows):
            if i < num_train:
                train.writerow(observed)
            else:
                test.writerow(observed)
                truth.writerow(true)


def attribute_rows(
    num_rows: int, seed: int = 0, params: DemoParams | None = None
) -> Iterator[tuple[list[str], list[str]]]:
    """The first rows of the table with this seed, as observed and as they truly are.

    Args:
        num_rows: How many rows.
        seed: The seed of the world.
        params: Its settings; None: the defaults, with `NUM_BRANDS` makers.

    Yields:
        The cells of a row as observed, and as they truly are.
    """
    world = AttributeWorld(params or DemoParams(num_brands=NUM_BRANDS), seed)
    for chunk, start in enumerate(range(0, num_rows, CHUNK_ROWS)):
        for row, _ in zip(world.rows(chunk), range(num_rows - start), strict=False):
            yield row


class AttributeWorld:
    """The demo's world with deep categories and stores."""

    def __init__(self, params: DemoParams, seed: int) -> None:
        self.world = DemoWorld(params, seed)
        self.taxonomy = DemoTaxonomy(self.world.types)
        rng = np.random.default_rng([seed, _STORE_WORLD_STREAM])
        stores = dict.fromkeys(f"{coin_word(rng)} Store" for _ in range(2 * NUM_STORES))
        self.stores = list(stores)[:NUM_STORES]
        num_departments = int(self.world.department_of_type.max()) + 1
        picks = rng.random((num_departments, NUM_STORES)).argsort(axis=1, kind="stable")
        self.stores_of_department = picks[:, :_STORES_OF_DEPARTMENT]

    def rows(self, number: int) -> Iterator[tuple[list[str], list[str]]]:
        """The rows of chunk `number`, as observed and as they truly are.

        Args:
            number: The number of the chunk, from 0.

        Yields:
            The cells of a row as observed, and as they truly are.
        """
        world, taxonomy = self.world, self.taxonomy
        drawn = world.draw(number)
        columns: list[list[Any]] = [column.tolist() for column in drawn]
        for t, b, listed, c, s, cents, priced, has_brand, _, _, whole, u, store in zip(
            *columns, self._stores(number, drawn.types), strict=True
        ):
            product, sizes = world.types[t], world.sizes_of_type[t]
            size = sizes[s] if s >= 0 else ""
            price = cents / 100 if priced else None
            color = world.colors[c] if c >= 0 else ""
            title, description = world.writer.write(product, b, color, size, price, u)
            path = taxonomy.path(t, wording(product, u), s >= 0, 2 * s >= len(sizes))
            ending = [NO_VALUE] * (NUM_LEVELS - len(path))
            catalogue_path = path if whole else [*path[:-1], ""]
            item = [title, description, "" if price is None else f"{price:.2f}", store]
            catalogue_brand = world.brands[listed].name if has_brand else ""
            yield (
                [*item, catalogue_brand, *catalogue_path, *ending],
                [*item, world.brands[b].name, *path, *ending],
            )

    def _stores(self, number: int, types: np.ndarray) -> list[str]:
        """A store for each row: the department's first ones most often, '' where it is unknown."""
        rng = np.random.default_rng([self.world.seed, _STORE_STREAM, number])
        ranks = (rng.random(len(types)) ** 2 * _STORES_OF_DEPARTMENT).astype(np.int64)
        stores = self.stores_of_department[self.world.department_of_type[types], ranks]
        stores[rng.random(len(types)) < _MISSING_STORE] = len(self.stores)
        names = [*self.stores, ""]
        return [names[i] for i in stores.tolist()]
