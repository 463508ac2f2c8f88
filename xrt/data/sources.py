"""Opening input files: found, not empty, unpacked, line by line; every fault named in one line.

Compression is told by the first bytes of a file, not by its name: gzip and xz are read as they are.
"""

import contextlib
import difflib
import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from xrt.errors import DataError
from xrt.storage.atomic import atomic_file

GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ\x00"
COMPRESSED_SUFFIXES = (".gz", ".xz")
_OTHER_PACKING = {
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"PK\x03\x04": "zip (as workbooks .xlsx are)",
}
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"
_BUFFER_BYTES = 1 << 20


def require_file(path: str | Path) -> Path:
    """The path of a file that exists and is not empty.

    Args:
        path: The file.

    Returns:
        The same path.

    Raises:
        DataError: it is missing (near names in its folder are suggested), a folder, or empty.
    """
    path = Path(path)
    if path.is_dir():
        names = ", ".join(sorted(p.name for p in path.iterdir() if p.is_file())[:8]) or "none"
        raise DataError(f"{path}: a folder where a file is needed; give one of its files: {names}")
    if not path.exists():
        raise DataError(f"{path}: no such file; {_nearby(path)}")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes); write or fetch it again")
    return path


def _nearby(path: Path) -> str:
    if not path.parent.is_dir():
        return f"its folder {path.parent} is not there either; check the path"
    names = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    listed = ", ".join(names[:8]) or "no files"
    return f"the folder holds {listed}; check the name"


def plain_name(path: str | Path) -> str:
    """The file's name in lower case without `.gz` or `.xz`.

    Args:
        path: The file.

    Returns:
        The name.
    """
    name = Path(path).name.lower()
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def beside(path: str | Path, *names: str) -> Path | None:
    """The first of some names, plain or compressed, that lies in the folder of a file.

    Args:
        path: The file.
        *names: Names to look for, the first choice first.

    Returns:
        The path; None where there is none of them.
    """
    folder = Path(path).parent
    for name in names:
        for suffix in ("", *COMPRESSED_SUFFIXES):
            if (candidate := folder / (name + suffix)).is_file():
                return candidate
    return None


@contextlib.contextmanager
def open_unpacked(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, gzip and xz unpacked on the way.

    Args:
        path: The file.

    Yields:
        The open file, at its start.

    Raises:
        DataError: missing, empty, not readable, of another packing, or damaged while it is read.
    """
    path = require_file(path)
    try:
        file = open(path, "rb")
    except OSError as err:
        raise DataError(f"{path}: cannot be read ({err.strerror}); check its permissions") from err
    with file:
        head = file.read(6)
        file.seek(0)
        try:
            yield _unpacked(path, file, head)
        except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as err:
            raise DataError(f"{path}: damaged or cut off ({err}); fetch or pack it again") from err


def _unpacked(path: Path, file: BinaryIO, head: bytes) -> BinaryIO:
    if head.startswith(GZIP_MAGIC):
        return cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb"))
    if head.startswith(XZ_MAGIC):
        return cast(BinaryIO, io.BufferedReader(lzma.LZMAFile(file), _BUFFER_BYTES))
    for magic, name in _OTHER_PACKING.items():
        if head.startswith(magic):
            raise DataError(
                f"{path}: packed with {name}, which is not read; unpack or export it first"
            )
    return file


def numbered_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    r"""Lines without their ends; a BOM is removed, `\r\n` equals `\n`.

    Args:
        path: The file; gzip and xz are unpacked.

    Yields:
        Number, from 1, and bytes of each line.

    Raises:
        DataError: as `lines_with_ends`.
    """
    for number, line in lines_with_ends(path):
        yield number, line.removesuffix(b"\n").removesuffix(b"\r")


def lines_with_ends(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Lines as they are in the file; a BOM is removed.

    Args:
        path: The file; gzip and xz are unpacked.

    Yields:
        Number, from 1, and bytes of each line.

    Raises:
        DataError: as `open_unpacked`; the text is UTF-16; or the unpacked content is empty.
    """
    with open_unpacked(path) as file:
        number = 0
        for number, line in enumerate(file, 1):
            if number == 1:
                line = _without_mark(path, line)
            yield number, line
        if number == 0:
            raise DataError(f"{path}: the unpacked file is empty; write or fetch it again")


def stream_lines(name: str | Path, lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines of a stream as they came; a BOM is removed.

    Args:
        name: What to call the stream in a message.
        lines: The lines.

    Yields:
        Number, from 1, and bytes of each line.

    Raises:
        DataError: the text is UTF-16.
    """
    for number, line in enumerate(lines, 1):
        yield number, _without_mark(name, line) if number == 1 else line


def _without_mark(path: str | Path, line: bytes) -> bytes:
    if line.startswith(_WIDE_MARKS):
        raise DataError(
            f"{path}: line 1: UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"
        )
    return line.removeprefix(_UTF8_MARK)


def first_line(path: str | Path) -> bytes:
    """The first line that is not blank, at most its first MiB.

    Args:
        path: The file; gzip and xz are unpacked.

    Returns:
        Its bytes without blanks around them; empty where there is none.

    Raises:
        DataError: as `open_unpacked`.
    """
    with open_unpacked(path) as file:
        while line := file.readline(_BUFFER_BYTES):
            if line := line.removeprefix(_UTF8_MARK).strip():
                return line
    return b""


@contextlib.contextmanager
def open_packed(path: str | Path) -> Iterator[BinaryIO]:
    """Write a file whole or not at all; packed when its name ends in `.gz` or `.xz`.

    The same content gives the same bytes: no time stamp goes into a gzip header.

    Args:
        path: The file.

    Yields:
        A file to write bytes to.
    """
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        name = Path(path).name.lower()
        if name.endswith(".gz"):
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
                yield cast(BinaryIO, packed)
        elif name.endswith(".xz"):
            with lzma.LZMAFile(file, "wb", preset=6) as packed_xz:
                yield cast(BinaryIO, packed_xz)
        else:
            yield file
