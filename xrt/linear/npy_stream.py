"""An npy file that grows along its first axis while it is written."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from xrt.storage.atomic import atomic_file


class NpyStream:
    """Appends to an open file; its bytes end as those that `np.save` writes for the whole array.

    numpy's header leaves room for a longer first axis, so it is written again at the end.
    """

    def __init__(self, file: IO[bytes], dtype: Any, item_shape: tuple[int, ...] = ()) -> None:
        """Start an array of items of this type and shape, none yet."""
        self._file, self._dtype, self._item_shape = file, np.dtype(dtype), item_shape
        self._length = 0
        self._write_header()
        self._start = file.tell()

    def append(self, items: np.ndarray) -> int:
        """Write items (n, *item_shape); returns the number of bytes."""
        assert items.dtype == self._dtype
        assert items.shape[1:] == self._item_shape
        self._file.write(np.ascontiguousarray(items).data if items.size else b"")
        self._length += len(items)
        return items.nbytes

    def close(self) -> None:
        """Write the final header; the file itself stays open."""
        self._file.seek(0)
        self._write_header()
        assert self._file.tell() == self._start

    def _write_header(self) -> None:
        form = npy.dtype_to_descr(self._dtype)
        shape = (self._length, *self._item_shape)
        header = {"descr": form, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._file, header)


@contextlib.contextmanager
def npy_stream(
    path: Path, dtype: Any, item_shape: tuple[int, ...], done: list[Path]
) -> Iterator[NpyStream]:
    """A stream that becomes the file `path` at exit and is then named in `done`.

    On an exception nothing appears and what was there stays. Raises CapacityError when the disk is
    full.
    """
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        stream = NpyStream(file, dtype, item_shape)
        yield stream
        stream.close()
    done.append(path)
