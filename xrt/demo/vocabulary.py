"""The words of the demo catalogue, parsed from two text files beside this one."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ProductType:
    """A leaf of the category tree and how its products are described.

    `path` runs from the top category down (3 to 5 steps, the root not counted); `nouns` starts with
    the usual one, the others are rarer; prices are in whole units of money.
    """

    path: tuple[str, ...]
    nouns: tuple[str, ...]
    features: tuple[str, ...]
    uses: tuple[str, ...]
    size_scheme: str
    is_coloured: bool
    price_range: tuple[int, int]

    @property
    def department(self) -> str:
        """The first two steps of the path: what a brand specialises in."""
        return " > ".join(self.path[:2])


@dataclass(frozen=True)
class Vocabulary:
    """Product types, and the word lists by section and key."""

    types: tuple[ProductType, ...]
    words: dict[str, dict[str, tuple[str, ...]]]


@cache
def load_vocabulary() -> Vocabulary:
    """The vocabulary, parsed once a process.

    Returns:
        Types of products, and words by section and key.
    """
    types = parse_types((_FOLDER / "demo_categories.txt").read_text(encoding="utf-8"))
    words = parse_words((_FOLDER / "demo_words.txt").read_text(encoding="utf-8"))
    return Vocabulary(tuple(types), words)


def parse_types(text: str) -> list[ProductType]:
    """Parse the lines of `demo_categories.txt`; the form stands at the top of that file.

    Args:
        text: the text of the file.

    Returns:
        The types, in the order of the file.
    """
    types: list[ProductType] = []
    top: list[str] = []
    uses: tuple[str, ...] = ()
    scheme, prices = "", (0, 0)
    features: tuple[str, ...] = ()
    for line in _content_lines(text):
        mark, content = line[0], line[1:].strip()
        if mark == "=":
            top = content.split(" > ")
        elif mark == "~":
            uses = _listed(content, ";")
        elif mark == "@":
            scheme, price_text, feature_text = (part.strip() for part in content.split("|"))
            low, high = price_text.split("-")
            prices, features = (int(low), int(high)), _listed(feature_text, ";")
        else:
            path, _, nouns = line.partition(":")
            types.append(
                ProductType(
                    path=(*top, *path.split(" > ")),
                    nouns=_listed(nouns, ","),
                    features=features,
                    uses=uses,
                    size_scheme=scheme.removesuffix("*").strip(),
                    is_coloured=scheme.endswith("*"),
                    price_range=prices,
                )
            )
    return types


def parse_words(text: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Parse `[section]` and `key: value; value` lines.

    Args:
        text: the text of the file.

    Returns:
        Values by section and key.
    """
    words: dict[str, dict[str, tuple[str, ...]]] = {}
    section: dict[str, tuple[str, ...]] = {}
    for line in _content_lines(text):
        if line.startswith("["):
            section = words.setdefault(line.strip("[]"), {})
        else:
            key, _, values = line.partition(":")
            section[key] = _listed(values, ";")
    return words


def _content_lines(text: str) -> list[str]:
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _listed(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator))
