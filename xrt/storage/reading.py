"""Reading files that cannot be trusted: sizes, types and shapes are checked before content is used.

Nothing here unpickles. All faults are ArtifactErrors that name the file.
"""

import errno
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from xrt.errors import ArtifactError, CapacityError, XrtError
from xrt.storage.atomic import sha256_of

MAX_JSON_BYTES = 16 << 20
MAX_JSON_DEPTH = 32
MAPPED_FROM = 1 << 16
"""Bytes of an array from which on it is mapped: smaller ones are read, which costs no file
descriptor for as long as the model is open."""
_MAX_NPY_HEADER = 4096
_NEXT = "restore the file or make the model anew"


def read_json_bounded(path: str | Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Parse a JSON file of at most `max_bytes`: UTF-8, finite numbers, no key twice, not too deep.

    Args:
        path: the file.
        max_bytes: its largest size.

    Returns:
        The value.

    Raises:
        ArtifactError: the file is missing, too large or not such JSON.
        CapacityError: as `read_bytes_bounded`.
    """
    return parse_json_bounded(read_bytes_bounded(path, max_bytes), path)


def read_bytes_bounded(path: str | Path, max_bytes: int) -> bytes:
    """The bytes of a file that has at most `max_bytes` of them; no more memory than it has bytes.

    Args:
        path: the file.
        max_bytes: its largest size.

    Returns:
        The bytes.

    Raises:
        ArtifactError: the file is missing, unreadable, too large, or changed while it was read.
        CapacityError: the process may not open another file.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, max_bytes) + 1)
    except OSError as error:
        raise _unreadable(path, error, "cannot be read") from error
    if len(data) > max_bytes:
        raise ArtifactError(f"{path}: larger than the {max_bytes} bytes allowed; {_NEXT}")
    if len(data) != size:
        raise ArtifactError(f"{path}: changed while it was read; {_NEXT}")
    return data


def require_hash(path: str | Path, sha256: str) -> None:
    """Check that a file is the one that was written.

    Args:
        path: the file.
        sha256: what its SHA-256 has to be, in hexadecimal.

    Raises:
        ArtifactError: the file is missing, unreadable or another one.
        CapacityError: the process may not open another file.
    """
    try:
        found = sha256_of(path)
    except OSError as error:
        raise _unreadable(path, error, "cannot be read") from error
    if found != sha256:
        raise ArtifactError(
            f"{path}: another file than was saved with the model (its sha256 is {found[:12]}..., "
            f"not {sha256[:12]}...); {_NEXT}"
        )


def _unreadable(path: str | Path, error: BaseException, what: str) -> XrtError:
    """What to raise for a file that the system, or numpy's parser, cannot read."""
    number = getattr(error, "errno", None)
    if number in (errno.EMFILE, errno.ENFILE):
        return CapacityError(
            f"{path}: too many files are open in this process; raise the limit (ulimit -n 1024) "
            "or close what is not needed"
        )
    if number == errno.ENOMEM or isinstance(error, MemoryError):
        return CapacityError(f"{path}: no memory left to read it; raise the limit (ulimit -v)")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return ArtifactError(f"{path}: {what} ({reason}); {_NEXT}")


def map_bytes(path: str | Path) -> np.ndarray:
    """The bytes of a file, uint8, read-only; mapped from MAPPED_FROM bytes on.

    Args:
        path: the file.

    Returns:
        uint8 (bytes,).

    Raises:
        ArtifactError: it cannot be read.
        CapacityError: as `load_array`.
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < MAPPED_FROM:
                return np.frombuffer(file.read(MAPPED_FROM), np.uint8)
            return np.memmap(file, np.uint8, mode="r").view(np.ndarray)
    except (OSError, MemoryError) as error:
        raise _unreadable(path, error, "cannot be read") from error


def parse_json_bounded(data: bytes, path: str | Path) -> Any:
    """Parse JSON as `read_json_bounded` does.

    Args:
        data: the bytes.
        path: the file they are from, for the message.

    Returns:
        The value.

    Raises:
        ArtifactError: they are not such JSON.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else error
        raise ArtifactError(f"{path}: not valid JSON ({reason}); {_NEXT}") from error
    if _is_deeper_than(value, MAX_JSON_DEPTH):
        raise ArtifactError(f"{path}: nested deeper than {MAX_JSON_DEPTH} levels; {_NEXT}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


def _is_deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            child
            for item in layer
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not layer:
            return False
    return True


def load_array(
    path: str | Path, dtype: Any, ndim: int, mmap: bool = True, length: int | None = None
) -> np.ndarray:
    """Read an npy file of exactly this dtype and number of dimensions.

    Header, dtype, shape and the size of the file are checked before any content is touched.

    Args:
        path: the npy file.
        dtype: what it must hold; or a list of types, of which it must hold one.
        ndim: its number of dimensions.
        mmap: memory-map it, from MAPPED_FROM bytes on; else it is a copy in memory.
        length: what its first dimension must be; None for any.

    Returns:
        The array, read-only.

    Raises:
        ArtifactError: the file is missing, truncated, or holds something else.
        CapacityError: the process may not open another file, or has no memory left.
    """
    try:
        with open(path, "rb") as file:
            shape, fortran, written = _read_npy_header(path, file)
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
            expected = _expected_type(path, written, dtype)
            _check_shape(path, shape, ndim, length)
            needed = math.prod(shape) * expected.itemsize
            if offset + needed != size or offset % expected.itemsize:
                raise ArtifactError(
                    f"{path}: {size} bytes where its header asks for {offset + needed}; {_NEXT}"
                )
            if needed < MAPPED_FROM or not mmap:
                flat = np.fromfile(file, expected, math.prod(shape))
            else:
                flat = np.memmap(
                    file, expected, mode="r", offset=offset, shape=(math.prod(shape),)
                ).view(np.ndarray)
    except (OSError, MemoryError) as error:
        raise _unreadable(path, error, "not a readable npy file") from error
    if len(flat) != math.prod(shape):
        raise ArtifactError(f"{path}: changed while it was read; {_NEXT}")
    array = flat.reshape(shape, order="F" if fortran else "C")
    array.flags.writeable = False
    return array


def _expected_type(path: str | Path, written: np.dtype, dtype: Any) -> np.dtype:
    allowed = [np.dtype(each) for each in (dtype if isinstance(dtype, Sequence) else [dtype])]
    if written not in allowed or written.hasobject:
        names = " or ".join(map(str, allowed))
        raise ArtifactError(f"{path}: holds {written} where {names} is needed; {_NEXT}")
    return written


def _check_shape(
    path: str | Path, shape: tuple[int, ...], ndim: int, length: int | None = None
) -> None:
    if len(shape) != ndim or any(type(n) is not int or n < 0 for n in shape):
        raise ArtifactError(f"{path}: has shape {shape} where {ndim} dimension(s) belong; {_NEXT}")
    if length is not None and shape[0] != length:
        raise ArtifactError(f"{path}: {shape[0]} entries where {length} belong; {_NEXT}")


def _read_npy_header(path: str | Path, file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the order is Fortran's, and dtype.

    numpy parses the header as Python code: a damaged one raises whatever Python's parser raises.
    """
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(file)
        if version not in readers:
            raise ValueError(f"npy version {version[0]}.{version[1]} is not used by xrt")
        return readers[version](file, max_header_size=_MAX_NPY_HEADER)
    except Exception as error:
        raise _unreadable(path, error, "not a readable npy file") from error


def check_csr(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray | None,
    shape: tuple[int, int],
    what: str | Path,
) -> None:
    """Check that arrays read from disk make a CSR matrix that compiled code may walk blindly.

    Args:
        indptr: row pointers, (N + 1,).
        indices: columns of the entries, (nnz,).
        data: values of the entries, (nnz,), of float16, float32 or float64; None where there are
            none.
        shape: rows and columns of the matrix.
        what: the file, for the message.

    Raises:
        ArtifactError: lengths do not fit, row pointers fall, a column is out of range or does not
            ascend within its row, or a value is not finite.
    """
    from xrt.storage.array_faults import csr_fault, has_strange_float

    if len(indptr) != shape[0] + 1 or (data is not None and len(data) != len(indices)):
        raise ArtifactError(f"{what}: the parts of a matrix of shape {shape} do not fit; {_NEXT}")
    faults = {
        1: f"row pointers do not rise from 0 to {len(indices)}",
        2: f"a column lies outside 0..{shape[1] - 1}",
        3: "columns of a row do not ascend",
    }
    if fault := csr_fault(indptr, indices, shape[1]):
        raise ArtifactError(f"{what}: {faults[fault]}; {_NEXT}")
    if data is not None and has_strange_float(data):
        raise ArtifactError(f"{what}: a value is not finite; {_NEXT}")


def check_finite(array: np.ndarray, what: str | Path, largest: np.float32 | None = None) -> None:
    """Check that numbers read from disk are finite, and not huge.

    Args:
        array: float16, float32 or float64, of any shape.
        what: the file, for the message.
        largest: a power of two, above the magnitudes that are allowed in float32; None: any finite
            number.

    Raises:
        ArtifactError: there is NaN, an infinity, or a magnitude of `largest` or more.
    """
    from xrt.storage.array_faults import has_strange_float

    if has_strange_float(array, largest):
        raise ArtifactError(f"{what}: a value is not finite, or huge; {_NEXT}")


def check_pointers(pointers: np.ndarray, end: int, what: str | Path) -> None:
    """Check that pointers rise from 0 to an end; equal ones may stand side by side.

    Args:
        pointers: int64 (n + 1,).
        end: what the last one must be.
        what: the file, for the message.

    Raises:
        ArtifactError: they do not.
    """
    from xrt.storage.array_faults import rises

    if not rises(pointers, end):
        raise ArtifactError(f"{what}: pointers do not rise from 0 to {end}; {_NEXT}")
