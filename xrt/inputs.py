"""Checks the arguments of public methods: texts, rows of features, numbers.

A text is a string, whatever is in it. Rows are a matrix (N, F), sparse or dense, or a HybridMatrix.
"""

import operator
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import ConfigError, DataError, XrtError
from xrt.hybrid import HybridMatrix
from xrt.sparse import as_csr

_COLUMNS = ("to_pylist", "to_list", "tolist")
"""How columns of pyarrow, polars and pandas give their values."""
_LARGEST = 2**31 - 1


def check_texts(texts: Any, first: int = 0) -> list[str]:
    """Texts as a list of strings, with U+FFFD for each half of a surrogate pair.

    Args:
        texts: a list, a tuple, a column of a table, an array of strings, a generator.
        first: the number of the first text, for messages: texts may come in parts.

    Returns:
        The list itself where nothing is to be changed.

    Raises:
        DataError: it is no list of texts (one string, a table, a dict, a set, bytes), or
            a text is missing or no string; its row is named, counted from 0.
    """
    values = texts if type(texts) is list else _values(texts)
    if not set(map(type, values)) <= {str}:
        values = [_text(value, first + row) for row, value in enumerate(values)]
    if all(map(str.isascii, values)):
        return values
    repaired = [without_surrogates(text) for text in values]
    return values if repaired == values else repaired


def _values(texts: Any) -> list[Any]:
    """What a collection of texts holds. Raises DataError for anything that is not one."""
    if isinstance(texts, np.ndarray) and texts.ndim != 1:
        raise DataError(f"texts has the shape {texts.shape}; pass one column of it")
    if sp.issparse(texts) or isinstance(texts, HybridMatrix):
        raise DataError("texts is a matrix of features; pass a list of strings")
    if not isinstance(texts, str | bytes | set | frozenset) and not is_table(texts):
        for name in _COLUMNS:
            if hasattr(texts, name):
                return list(getattr(texts, name)())
    return list(iter_texts(texts))


def iter_texts(texts: Any) -> Iterator[Any]:
    """Goes through texts one by one, without a look at them.

    Args:
        texts: anything that can be gone through in order.

    Returns:
        An iterator over what it holds.

    Raises:
        DataError: going through it would not give texts, but letters, bytes, names of columns, or
            no order.
    """
    what = f"texts is {_article(texts)}"
    if isinstance(texts, str):
        raise DataError(f"{what}: one string where a list of texts is needed; write [text]")
    if isinstance(texts, bytes | bytearray | memoryview):
        raise DataError(f"{what}; decode it and write [text]")
    if isinstance(texts, set | frozenset):
        raise DataError(f"{what}, which has no order; pass a list")
    if is_table(texts):
        raise DataError(
            f"{what}; pass one column, such as {_first_column(texts)}, or an array of numbers "
            "(to_numpy) where the model takes rows"
        )
    try:
        return iter(texts)
    except TypeError:
        raise DataError(f"{what}; pass a list of strings") from None


def _text(value: Any, row: int) -> str:
    """One text as a plain string. Raises DataError, with its row, for anything else."""
    if isinstance(value, str):
        return str.__str__(value)  # of a subclass: np.str_, members of an enum
    if isinstance(value, bytes | bytearray):
        raise DataError(f"text {row} is {_article(value)}, not a string; decode it")
    shown = "None" if value is None else f"{_article(value)} ({reprlib.repr(value)})"
    raise DataError(f"text {row} is {shown}, not a string; give text, '' for a missing one")


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair, which no UTF-8 can hold; both halves
    side by side become the character they stand for.

    Args:
        text: any string.

    Returns:
        A string that UTF-8 can hold.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        codes = np.array([text], np.dtype(f"U{len(text)}")).view(np.uint32)  # no codec is as fast
        first, second = codes >> 10 == 0xD800 >> 10, codes >> 10 == 0xDC00 >> 10
        pair = first[:-1] & second[1:]
        joined = 0x10000 + ((codes[:-1] & 0x3FF) << 10) + (codes[1:] & 0x3FF)
        codes[first | second] = 0xFFFD
        codes[:-1][pair] = joined[pair]
        keep = np.ones(len(codes), bool)
        keep[1:] = ~pair
        return codes[keep].astype("<u4").tobytes().decode("utf-32-le")
    return text


def is_texts(inputs: Any) -> bool:
    """Whether inputs are meant as texts, good or bad ones, and not as rows of numbers.

    Args:
        inputs: texts or rows.

    Returns:
        True for texts.

    Raises:
        DataError: it is a single string, which would be taken for a list of letters.
    """
    if isinstance(inputs, str):
        iter_texts(inputs)
    return not _holds_rows(inputs)


def _holds_rows(inputs: Any) -> bool:
    if sp.issparse(inputs) or isinstance(inputs, HybridMatrix):
        return True
    if isinstance(inputs, np.ndarray):
        if inputs.dtype.kind == "O" and inputs.ndim > 1:
            return not any(isinstance(value, str) for value in inputs.flat)
        return inputs.dtype.kind in "fiubc"
    if not isinstance(inputs, list | tuple) or not len(inputs):
        return False
    first = inputs[0]
    if isinstance(first, list | tuple):
        return not any(isinstance(value, str) for value in first)
    return isinstance(first, np.ndarray) or sp.issparse(first)


def as_inputs(X: Any) -> Any:
    """Texts as `check_texts` gives them, or rows as they are, for `check_rows`.

    Args:
        X: N texts, or N rows.

    Returns:
        A list of N texts, or X itself.

    Raises:
        DataError: a text is no string.
    """
    return check_texts(X) if is_texts(X) else X


def num_rows(inputs: Any) -> int:
    """Number of texts or rows of what `as_inputs` gives.

    Args:
        inputs: texts or rows.

    Returns:
        Their number, N.
    """
    if isinstance(inputs, HybridMatrix):
        return inputs.num_rows
    return int(inputs.shape[0]) if sp.issparse(inputs) else len(inputs)


def check_rows(X: Any, num_features: int | None = None, what: str = "X") -> Any:
    """Rows that compiled code may walk.

    Args:
        X: a matrix (N, F), sparse or dense, or a HybridMatrix.
        num_features: F, where it is known.
        what: the name of the rows in messages.

    Returns:
        A `csr_array` of float32 in canonical form, or a HybridMatrix with such a sparse part.

    Raises:
        DataError: it is no matrix of finite numbers, a column number or row pointer is wrong, or
            there are more or fewer columns than F.
    """
    if isinstance(X, HybridMatrix):
        rows: Any = replace(HybridMatrix.of(X.sparse, X.dense), weights_N=X.weights_N)
        width, num_dense = rows.num_features, rows.num_dense
    else:
        rows = as_csr(X, what)
        width, num_dense = rows.shape[1], 0
    if num_features is not None and width != num_features:
        raise DataError(
            f"rows have {width} sparse and {num_dense} dense features, the model was trained on "
            f"{num_features} sparse ones; use the model's own vectoriser and encoder"
        )
    return rows


def check_count(
    value: Any, name: str, kind: str = "label", error: type[XrtError] = DataError
) -> int:
    """A whole number from 1 to 2^31 - 1, as an int.

    Args:
        value: an int, of Python or numpy.
        name: its name in messages.
        kind: what is counted, for messages.
        error: the kind of error for anything else.

    Returns:
        The number.

    Raises:
        DataError: it is no whole number, or out of range.
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise error(f"{name} = {reprlib.repr(value)}: a whole number is needed") from None
    if number < 1:
        raise error(f"{name} = {reprlib.repr(number)}: ask for at least 1 {kind}")
    if number > _LARGEST:
        raise error(f"{name} = {reprlib.repr(number)}: at most {_LARGEST} is allowed")
    return number


def check_threads(num_threads: Any) -> int | None:
    """A number of threads, None for the default (0 means that, too).

    Args:
        num_threads: any object.

    Returns:
        The number, or None.

    Raises:
        ConfigError: it is no whole number, or below 0.
    """
    if num_threads is None or (type(num_threads) is int and num_threads == 0):
        return None
    return check_count(num_threads, "num_threads", "thread", ConfigError)


def check_number(value: Any, name: str, error: type[XrtError] = DataError) -> float:
    """A number that is not NaN, as a float.

    Args:
        value: any object.
        name: its name in messages.
        error: the kind of error for anything else.

    Returns:
        The number.

    Raises:
        DataError: it is no number, or NaN.
    """
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if not is_number or isinstance(value, bool) or value != value:
        raise error(f"{name} = {reprlib.repr(value)}: a number is needed")
    try:
        return float(value)
    except OverflowError:
        raise error(f"{name} = {reprlib.repr(value)}: the number is too large") from None


def is_table(values: Any) -> bool:
    """Whether something is a table or a mapping: going through it gives its names.

    Args:
        values: any object.

    Returns:
        True for a table or mapping.
    """
    return isinstance(values, Mapping) or hasattr(values, "columns")


def _first_column(table: Any) -> str:
    """How a column of a table is taken, with the name of its first one."""
    try:
        names = table if isinstance(table, Mapping) else getattr(table, "column_names", None)
        name = next(iter(table.columns if names is None else names))
    except (TypeError, StopIteration):
        name = "title"
    return f"table[{reprlib.repr(name)}]"


def _article(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
