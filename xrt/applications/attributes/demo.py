"""The demo catalogue as a wide table: one column for each attribute, at any number of rows.

The products and titles are those of `xrt.demo.catalogue` for the same seed and settings; the
category has five levels (`xrt.applications.attributes.demo_taxonomy`), and each row comes from a
store.
"""

import csv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from xrt.applications.attributes.demo_taxonomy import NUM_LEVELS, DemoTaxonomy
from xrt.demo.brands import coin_word
from xrt.demo.catalogue import CHUNK_ROWS, DemoParams, DemoWorld
from xrt.demo.text import wording
from xrt.errors import ConfigError
from xrt.storage.atomic import atomic_file

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
    """The first rows of the table with this seed, as observed and as they truly are."""
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
        """The rows of chunk `number`, as observed and as they truly are."""
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
