"""How to read a file: the choices that every reader shares, and what a bad line is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xrt.errors import ConfigError

DEFAULT_SEPARATOR = ";"
DEFAULT_ID_COLUMNS = ("uid", "id")


class BadLine(Exception):
    """One line that cannot be used.

    Args:
        message: The cause and, after a semicolon, what to do.
        settings: Further advice by the name of a setting, as an error of ours carries it.
    """

    def __init__(self, message: str, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.settings = dict(settings or {})


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Settings of `read_corpus`.

    text_columns: columns (keys) joined to the text; None takes `text`, else `title` and `content`.
    label_column: one name (its values are labels), or several (labels are `column=value`).
    label_separator: splits the value of a label column; None means ';' for a single column of
    CSV, TSV or Parquet, and no splitting for JSONL and for several columns.
    weight_column: the column (key) of each row's weight; None: rows count alike.
    group_column: the column (key) of the group that a row stays with where rows are held out.
    time_column: the column (key) of each row's time, by which the newest are held out.
    id_column: the column (key) of each row's own id; None takes `uid`, else `id`.
    id_when_there: as `id_column`, but files without it are read, too.
    """

    text_columns: str | Sequence[str] | None = None
    label_column: str | Sequence[str] = "labels"
    label_separator: str | None = None
    weight_column: str | None = None
    group_column: str | None = None
    time_column: str | None = None
    id_column: str | None = None
    skip_bad_lines: bool = False
    bad_lines_folder: str | Path = "."
    require_labels: bool = True
    id_when_there: str | None = None

    def __post_init__(self) -> None:
        if self.text_columns is not None and not len(self.text_columns):
            raise ConfigError("text_columns = []: name a column, or leave it out")
        if not len(self.label_column):
            raise ConfigError("label_column is empty; name at least one column")
        for name in ("weight_column", "group_column", "time_column", "id_column"):
            if getattr(self, name) == "":
                raise ConfigError(f"{name} = '': name a column, or leave it out")
        if self.label_separator == "":
            raise ConfigError("label_separator = '': give at least one character, or leave it out")

    @property
    def id_names(self) -> tuple[str, ...]:
        """The columns that may hold a row's id, the one that counts first."""
        if self.id_column is not None:
            return (self.id_column,)
        first = () if self.id_when_there is None else (self.id_when_there,)
        return (*first, *DEFAULT_ID_COLUMNS)

    @property
    def side_columns(self) -> dict[str, str]:
        """The columns named for the rows' weights, groups and times, by what they say."""
        named = {
            "weights": self.weight_column, "groups": self.group_column, "times": self.time_column
        }  # fmt: skip
        return {what: name for what, name in named.items() if name is not None}

    @property
    def text_names(self) -> tuple[str, ...] | None:
        """The text columns as a tuple, or None for the default."""
        if self.text_columns is None or isinstance(self.text_columns, str):
            return None if self.text_columns is None else (self.text_columns,)
        return tuple(self.text_columns)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label columns as a tuple."""
        if isinstance(self.label_column, str):
            return (self.label_column,)
        return tuple(self.label_column)

    @property
    def prefixed(self) -> bool:
        """True when labels are written `column=value`."""
        return not isinstance(self.label_column, str)
