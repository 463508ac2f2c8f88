"""Columns of a click log as labelling needs them: ids and queries as text, counts as numbers.

A column of another type (bytes, lists, spans of time, true and false) is refused by name: what its
values would mean is anybody's guess.
"""

from pathlib import Path

import polars as pl

from xrt.data.cells import id_text
from xrt.errors import DataError

_TEXTS = (pl.String, pl.Categorical, pl.Enum)


def text_column(column: pl.Series, file: Path) -> pl.Series:
    """Ids or queries as text, empty ones as null; 392.0 is "392", as in every other file.

    Args:
        column: Text or numbers.
        file: Where it stands, for the message.

    Returns:
        The column as text, under its own name.

    Raises:
        DataError: the column is of another type.
    """
    dtype = column.dtype
    if dtype == pl.String:
        return column
    if dtype in _TEXTS or dtype == pl.Null or dtype.is_integer():
        return column.cast(pl.String)
    if not dtype.is_numeric():
        raise DataError(
            f"{file}: column {column.name!r} is of type {dtype}; text or whole numbers are needed: "
            "write it as text"
        )
    values = column.unique()
    texts = [id_text(value) or None for value in values.to_list()]
    return column.replace_strict(values, pl.Series(texts, dtype=pl.String), return_dtype=pl.String)


def number_column(column: pl.Series, file: Path) -> pl.Series:
    """Counts or positions as float64; null where the text of a cell is no number.

    Args:
        column: Numbers, or text.
        file: Where it stands, for the message.

    Returns:
        The column as numbers, under its own name.

    Raises:
        DataError: the column is of another type.
    """
    dtype = column.dtype
    if dtype in _TEXTS:
        texts = column.cast(pl.String).str.strip_chars()
        return texts.cast(pl.Float64, strict=False)
    if not dtype.is_numeric() and dtype != pl.Null:
        raise DataError(
            f"{file}: column {column.name!r} is of type {dtype}; numbers are needed: write it as "
            "numbers"
        )
    return column.cast(pl.Float64, strict=False)
