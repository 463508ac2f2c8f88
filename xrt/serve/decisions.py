"""What people decided about labels: a file of JSON lines that is only ever appended to.

`xrt audit --decisions FILE` and `xrt audit apply --accept FILE` read it. Several processes may
append to one file: each locks it, writes all its rows at once, flushes them to disk, and takes back
what a full disk has cut off. What other processes append is read when it is asked for.
"""

import contextlib
import errno
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from xrt.data.jsonl import parse_json_line
from xrt.data.options import BadLine
from xrt.errors import CapacityError, DataError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows has no locks of this kind
    fcntl = None

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_BYTES = 1 << 20
_SHOWN_CHARACTERS = 40


class DecisionFile:
    """The decisions of a file, those of other processes included."""

    def __init__(self, path: str | Path) -> None:
        """Open the file and read what is in it; it is made where there is none.

        Args:
            path: The file.

        Raises:
            DataError: a line is no decision, or the last one is cut off; its number is named. Or
                the file cannot be opened for reading and writing.
        """
        self.path = Path(path)
        self._lock = threading.Lock()
        self._start_over()
        self.decided()

    def decided(self) -> Mapping[str, bool]:
        """What was decided so far, by id; of two decisions on one id the later counts.

        Returns:
            Whether it was accepted; the mapping grows as decisions are made.

        Raises:
            DataError: somebody appended a line that is no decision; its number is named.
        """
        with self._lock, self._opened() as descriptor, _locked(descriptor, alone=False):
            self._read(descriptor)
            return self._accepted

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add decisions, all of them or none.

        Args:
            rows: Decisions: `id`, a text, and `accepted`, true or false; other keys are kept.

        Raises:
            DataError: a row is no decision, or the file was broken by somebody else.
            CapacityError: the disk is full; the file is as it was.
        """
        for number, row in enumerate(rows):
            fault = fault_of(row)
            if fault:
                raise DataError(f"decisions[{number}]: {fault}")
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        with self._lock, self._opened() as descriptor, _locked(descriptor, alone=True):
            self._read(descriptor)
            size = os.fstat(descriptor).st_size
            try:
                _write(descriptor, lines)
            except OSError as error:
                os.ftruncate(descriptor, size)
                if error.errno not in _FULL:
                    raise
                raise CapacityError(
                    f"{self.path}: disk full, {len(rows)} decision(s) were not kept; what was "
                    "there is unchanged: free some space and send them again"
                ) from error
            self._read(descriptor)

    def _start_over(self) -> None:
        self._accepted: dict[str, bool] = {}
        self._file: tuple[int, int] | None = None
        self._num_bytes = self._num_lines = 0

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The file as it stands at its path now: it may have been replaced."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(self.path, flags, 0o644)
        except OSError as error:
            raise DataError(
                f"{self.path}: decisions cannot be kept there ({error.strerror}); name a file that "
                "may be read and written, in a folder that is there"
            ) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int) -> None:
        """Take in what was appended since; everything, where the file is another or shorter."""
        about = os.fstat(descriptor)
        if self._file != (about.st_dev, about.st_ino) or about.st_size < self._num_bytes:
            self._start_over()
            self._file = about.st_dev, about.st_ino
        if about.st_size == self._num_bytes:
            return
        os.lseek(descriptor, self._num_bytes, os.SEEK_SET)
        for line in _lines(descriptor):
            number = self._num_lines + 1
            self._take(line, number)
            self._num_bytes += len(line)
            self._num_lines = number

    def _take(self, line: bytes, number: int) -> None:
        where = f"{self.path}: line {number}"
        if not line.endswith(b"\n"):
            raise DataError(f"{where}: is cut off; remove it, or end it with a line end")
        if line.isspace():
            return
        try:
            row = parse_json_line(line).record
        except BadLine as fault:
            raise DataError(f"{where}: {fault}") from fault
        fault_of_row = fault_of(row)
        if fault_of_row:
            raise DataError(f"{where}: {fault_of_row}")
        self._accepted[row["id"]] = row["accepted"]


def fault_of(row: Mapping[str, Any]) -> str:
    """What is wrong with a decision.

    Args:
        row: The object.

    Returns:
        One line; '' for nothing.
    """
    checks: dict[str, Callable[[Any], bool]] = {
        "id": lambda value: isinstance(value, str) and value != "",
        "accepted": lambda value: isinstance(value, bool),
    }
    for name, is_good in checks.items():
        if not is_good(row.get(name)):
            shown = json.dumps(row[name])[:_SHOWN_CHARACTERS] if name in row else "not there"
            return (
                f"{name!r} is {shown}; write "
                '{"id": "add:12:label", "accepted": true} or false, without quotes'
            )
    return ""


def _lines(descriptor: int) -> Iterator[bytes]:
    """The lines from the place of the descriptor on, with their ends; the last may lack it."""
    rest = b""
    while block := os.read(descriptor, _READ_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it and flush it to disk; a disk that takes a part of it raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


@contextlib.contextmanager
def _locked(descriptor: int, *, alone: bool) -> Iterator[None]:
    """No other process appends meanwhile, nor reads where one is `alone`; the lock goes with the
    descriptor. Some network filesystems have no locks.
    """
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        except OSError:
            logger.warning("the file of decisions cannot be locked: let one process write to it")
    yield
