"""Content hashes that are the same in every process, on every platform and Python version.

A value is fed to SHA-256 as a stream of tagged, length-prefixed parts, so that no two different
values share a stream ("ab", "c" is not "a", "bc"). Matrices hash by content: stored entries in
row-major order, whatever the width of their index arrays.
"""

import dataclasses
import enum
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import ConfigError

_BLOCK = 1 << 18  # entries converted at a time


def content_hash(value: Any) -> str:
    """SHA-256 of a value's content.

    Args:
        value: None, bool, int, float, str, bytes, numpy arrays and scalars, scipy sparse matrices,
            lists and tuples (equal when their elements are), mappings with str keys (order
            ignored), enums and dataclasses.

    Returns:
        64 hexadecimal digits.

    Raises:
        ConfigError: the value, or something in it, is of another type.
    """
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """One JSON text per value: sorted keys, no spaces, tuples as lists, enums by their value.

    Args:
        value: as for `plain`.

    Returns:
        The text.

    Raises:
        ConfigError: the value holds NaN, an infinity, a key that is no string, or a type JSON does
            not know.
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any, where: str = "value") -> Any:
    """The same value made of dict, list, str, int, float, bool and None only.

    Args:
        value: any value; dataclasses become dicts, tuples lists, enums their values.
        where: what to call it in a message.

    Returns:
        A new value.

    Raises:
        ConfigError: it holds NaN, an infinity, a key that is no string, a path, or a type JSON does
            not know.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        raise ConfigError(
            f"{where}: {value} cannot be written as JSON; use a finite number or None"
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(
                    f"{where}: key {key!r} is not a string; only string keys are kept"
                )
        return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, PurePath):
        raise ConfigError(
            f"{where}: a path ({value}) depends on the machine; hash the file's content instead"
        )
    raise ConfigError(f"{where}: a {type(value).__name__} cannot be written as JSON")


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        _feed_array(digest, value)
    elif sp.issparse(value):
        _feed_sparse(digest, value)
    elif isinstance(value, bytes):
        _feed_part(digest, b"bytes", value)
    elif isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        _feed_strings(digest, value)
    elif isinstance(value, list | tuple):
        _feed_part(digest, b"list", str(len(value)).encode())
        for item in value:
            _feed(digest, item)
    elif isinstance(value, Mapping):
        plain(dict.fromkeys(value))  # string keys only
        _feed_part(digest, b"dict", str(len(value)).encode())
        for key in sorted(value):
            _feed_part(digest, b"key", key.encode("utf-8", "surrogatepass"))
            _feed(digest, value[key])
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _feed(digest, {f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    elif isinstance(value, str) and not isinstance(value, enum.Enum):
        _feed_part(digest, b"str", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, float):
        _feed_part(digest, b"float", np.float64(value).astype("<f8").tobytes())
    else:
        _feed_part(digest, b"json", canonical_json(value).encode())


def _feed_part(digest: Any, tag: bytes, data: bytes) -> None:
    digest.update(tag + b":" + str(len(data)).encode() + b":")
    digest.update(data)


def _feed_strings(digest: Any, strings: list[str] | tuple[str, ...]) -> None:
    _feed_part(digest, b"strings", str(len(strings)).encode())
    for start in range(0, len(strings), 4096):
        parts = [s.encode("utf-8", "surrogatepass") for s in strings[start : start + 4096]]
        digest.update(np.array([len(part) for part in parts], "<i8").tobytes())
        digest.update(b"".join(parts))


def _feed_array(digest: Any, array: np.ndarray) -> None:
    if array.dtype.kind not in "biufc":
        raise ConfigError(
            f"an array of dtype {array.dtype} has no content hash; use numbers or str"
        )
    dtype = array.dtype.newbyteorder("<")
    _feed_part(digest, b"array", f"{dtype.str}{array.shape}".encode())
    _feed_numbers(digest, _flat(array), dtype)


def _flat(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1)


def _feed_numbers(digest: Any, flat: np.ndarray, dtype: Any) -> None:
    for start in range(0, len(flat), _BLOCK):
        block = np.ascontiguousarray(flat[start : start + _BLOCK].astype(dtype, copy=False))
        digest.update(block.view(np.uint8).data)


def _feed_sparse(digest: Any, matrix: Any) -> None:
    csr = sp.csr_array(matrix)
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    dtype = csr.dtype.newbyteorder("<")
    _feed_part(digest, b"csr", f"{dtype.str}{tuple(int(n) for n in csr.shape)}".encode())
    parts: Iterable[tuple[np.ndarray, Any]] = (
        (csr.indptr, "<i8"),
        (csr.indices, "<i8"),
        (csr.data, dtype),
    )
    for part, part_dtype in parts:
        _feed_numbers(digest, part, part_dtype)
