"""Files and folders that appear whole or not at all.

Everything is written to a temporary neighbour of its target (same folder, so the same
filesystem), flushed to disk, and renamed over the target. A crash, an exception or a full disk
leaves the old content as it was. Temporary names (`.tmp-HOST-PID-RANDOM-NAME`) carry the process
id, so the next writer of the same target recognises and removes the leftovers of a killed process.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xrt.errors import CapacityError

_HASH_BLOCK = 1 << 20


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what was there in one step."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, line ends as they are."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, keys in their given order; NaN and infinity are refused."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def save_array(path: str | Path, array: np.ndarray) -> None:
    """Write one array in npy format; object arrays are refused, since they would need pickle."""
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.asarray(array), allow_pickle=False)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; at exit it is flushed and renamed to `path`.

    On an exception the temporary file is removed and `path` keeps its old content.

    Raises CapacityError when the disk is full.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep_stale(target)
    temporary = _temporary_name(target, "tmp")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        _raise_if_full(error, target)
        raise
    sync(target.parent)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder to fill; at exit it becomes the folder `path`.

    An existing folder is renamed away, the new one renamed in, the old one deleted; when the second
    rename fails the old folder comes back. A process killed between the two renames leaves the old
    folder under its `.old-...` name, and `recover_folder` (called here) puts it back.

    Raises CapacityError when the disk is full.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(target)
    temporary = _temporary_name(target, "tmp")
    temporary.mkdir()
    try:
        yield temporary
        sync_tree(temporary)
        _swap_in(temporary, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        _raise_if_full(error, target)
        raise


@contextlib.contextmanager
def scratch_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `path` that is removed at exit; `sweep_stale(path)` removes it
    when the process was killed.
    """
    scratch = _temporary_name(Path(path), "tmp")
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def recover_folder(path: str | Path) -> None:
    """Clean up after killed writers of folder `path`; restore the old folder if `path` is gone."""
    target = Path(path)
    if not target.exists():
        for old in _leftovers(target, "old"):
            os.replace(old, target)
            break
    sweep_stale(target)


def sweep_stale(path: str | Path) -> None:
    """Remove temporary files and folders of `path` whose process on this machine is dead."""
    target = Path(path)
    for leftover in [*_leftovers(target, "tmp"), *_leftovers(target, "old")]:
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    buffer = bytearray(_HASH_BLOCK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Flush a file or folder to disk; a folder that cannot be opened for it is left alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder under `folder`, innermost first."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            if not os.path.islink(os.path.join(root, name)):
                sync(Path(root, name))
        sync(Path(root))


def _raise_if_full(error: BaseException, target: Path) -> None:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(target.parent).free
        raise CapacityError(
            f"{target}: disk full while writing ({free / 1e6:.1f} MB free now); what was there is "
            f"unchanged: free some space and run again"
        ) from error


def _swap_in(temporary: Path, target: Path) -> None:
    old = _temporary_name(target, "old")
    had_old = os.path.lexists(target)
    if had_old:
        os.rename(target, old)
    try:
        os.rename(temporary, target)
    except BaseException:
        if had_old:
            os.rename(old, target)
        raise
    sync(target.parent)
    if had_old:
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink(missing_ok=True)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:32] or "host"


def _temporary_name(target: Path, kind: str) -> Path:
    random = secrets.token_hex(4)
    return target.with_name(f".{kind}-{_host()}-{os.getpid()}-{random}-{target.name}")


def _leftovers(target: Path, kind: str) -> list[Path]:
    """Temporary neighbours of `target` of one kind whose process, on this machine, is dead."""
    start, end = re.escape(f".{kind}-{_host()}-"), re.escape(f"-{target.name}")
    form = re.compile(start + r"(?P<pid>[0-9]+)-[0-9a-f]{8}" + end)
    found = []
    for name in os.listdir(target.parent):
        match = form.fullmatch(name)
        if match and not process_is_alive(int(match["pid"])):
            found.append(target.parent / name)
    return sorted(found)


def process_is_alive(pid: int) -> bool:
    """True when a process of this id runs on this machine, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
