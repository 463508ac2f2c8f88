"""The demo catalogue: products of invented makers, as a shop lists them, with known true labels.

A label is `attribute=value`: `brand=Norvelle`, `color=blue`, `size=26 cm`, and each step of the
category path as one label: `category=Home`, `category=Home > Kitchen`, ... The
number of " > " is the level of a label.

Labels are Zipf-shaped. Titles have typos, shortened words, dropped words, synonyms; the maker is
often named only by a product line, sometimes not at all. Some true labels are missing from the
observed ones.

Rows come in chunks of 16,384; chunk c is drawn from the seed (seed, c), so row i is the same
whatever `num_rows`, and chunks may be made apart. Only numpy's Generator is used: same seed, same
bytes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xrt.data.labels import LABEL_TABLE_NAME, LabelTable
from xrt.demo.brands import Brand, invent_brands
from xrt.demo.text import TitleWriter
from xrt.demo.vocabulary import ProductType, load_vocabulary
from xrt.errors import ConfigError
from xrt.storage.atomic import atomic_file

CHUNK_ROWS = 16_384
DEFAULT_NUM_BRANDS = 3_500
DEFAULT_TRAIN_ROWS = 12_000
DEFAULT_TEST_ROWS = 2_000
_WORLD_STREAM, _ROW_STREAM = 0, 1


@dataclass(frozen=True, kw_only=True)
class DemoParams:
    """How the catalogue is drawn; the `missing_` rates are shares of rows that lose a true label.

    brand_exponent, type_exponent: Zipf exponents of makers and of product types.
    wrong_brand: share of rows whose observed brand is another one of the same department.
    """

    num_brands: int = DEFAULT_NUM_BRANDS
    brand_exponent: float = 0.75
    type_exponent: float = 0.9
    missing_brand: float = 0.04
    missing_color: float = 0.2
    missing_size: float = 0.15
    missing_depth: float = 0.08
    wrong_brand: float = 0.0

    def __post_init__(self) -> None:
        num_departments = len({t.department for t in load_vocabulary().types})
        if not num_departments <= self.num_brands <= 200_000:
            raise ConfigError(
                f"num_brands = {self.num_brands}: must lie in {num_departments}..200000, one for "
                "each department at least"
            )
        missing = ("missing_brand", "missing_color", "missing_size", "missing_depth")
        for name in (*missing, "wrong_brand"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: must lie in 0..1")
        for name in ("brand_exponent", "type_exponent"):
            if not 0 <= getattr(self, name) <= 3:
                raise ConfigError(f"{name} = {getattr(self, name)}: must lie in 0..3")


@dataclass(frozen=True)
class DemoCatalogue:
    """Rows as `{"title", "content", "price", "labels"}` and, in the same order, their true labels.

    `content` is '' for most rows and `price` None for some.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    true_labels: list[list[str]] = field(default_factory=list)


def demo_catalogue(
    num_rows: int = DEFAULT_TRAIN_ROWS, seed: int = 0, params: DemoParams | None = None
) -> DemoCatalogue:
    """The first `num_rows` rows of the catalogue with this seed, all in memory.

    Args:
        num_rows: how many rows.
        seed: of chance; at least 0.
        params: how large and how faulty the catalogue is; None for the defaults.

    Returns:
        The rows, and the labels that would be right.

    Raises:
        ConfigError: num_rows or seed is negative.
    """
    catalogue = DemoCatalogue()
    for chunk in demo_chunks(num_rows, seed, params):
        catalogue.rows.extend(chunk.rows)
        catalogue.true_labels.extend(chunk.true_labels)
    return catalogue


def demo_chunks(
    num_rows: int, seed: int = 0, params: DemoParams | None = None
) -> Iterator[DemoCatalogue]:
    """The rows of `demo_catalogue` in chunks of at most `CHUNK_ROWS`, made one after the other.

    Args:
        num_rows: as in `demo_catalogue`.
        seed: as in `demo_catalogue`.
        params: as in `demo_catalogue`.

    Yields:
        The chunks.

    Raises:
        ConfigError: num_rows or seed is negative.
    """
    if num_rows < 0 or seed < 0:
        raise ConfigError(f"num_rows = {num_rows}, seed = {seed}: neither may be negative")
    world = DemoWorld(params or DemoParams(), seed)
    for chunk, start in enumerate(range(0, num_rows, CHUNK_ROWS)):
        rows = world.chunk(chunk)
        size = min(CHUNK_ROWS, num_rows - start)
        yield DemoCatalogue(rows.rows[:size], rows.true_labels[:size])


def write_demo(
    folder: str | Path,
    num_train: int = DEFAULT_TRAIN_ROWS,
    num_test: int = DEFAULT_TEST_ROWS,
    seed: int = 0,
    params: DemoParams | None = None,
) -> None:
    """Write `trn.jsonl`, `tst.jsonl` and `labels.tsv` to `folder`, each whole or not at all.

    The test rows are those that follow the training rows. Each row also has `true_labels`: read
    them with `read_corpus(..., label_column="true_labels")`. `labels.tsv` names
    every label that occurs.

    Args:
        folder: the folder.
        num_train: rows of `trn.jsonl`.
        num_test: rows of `tst.jsonl`.
        seed: as in `demo_catalogue`.
        params: as in `demo_catalogue`.

    Raises:
        ConfigError: seed is negative.
    """
    folder = Path(folder)
    names: dict[str, str] = {}
    chunks = demo_chunks(num_train + num_test, seed, params)
    pairs = (pair for c in chunks for pair in zip(c.rows, c.true_labels, strict=True))
    for name, num_rows in (("trn.jsonl", num_train), ("tst.jsonl", num_test)):
        with atomic_file(folder / name) as path, open(path, "wb") as file:
            for _ in range(num_rows):
                row, true_labels = next(pairs)
                line = json.dumps({**row, "true_labels": true_labels}, ensure_ascii=False)
                file.write(line.encode() + b"\n")
                names.update((id, "") for id in (*true_labels, *row["labels"]))
    ids = sorted(names)
    LabelTable.from_ids(ids, [id.partition("=")[2] for id in ids]).write(folder / LABEL_TABLE_NAME)


class DrawnChunk(NamedTuple):
    """What is drawn for the rows of a chunk: positions, (n,) int64, and yes or no, n booleans.

    `listed` is the observed maker; `colors`, `sizes` are -1 where there is none; `cents` the price
    and `priced` whether it is told; the others tell which true labels are observed. `draws`: the
    title's, `TitleWriter.NUM_DRAWS` for each row.
    """

    types: np.ndarray
    brands: np.ndarray
    listed: np.ndarray
    colors: np.ndarray
    sizes: np.ndarray
    cents: np.ndarray
    priced: np.ndarray
    keep_brand: np.ndarray
    keep_color: np.ndarray
    keep_size: np.ndarray
    whole_path: np.ndarray
    draws: np.ndarray


class DemoWorld:
    """What all rows of a catalogue have in common: makers, and how often each thing is sold.

    Args:
        params: how large and how faulty the catalogue is.
        seed: of chance; at least 0.
    """

    def __init__(self, params: DemoParams, seed: int) -> None:
        rng = np.random.default_rng([seed, _WORLD_STREAM])
        vocabulary = load_vocabulary()
        self.params, self.seed = params, seed
        self.types: tuple[ProductType, ...] = vocabulary.types
        departments = list(dict.fromkeys(t.department for t in self.types))
        self.department_of_type = np.array([departments.index(t.department) for t in self.types])
        self.brands: list[Brand] = invent_brands(params.num_brands, departments, vocabulary, rng)
        self.type_shares = _zipf_shares(len(self.types), params.type_exponent, rng)
        weights = np.diff(_zipf_shares(len(self.brands), params.brand_exponent, rng), prepend=0.0)
        self.sellers, self.seller_shares = _sellers(self.brands, weights, len(departments))
        sizes = vocabulary.words["sizes"]
        self.sizes_of_type = [sizes.get(t.size_scheme, ()) for t in self.types]
        self.colors = tuple(vocabulary.words["colors"])
        self.color_shares = _zipf_shares(len(self.colors), 0.8, None)
        self.category_labels = [
            [f"category={' > '.join(t.path[: i + 1])}" for i in range(len(t.path))]
            for t in self.types
        ]
        self.writer = TitleWriter(vocabulary, self.brands)

    def draw(self, number: int) -> DrawnChunk:
        """Draw a chunk; it depends on no other chunk.

        Args:
            number: of the chunk, from 0.

        Returns:
            `CHUNK_ROWS` draws of each kind.
        """
        rng = np.random.default_rng([self.seed, _ROW_STREAM, number])
        n, p = CHUNK_ROWS, self.params
        types = np.searchsorted(self.type_shares, rng.random(n), side="right")
        brands = self._brands_for(types, rng.random(n))
        listed = np.where(
            rng.random(n) < p.wrong_brand, self._brands_for(types, rng.random(n)), brands
        )
        colors = np.searchsorted(self.color_shares, rng.random(n), side="right")
        coloured = np.array([t.is_coloured for t in self.types])[types] & (rng.random(n) < 0.85)
        colors = np.where(coloured, colors, -1)
        num_sizes = np.array([len(s) for s in self.sizes_of_type])[types]
        sizes = (rng.random(n) ** 1.4 * num_sizes).astype(np.int64)
        sizes = np.where((num_sizes > 0) & (rng.random(n) < 0.8), sizes, -1)
        low, high = np.array([t.price_range for t in self.types], float)[types].T
        cents = np.rint(low * 100 * (high / low) ** rng.random(n)).astype(np.int64)
        priced = rng.random(n) < 0.6
        rates = (p.missing_brand, p.missing_color, p.missing_size, p.missing_depth)
        keep_brand, keep_color, keep_size, whole_path = (rng.random(n) >= rate for rate in rates)
        draws = rng.random((n, TitleWriter.NUM_DRAWS))
        return DrawnChunk(
            types=types,
            brands=brands,
            listed=listed,
            colors=colors,
            sizes=sizes,
            cents=cents,
            priced=priced,
            keep_brand=keep_brand,
            keep_color=keep_color,
            keep_size=keep_size,
            whole_path=whole_path,
            draws=draws,
        )

    def _brands_for(self, types: np.ndarray, draws: np.ndarray) -> np.ndarray:
        position = self.department_of_type[types] + draws
        brands: np.ndarray = self.sellers[
            np.searchsorted(self.seller_shares, position, side="right")
        ]
        return brands

    def chunk(self, number: int) -> DemoCatalogue:
        """All rows of a chunk.

        Args:
            number: of the chunk, from 0.

        Returns:
            `CHUNK_ROWS` rows, and the labels that would be right.
        """
        out = DemoCatalogue()
        columns = (column.tolist() for column in self.draw(number))
        for t, b, listed, c, s, cents, priced, has_brand, has_color, has_size, whole, u in zip(
            *columns, strict=True
        ):
            color = self.colors[c] if c >= 0 else ""
            size = self.sizes_of_type[t][s] if s >= 0 else ""
            path = self.category_labels[t]
            truth = [f"brand={self.brands[b].name}", *path]
            labels = [f"brand={self.brands[listed].name}"] if has_brand else []
            labels += path if whole else path[:-1]
            if color:
                truth.append(f"color={color}")
                labels += truth[-1:] if has_color else []
            if size:
                truth.append(f"size={size}")
                labels += truth[-1:] if has_size else []
            price = cents / 100 if priced else None
            title, content = self.writer.write(self.types[t], b, color, size, price, u)
            out.rows.append({"title": title, "content": content, "price": price, "labels": labels})
            out.true_labels.append(truth)
        return out


def _zipf_shares(n: int, exponent: float, rng: np.random.Generator | None) -> np.ndarray:
    """Cumulated shares of n things, the r-th weighing r^-exponent, in random order."""
    weights = np.arange(1, n + 1, dtype=float) ** -exponent
    if rng is not None:
        weights = weights[np.argsort(rng.random(n), kind="stable")]
    shares = np.cumsum(weights / weights.sum())
    shares[-1] = 1.0
    return shares


def _sellers(
    brands: list[Brand], weights: np.ndarray, num_departments: int
) -> tuple[np.ndarray, np.ndarray]:
    """Brands department by department, and cumulated shares: department d runs from d to d + 1."""
    sellers, shares = [], []
    for department in range(num_departments):
        members = [i for i, brand in enumerate(brands) if department in brand.departments]
        cumulated = np.cumsum(weights[members] / weights[members].sum())
        cumulated[-1] = 1.0
        sellers.append(np.array(members))
        shares.append(department + cumulated)
    return np.concatenate(sellers), np.concatenate(shares)
