"""All sets of the suite by name, and how many rows of each the short suite keeps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.corpora import files, made_up
from bench.corpora.corpus import SuiteCorpus
from bench.rows import find_data

GROUPS = {
    "real": "real corpora",
    "shape": "made-up corpora of three shapes",
    "odd": "small and odd made-up corpora",
}
"""Groups of sets, and their heading in a record."""


@dataclass(frozen=True)
class SuiteSet:
    """A set: what makes it, its group, its training rows, those that the short suite keeps."""

    name: str
    group: str
    make: Callable[[Path | None], SuiteCorpus]
    num_train: int
    short: tuple[int, int]
    """Training and test rows, at most."""
    texts: bool = True

    @property
    def views(self) -> Sequence[str]:
        """What the systems are given: see `bench.corpora.views`."""
        if not self.texts:
            return ("given",)
        return ("own", "equal") if self.group == "real" else ("own",)

    def corpus(self, data: Path | None, *, short: bool) -> SuiteCorpus:
        """The set, or what the short suite keeps of it."""
        whole = self.make(data)
        return whole.sampled(*self.short) if short else whole

    def rows_used(self, *, short: bool) -> int:
        """Training rows, about."""
        return min(self.num_train, self.short[0]) if short else self.num_train


def of_files(make: Callable[[Path], SuiteCorpus]) -> Callable[[Path | None], SuiteCorpus]:
    """A maker that takes the folder of all data sets, or none for XRT_DATA."""
    return lambda data: make(find_data(data))


def real(
    make: Callable[[Path], SuiteCorpus],
    num_train: int,
    short: tuple[int, int],
    *,
    texts: bool = True,
) -> SuiteSet:
    """A set made of files."""
    name = make.__name__.replace("_", "-")
    return SuiteSet(name, "real", of_files(make), num_train, short, texts)


def made(
    name: str, group: str, shape: made_up.TextShape, short: tuple[int, int] | None = None
) -> SuiteSet:
    """A set that is made up of a shape; the short suite has all of it unless said."""
    short_sizes = short or (shape.num_train, shape.num_test)
    return SuiteSet(name, group, lambda _: made_up.made_texts(shape), shape.num_train, short_sizes)


REAL = (
    real(files.tibkat, 41_902, (12_000, 3_000)),
    real(files.yso, 525_485, (30_000, 4_000)),
    real(files.depends, 41_226, (12_000, 3_000)),
    real(files.bibtex, 4_880, (4_880, 2_515), texts=False),
    real(files.delicious, 12_920, (12_920, 3_185), texts=False),
    real(files.bigbasket_type, 4_874, (4_874, 1_205)),
    real(files.bigbasket_all, 4_874, (4_874, 1_205)),
    real(files.bestbuy_queries, 1_454, (1_454, 664)),
    real(files.bestbuy_products, 2_285, (2_285, 1_006)),
)
MADE_UP = (
    made("few-labels", "shape", made_up.SHAPES["few-labels"], (6_000, 1_500)),
    made("long-tail", "shape", made_up.SHAPES["long-tail"], (8_000, 1_500)),
    SuiteSet("label-words", "shape", lambda _: made_up.label_words(), 8_000, (6_000, 1_500)),
    *(made(name, "odd", shape) for name, shape in made_up.ODD.items()),
)
SETS: Mapping[str, SuiteSet] = {each.name: each for each in (*REAL, *MADE_UP)}
"""Every set by name, in the order of the record."""
