"""A hash beside a file: a file that a run goes on from is known to be the one that was written.

`NAME.sha256` holds the hashes of the last writes, the latest first, in the form of `sha256sum`. It
is written before the file itself is renamed into place, so a process killed in between leaves an
older file whose hash is still there.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from xrt.storage.atomic import sha256_of, write_text

SUFFIX = ".sha256"
_HASHES_KEPT = 4


def seal_path(path: Path) -> Path:
    """Where the hashes of a file are.

    Args:
        path: The file.

    Returns:
        The path of the file with its hashes.
    """
    return path.with_name(path.name + SUFFIX)


def write_seal(path: Path, content: Path | None = None) -> None:
    """Add the hash of a file to those that it may have.

    Args:
        path: The file, which may not be there yet.
        content: Where its bytes are now; None: in `path`.
    """
    hashes = [sha256_of(path if content is None else content), *_hashes(path)][:_HASHES_KEPT]
    write_text(seal_path(path), "".join(f"{hash}  {path.name}\n" for hash in hashes))


def seal_fits(path: Path, *, needed: bool) -> bool:
    """Whether a file has one of its hashes.

    Args:
        path: The file.
        needed: What a file without a seal counts for: True, it does not fit.

    Returns:
        False for an altered file, and where there is none.
    """
    if not path.is_file():
        return False
    if not seal_path(path).is_file():
        return not needed
    return sha256_of(path) in _hashes(path)


def make_once(paths: Sequence[Path], make: Callable[[], None]) -> None:
    """Have files that need not be made again.

    Args:
        paths: The files.
        make: Writes all of them; called where one is missing or altered.
    """
    if all(seal_fits(path, needed=True) for path in paths):
        return
    make()
    for path in paths:
        write_seal(path)


def remove_sealed(path: Path) -> None:
    """Delete a file and its hashes, where they are.

    Args:
        path: The file.
    """
    path.unlink(missing_ok=True)
    seal_path(path).unlink(missing_ok=True)


def _hashes(path: Path) -> list[str]:
    try:
        text = seal_path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return re.findall(r"^[0-9a-f]{64}(?=  )", text, re.MULTILINE)
