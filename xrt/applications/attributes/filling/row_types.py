"""Which types of columns a file can hold: a list of what is allowed for each format.

The check comes before any work is done; a type that is not listed is refused by name.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from xrt.errors import DataError

_PLAIN = (
    *(pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null, pl.Decimal),
    *(pl.Date, pl.Datetime, pl.Time, pl.Float32, pl.Float64),
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128),
    *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
)
_ALLOWED = {
    ".csv": _PLAIN,
    ".tsv": _PLAIN,
    ".jsonl": (*_PLAIN, pl.Duration),
    ".parquet": (*_PLAIN, pl.Duration, pl.Binary),
}
_CATEGORIES = (pl.Categorical, pl.Enum)


def require_writable(schema: Mapping[str, pl.DataType], suffix: str, path: str | Path) -> None:
    """Check that a format can hold the columns of a frame.

    Args:
        schema: Column -> type.
        suffix: The format: .csv, .tsv, .jsonl or .parquet.
        path: The output, for the message.

    Raises:
        DataError: it cannot hold some; the message names them, and the formats that can.
    """
    wrong = {name: dtype for name, dtype in schema.items() if not _fits(dtype, suffix)}
    if not wrong:
        return
    others = [
        other
        for other in (".jsonl", ".parquet")
        if all(_fits(dtype, other) for dtype in wrong.values())
    ]
    examples = ", ".join(f"{name} ({dtype})" for name, dtype in list(wrong.items())[:5])
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    todo = f"write {' or '.join(others)}" if others else "leave them out of the input"
    raise DataError(f"{path}: {suffix[1:]} cannot hold columns {examples}{more}; {todo}")


def _fits(dtype: pl.DataType, suffix: str) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return suffix in (".jsonl", ".parquet") and _fits(_type(dtype.inner), suffix)
    if isinstance(dtype, pl.Struct):
        parts = [_fits(_type(field.dtype), suffix) for field in dtype.fields]
        return suffix in (".jsonl", ".parquet") and bool(parts) and all(parts)
    return dtype in _ALLOWED[suffix]


def _type(dtype: Any) -> pl.DataType:
    """An instance, where polars gives the class."""
    instance: pl.DataType = dtype if isinstance(dtype, pl.DataType) else dtype()
    return instance


def holds_texts(dtype: pl.DataType, texts: Iterable[str]) -> bool:
    """Whether a column of numbers or categories stays what it is when texts are written into it.

    Args:
        dtype: The type of the column.
        texts: What may be written.

    Returns:
        False for other types, and where a text is no value of this one.
    """
    if not (dtype.is_numeric() or isinstance(dtype, _CATEGORIES)):
        return False
    column = pl.Series(list(texts), dtype=pl.String)
    if isinstance(dtype, pl.Categorical):
        return True
    cast = column.cast(dtype, strict=False)
    return bool((cast.is_null() == column.is_null()).all())
