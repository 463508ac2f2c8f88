"""Reading files nobody vouches for: sizes, types and shapes are checked before content is used.

Nothing here unpickles. All faults are ArtifactErrors that name the file.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from xrt.errors import ArtifactError

MAX_JSON_BYTES = 16 << 20
MAX_JSON_DEPTH = 32
_MAX_NPY_HEADER = 4096
_NEXT = "restore the file or make the model anew"


def read_json_bounded(path: str | Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Parse a JSON file of at most `max_bytes`: UTF-8, finite numbers, no key twice, not too deep.

    Raises ArtifactError when the file is missing, too large or not such JSON.
    """
    return parse_json_bounded(read_bytes_bounded(path, max_bytes), path)


def read_bytes_bounded(path: str | Path, max_bytes: int) -> bytes:
    """The bytes of a file that has at most `max_bytes` of them.

    Raises ArtifactError when the file is missing, unreadable or too large.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); {_NEXT}") from error
    if len(data) > max_bytes:
        raise ArtifactError(f"{path}: larger than the {max_bytes} bytes allowed; {_NEXT}")
    return data


def parse_json_bounded(data: bytes, path: str | Path) -> Any:
    """Parse the bytes of the file `path` as `read_json_bounded` does."""
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else error
        raise ArtifactError(f"{path}: not valid JSON ({reason}); {_NEXT}") from error
    if _is_deeper_than(value, MAX_JSON_DEPTH):
        raise ArtifactError(f"{path}: nested deeper than {MAX_JSON_DEPTH} levels; {_NEXT}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


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


def load_array(path: str | Path, dtype: Any, ndim: int, mmap: bool = True) -> np.ndarray:
    """Read an npy file of exactly this dtype and number of dimensions.

    Header, dtype, shape and the size of the file are checked before any content is touched. The
    array is read-only: memory-mapped with `mmap`, else a copy in memory.

    Raises ArtifactError when the file is missing, truncated, or holds something else.
    """
    try:
        with open(path, "rb") as file:
            shape, fortran, found = _read_npy_header(file)
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
    except (OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
        raise ArtifactError(f"{path}: not a readable npy file ({error}); {_NEXT}") from error
    wanted = np.dtype(dtype)
    if found != wanted or found.hasobject:
        raise ArtifactError(f"{path}: holds {found} where {wanted} is needed; {_NEXT}")
    if len(shape) != ndim or any(n < 0 for n in shape):
        raise ArtifactError(f"{path}: has shape {shape} where {ndim} dimension(s) belong; {_NEXT}")
    num_items = 1
    for length in shape:
        num_items *= length
    if offset + num_items * wanted.itemsize != size:
        needed = offset + num_items * wanted.itemsize
        raise ArtifactError(f"{path}: {size} bytes where its header asks for {needed}; {_NEXT}")
    if num_items == 0:
        array = np.empty(shape, wanted)
    else:
        mapped = np.memmap(
            path, wanted, mode="r", offset=offset, shape=shape, order="F" if fortran else "C"
        )
        array = mapped.view(np.ndarray) if mmap else np.array(mapped)
    array.flags.writeable = False
    return array


def _read_npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file, max_header_size=_MAX_NPY_HEADER)
    if version == (2, 0):
        return npy.read_array_header_2_0(file, max_header_size=_MAX_NPY_HEADER)
    raise ValueError(f"npy version {version[0]}.{version[1]} is not used by xrt")


def check_csr(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray | None,
    shape: tuple[int, int],
    what: str | Path,
) -> None:
    """Check that arrays read from disk make a CSR matrix that compiled code may walk blindly.

    Raises ArtifactError when lengths do not fit, row pointers fall, a column is out of range, or a
    value is not finite.
    """
    if len(indptr) != shape[0] + 1 or (data is not None and len(data) != len(indices)):
        raise ArtifactError(f"{what}: the parts of a matrix of shape {shape} do not fit; {_NEXT}")
    if indptr[0] != 0 or indptr[-1] != len(indices) or (indptr[1:] < indptr[:-1]).any():
        raise ArtifactError(f"{what}: row pointers do not rise from 0 to {len(indices)}; {_NEXT}")
    if len(indices) and (indices.min() < 0 or indices.max() >= shape[1]):
        raise ArtifactError(f"{what}: a column lies outside 0..{shape[1] - 1}; {_NEXT}")
    if data is not None and not np.isfinite(data).all():
        raise ArtifactError(f"{what}: a value is not finite; {_NEXT}")
