"""Files and folders that appear whole or not at all.

Everything is written to a temporary neighbour of its target (same folder, so the same
filesystem), flushed to disk, and renamed over the target. A crash, an exception or a full disk
leaves the old content as it was. A writer locks its temporary file or folder (`.tmp-...-NAME`), and
the lock goes with the process: what nobody locks is the leftover of a killed process, and the next
writer of the same target removes it. Process ids would not do, since in a container each process
is number 1 and each start has another host name; they are asked only where there are no locks.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from xrt.errors import CapacityError, ConfigError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows has no locks of this kind
    fcntl = None

_HASH_BLOCK = 1 << 20
_MAX_NAME_BYTES = 160
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS = (
    r"No space left on device|Disk quota exceeded|os error (28|122)\b|"
    r"[0-9]+ requested and [0-9]+ written"
)
"""How libraries tell of a full disk that say no error number: polars, numpy."""
_DESCRIPTOR = re.compile(r"/dev/std(?P<name>out|err)|/(dev|proc/self)/fd/(?P<fd>[0-9]{1,6})")
_EXCHANGE, _AT_FDCWD = 2, -100  # of renameat2


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes to a file, replacing what was there in one step.

    Args:
        path: The file.
        data: Its content.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write text as UTF-8, line ends as they are, as `write_bytes` does.

    Args:
        path: The file.
        text: Its content.
    """
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON, keys in their given order.

    Args:
        path: The file.
        value: What JSON can hold.

    Raises:
        ValueError: there is NaN or infinity in it.
        TypeError: it holds what JSON cannot.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def save_array(path: str | Path, array: np.ndarray) -> None:
    """Write one array in npy format.

    Args:
        path: The file.
        array: The array.

    Raises:
        ValueError: it holds objects, which would need pickle.
    """
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.asarray(array), allow_pickle=False)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; at exit it is flushed and becomes `path`.

    On an exception the temporary file is removed and `path` keeps its old content. A link stays
    and the file behind it is replaced; a file that is replaced keeps its mode and, where that is
    allowed, its owner. A device, a FIFO or `/dev/stdout` cannot be replaced: the whole content is
    written into it at exit.

    Args:
        path: The file to write. Its folder is made where there is none.

    Yields:
        An empty file to be opened for writing, with the suffix of `path`.

    Raises:
        CapacityError: The disk is full.
        ConfigError: `path` is a folder.
        OSError: The file cannot be made; the error names `path`.
    """
    if is_written_into(path):
        with _written_into(path) as temporary:
            yield temporary
        return
    target = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    if target.is_dir():
        raise ConfigError(f"{path}: is a folder; name a file")
    with _naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep_stale(target)
        temporary, lock = _make_file(target)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        _raise_if_full(error, target)
        raise
    finally:
        os.close(lock)
    sync(target.parent)


@contextlib.contextmanager
def atomic_folder(
    path: str | Path, unchanged: Callable[[Path], bool] | None = None
) -> Iterator[Path]:
    """Give a temporary folder to fill; at exit it becomes the folder `path`.

    An existing folder and the new one change places in one step where the system can do that, and
    the old one is deleted. Elsewhere the old one is renamed away and the new one renamed in; when
    the second rename fails the old folder comes back, and a process killed between the two leaves
    the old folder under its `.old-...` name, and `recover_folder` (called here) puts it back.

    Args:
        path: The folder to write.
        unchanged: Asked at the end with the filled folder; where it says yes, `path` is left as it
            is and the filled folder is dropped.

    Yields:
        An empty folder beside `path`.

    Raises:
        CapacityError: The disk is full.
        OSError: The folder cannot be made; the error names `path`.
    """
    target = Path(path)
    with _naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(target)
        temporary, lock = _make_folder(target)
    try:
        yield temporary
        if unchanged is not None and unchanged(temporary):
            shutil.rmtree(temporary, ignore_errors=True)
            return
        sync_tree(temporary)
        _swap_in(temporary, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        _raise_if_full(error, target)
        raise
    finally:
        _unlock(lock)


@contextlib.contextmanager
def scratch_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `path` that is removed at exit; `sweep_stale(path)` removes it
    when the process was killed. Where `path` is a device or a descriptor it lies with temporary
    files.

    Args:
        path: The file or folder beside which it lies.

    Yields:
        The folder.

    Raises:
        OSError: it cannot be made; the error names `path`.
    """
    if is_written_into(path):
        with tempfile.TemporaryDirectory(prefix="xrt-") as folder:
            yield Path(folder)
        return
    target = Path(path)
    with _naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch, lock = _make_folder(target)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _unlock(lock)


def recover_folder(path: str | Path) -> None:
    """Clean up after killed writers of folder `path`; restore the old folder if `path` is gone.

    Args:
        path: The folder.
    """
    target = Path(path)
    if not os.path.lexists(target):
        with _leftovers(target, "old") as old:
            if old:
                os.replace(max(old, key=lambda folder: os.lstat(folder).st_ctime_ns), target)
    sweep_stale(target)


def sweep_stale(path: str | Path) -> None:
    """Remove temporary files and folders of `path` whose writer is dead.

    Args:
        path: A file or folder.
    """
    for kind in ("tmp", "old"):
        with _leftovers(Path(path), kind) as leftovers:
            for leftover in leftovers:
                _remove(leftover)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    buffer = bytearray(_HASH_BLOCK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Flush a file or folder to disk; a folder that cannot be opened for it is left alone.

    Args:
        path: The file or folder.

    Raises:
        OSError: a file cannot be opened or flushed.
    """
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
    """Flush every file and folder under `folder`, innermost first.

    Args:
        folder: The folder; links in it are passed over.
    """
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            if not os.path.islink(os.path.join(root, name)):
                sync(Path(root, name))
        sync(Path(root))


def _raise_if_full(error: BaseException, target: Path) -> None:
    """Raise CapacityError where an error, of whatever library, comes from a full disk."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL or (number is None and re.search(_FULL_TEXTS, str(error))):
        free = shutil.disk_usage(target.parent).free
        raise CapacityError(
            f"{target}: disk full while writing ({free / 1e6:.1f} MB free now); what was there is "
            f"unchanged: free some space and run again"
        ) from error


@contextlib.contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Errors of the system name the target, not its temporary neighbour."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        _raise_if_full(error, target)
        raise type(error)(error.errno, error.strerror, str(target)) from error


def is_written_into(path: str | Path) -> bool:
    """Whether a path is no regular file that may be replaced: a descriptor, a device, a FIFO.

    Args:
        path: The path.

    Returns:
        False also where nothing is there.
    """
    if _DESCRIPTOR.fullmatch(os.fspath(path)):
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextlib.contextmanager
def _written_into(path: str | Path) -> Iterator[Path]:
    """A temporary file elsewhere whose content goes into `path` at exit."""
    with tempfile.TemporaryDirectory(prefix="xrt-") as folder:
        temporary = Path(folder) / (Path(path).name or "out")
        temporary.touch()
        yield temporary
        try:
            with open(temporary, "rb") as source, _opened(path) as sink:
                shutil.copyfileobj(source, sink, _HASH_BLOCK)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from error


def _opened(path: str | Path) -> BinaryIO:
    """A device or FIFO opened for writing; of a descriptor a copy, so that nothing is cut off."""
    match = _DESCRIPTOR.fullmatch(os.fspath(path))
    if match is None:
        return open(path, "wb")
    return os.fdopen(os.dup(int(match["fd"] or {"out": 1, "err": 2}[match["name"]])), "wb")


def _swap_in(temporary: Path, target: Path) -> None:
    """Put the folder `temporary` in the place of `target`, and delete what was there."""
    if not os.path.lexists(target):
        os.rename(temporary, target)
        sync(target.parent)
        return
    if _exchange(temporary, target):
        sync(target.parent)
        _remove(temporary)
        return
    old = _temporary_name(target, "old")
    lock = None
    with contextlib.suppress(BlockingIOError):
        lock = _lock(target)  # goes with the folder: no other process may take it for a leftover
    try:
        os.rename(target, old)
        try:
            os.rename(temporary, target)
        except BaseException:
            os.rename(old, target)
            raise
        sync(target.parent)
        _remove(old)
    finally:
        _unlock(lock)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where the system cannot do it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _make_file(target: Path) -> tuple[Path, int]:
    """A new temporary file with the mode and owner of the target, and the descriptor that locks
    it.
    """
    while True:
        path = _temporary_name(target, "tmp")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        if not _try_lock(descriptor, path):
            os.close(descriptor)
            continue
        _keep_mode(descriptor, target)
        return path, descriptor


def _make_folder(target: Path) -> tuple[Path, int | None]:
    """A new temporary folder, and the descriptor that locks it (None: there are no locks)."""
    while True:
        path = _temporary_name(target, "tmp")
        path.mkdir()
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:  # Windows opens no folders
            return path, None
        if _try_lock(descriptor, path):
            return path, descriptor
        os.close(descriptor)


_BINARY = getattr(os, "O_BINARY", 0)


def _keep_mode(descriptor: int, target: Path) -> None:
    """Give a new file the mode and, where that is allowed, the owner of the one it replaces."""
    try:
        old = os.stat(target)
    except OSError:
        return
    new = os.fstat(descriptor)
    with contextlib.suppress(OSError, AttributeError):
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    with contextlib.suppress(OSError, AttributeError):
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _try_lock(descriptor: int, path: Path) -> bool:
    """Lock a file or folder just made; False when a sweeper was faster and it is gone."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network filesystems have no locks
        return True
    return os.path.lexists(path)


def _lock(path: Path) -> int | None:
    """Lock a file or folder; None where that cannot be done.

    Raises BlockingIOError when another writer holds it.
    """
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:32] or "host"


def _temporary_name(target: Path, kind: str) -> Path:
    random = secrets.token_hex(4)
    return target.with_name(f".{kind}-{_host()}-{os.getpid()}-{random}-{_tail(target)}")


def _tail(target: Path) -> str:
    """The target's name; of a very long one a hash and the suffix, since names have a limit."""
    name = os.fsencode(target.name)
    if len(name) <= _MAX_NAME_BYTES:
        return target.name
    return f"{hashlib.sha256(name).hexdigest()[:16]}{target.suffix[:16]}"


@contextlib.contextmanager
def _leftovers(target: Path, kind: str) -> Iterator[list[Path]]:
    """Temporary neighbours of `target` of one kind whose writer is dead; they are locked while the
    caller works on them.
    """
    form = re.compile(
        rf"\.{kind}-(?P<host>[A-Za-z0-9]+)-(?P<pid>[0-9]+)-[0-9a-f]{{8}}-"
        + re.escape(_tail(target))
    )
    dead, locks = [], []
    try:
        for name in sorted(os.listdir(target.parent)):
            match = form.fullmatch(name)
            if match is None:
                continue
            path = target.parent / name
            try:
                lock = _lock(path)
            except BlockingIOError:
                continue
            if lock is not None:
                locks.append(lock)
            if lock is not None or path.is_symlink() or _writer_is_dead(match):
                dead.append(path)
        yield dead
    finally:
        for lock in locks:
            os.close(lock)


def _writer_is_dead(match: re.Match[str]) -> bool:
    return match["host"] == _host() and not process_is_alive(int(match["pid"]))


def process_is_alive(pid: int) -> bool:
    """Whether a process runs on this machine, whoever owns it.

    Args:
        pid: Its id.

    Returns:
        True where it does, or where that cannot be told.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
