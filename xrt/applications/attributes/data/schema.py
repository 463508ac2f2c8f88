"""What the columns of a catalogue are for: text, side inputs, the attributes to predict."""

import re
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from xrt.data.cells import clean_label
from xrt.data.nothing import WORDS_FOR_NOTHING
from xrt.errors import ConfigError

MAX_REPEAT = 10
NONE_VALUE = "<none>"
"""The value of an item that has none: the label `attribute=<none>`."""

_TEXT_COLUMN = re.compile(r"(?P<name>.+?)(\*(?P<repeat>\d+))?(:(?P<marker>[^:]*))?", re.DOTALL)


class EmptyMeans(str, Enum):
    """What an empty cell of a target column says.

    `none`: the item has no such value. `missing`: nothing is known. `auto`: none for a hierarchy
    level below a given one (with no given one below it), else missing. A catalogue that writes
    `na` where a path ends means something else by an empty cell: there `auto` becomes `missing`.
    """

    NONE = "none"
    MISSING = "missing"
    AUTO = "auto"


@dataclass(frozen=True)
class TextColumn:
    """A text column: `marker` is put before its text, and it stands `repeat` times in the whole."""

    name: str
    marker: str = ""
    repeat: int = 1

    @classmethod
    def parse(cls, text: str) -> "TextColumn":
        """`title`, `title*2` (twice), `title:T` (marker T) or `title*2:T`.

        A name with a colon is written with a colon after it: `dc:title:`. Raises ConfigError.

        Args:
            text: A column as the setting has it.

        Returns:
            The column: name, marker ('' for none) and how often it is repeated.
        """
        match = _TEXT_COLUMN.fullmatch(text.strip())
        if match is None:
            raise ConfigError(f"text_columns: {text!r}; write name, name*2 or name:marker")
        repeat = int(match["repeat"] or 1)
        if not 1 <= repeat <= MAX_REPEAT:
            raise ConfigError(
                f"text_columns: {text!r} repeats {repeat} times; 1..{MAX_REPEAT} are allowed"
            )
        return cls(match["name"].strip(), (match["marker"] or "").strip(), repeat)

    def __str__(self) -> str:
        repeat = f"*{self.repeat}" if self.repeat > 1 else ""
        return f"{self.name}{repeat}" + (f":{self.marker}" if self.marker else "")


def _default_none_values() -> list[str]:
    return [*WORDS_FOR_NOTHING, NONE_VALUE]


@dataclass(frozen=True, kw_only=True)
class AttributeSchema:
    """The roles of the columns; null is inferred from a training table, [] means there are none."""

    text_columns: list[str] | None = None
    """Columns that make the text: `title`, or `title*2` (it counts twice), `title:T` (with a marker
    before it). Null: inferred."""
    numeric_columns: list[str] | None = None
    """Columns such as price; a value becomes the token of its quantile bin. Null: inferred."""
    categorical_columns: list[str] | None = None
    """Columns such as store; a value becomes one token. Null: inferred."""
    targets: list[str] | None = None
    """The attributes to predict, in this order. Null: inferred."""
    hierarchy: list[str] | None = None
    """Those of the targets that form paths, coarse to fine. Null: inferred."""
    none_values: list[str] = field(default_factory=_default_none_values)
    """Cells (in any case) that say that an item has no value."""
    empty: EmptyMeans = EmptyMeans.AUTO
    """What an empty cell of a target says."""

    def __post_init__(self) -> None:
        """Check each setting and that a column has one role only."""
        lists = ("text_columns", "numeric_columns", "categorical_columns", "targets", "hierarchy")
        for name in lists:
            columns = getattr(self, name)
            if isinstance(columns, str):
                raise ConfigError(f"{name} = {columns!r}: give a list, such as [{columns}]")
            if columns is not None:
                object.__setattr__(self, name, [str(column).strip() for column in columns])
        object.__setattr__(self, "none_values", [str(value) for value in self.none_values])
        object.__setattr__(self, "empty", _as_empty(self.empty))
        for name, what in (("text_columns", "text"), ("targets", "target")):
            if getattr(self, name) == []:
                raise ConfigError(f"{name} = []: name at least one {what} column")
        self._check_roles()

    def _check_roles(self) -> None:
        roles: dict[str, str] = {}
        columns_of = {
            "text_columns": [column.name for column in self.texts],
            "numeric_columns": self.numeric_columns or [],
            "categorical_columns": self.categorical_columns or [],
            "targets": self.targets or [],
        }
        for role, columns in columns_of.items():
            for column in columns:
                if not column:
                    raise ConfigError(
                        f"{role}: an empty column name; name a column or leave it out"
                    )
                if column in roles:
                    raise ConfigError(
                        f"column {column!r} stands in {roles[column]} and again in {role}; a "
                        "column has one use"
                    )
                roles[column] = role
        for target in self.targets or []:
            if "=" in target or not target.isprintable():
                raise ConfigError(
                    f"targets: column {target!r} has '=' or a control sign; rename the column"
                )
        levels = self.hierarchy or []
        if len(set(levels)) != len(levels):
            raise ConfigError(f"hierarchy = {levels}: a column stands there twice; remove one")
        strange = [level for level in levels if level not in (self.targets or levels)]
        if strange:
            raise ConfigError(
                f"hierarchy: {', '.join(strange)} not among the targets "
                f"{', '.join(self.targets or [])}; name targets only, coarse to fine"
            )

    @cached_property
    def texts(self) -> tuple[TextColumn, ...]:
        """`text_columns` parsed; () while they are to be inferred."""
        return tuple(TextColumn.parse(text) for text in self.text_columns or [])

    @property
    def is_resolved(self) -> bool:
        """Whether nothing is left to be inferred."""
        roles = (
            self.text_columns,
            self.numeric_columns,
            self.categorical_columns,
            self.targets,
            self.hierarchy,
        )
        return all(role is not None for role in roles)

    @cached_property
    def none_cells(self) -> frozenset[str]:
        """`none_values` in the form that cells are compared in."""
        values = [*self.none_values, NONE_VALUE]
        return frozenset(clean_label(value).casefold() for value in values)

    def says_none(self, cell: str) -> bool:
        """Whether a cell that is not empty says "this item has none".

        Args:
            cell: The text of a cell.

        Returns:
            True where it is one of `none_cells`, upper and lower case alike.
        """
        return cell.casefold() in self.none_cells

    def input_columns(self) -> list[str]:
        """The columns that an item's text is made of.

        Returns:
            The names of text, numeric and categorical columns, in this order.
        """
        texts = [column.name for column in self.texts]
        return [*texts, *(self.numeric_columns or []), *(self.categorical_columns or [])]

    def describe(self) -> str:
        """The roles in one line.

        Returns:
            The line; roles without columns are left out.
        """
        parts = [
            ("text", [str(column) for column in self.texts]),
            ("numeric", self.numeric_columns),
            ("categorical", self.categorical_columns),
            ("targets", self.targets),
        ]
        texts = [f"{role} {', '.join(columns)}" for role, columns in parts if columns]
        if self.hierarchy:
            texts.append(f"hierarchy {' > '.join(self.hierarchy)}")
        return "; ".join(texts)


def _as_empty(value: EmptyMeans | str) -> EmptyMeans:
    try:
        return EmptyMeans(value)
    except ValueError:
        names = ", ".join(choice.value for choice in EmptyMeans)
        raise ConfigError(f"empty = {value!r}: choose one of {names}") from None
