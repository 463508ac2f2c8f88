"""Compiles kernels with numba and caches their machine code between processes.

numba's own cache looks at a kernel's file only, not at the kernels it calls, and raises when it
finds no folder to write to. Here each file with kernels has a folder named by the hash of its
source and of every source it takes kernels or constants from, so that code of another version is
never run; where no folder can be used, kernels are compiled in each process.

The cache holds pickles: whoever can write to it can run code. A folder is used only if it belongs
to this user and nobody else may write to it.
"""

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import cache as remember
from functools import wraps
from pathlib import Path
from typing import Any

import numba

_PACKAGE = Path(__file__).resolve().parent
_SETTINGS: Any = numba.config
_IMPORT = re.compile(r"^from (xrt[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)


def njit(cache: bool = True, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with a cache that is never stale and whose faults cost a compilation, no more.

    Args:
        cache: whether machine code is cached between processes, where a folder can be used.
        **options: those of `numba.njit`.

    Returns:
        A decorator, which gives a numba dispatcher.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        folder = cache_folder(function.__code__.co_filename) if cache else None
        if folder is None:
            return numba.njit(**options)(function)
        before, _SETTINGS.CACHE_DIR = _SETTINGS.CACHE_DIR, str(folder)
        try:
            kernel = numba.njit(cache=True, **options)(function)
        except (OSError, RuntimeError):  # the folder went away, or its disk is full
            return numba.njit(**options)(function)
        finally:
            _SETTINGS.CACHE_DIR = before
        _survive_faults(getattr(kernel, "_cache", None))
        return kernel

    return decorate


@remember
def cache_folder(file: str) -> Path | None:
    """The cache folder of a file's kernels; None if there can be none.

    Args:
        file: the path of a Python source.

    Returns:
        A folder named by the file and by the hash of all sources its kernels are made of.
    """
    base = cache_base()
    if base is None:
        return None
    try:
        sources = kernel_sources(Path(file))
    except (OSError, UnicodeDecodeError):  # an installation without sources
        return None
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(str(path.name).encode() + b"\0" + _source(path).encode() + b"\0")
    return base / f"{Path(file).stem}-{digest.hexdigest()[:16]}"


def kernel_sources(file: Path) -> set[Path]:
    """The sources that a file's kernels are made of: its own, and each one that it imports kernels
    or constants from, and so on.

    Args:
        file: a Python source.

    Returns:
        Paths, `file` included.

    Raises:
        OSError: a source cannot be read.
    """
    sources: set[Path] = set()
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path not in sources:
            sources.add(path)
            waiting += _imported_sources(path)
    return sources


@remember
def _imported_sources(path: Path) -> tuple[Path, ...]:
    """Sources of this package from which a source imports kernels or constants."""
    sources = []
    for module, names in _IMPORT.findall(_source(path)):
        home = _PACKAGE.joinpath(*module.split(".")[1:])
        words = re.findall(r"\w+", names)
        for other in (home.with_suffix(".py"), *(home / f"{word}.py" for word in words)):
            constants = any(word.isupper() for word in words)
            if other.is_file() and (constants or _has_kernels(other)):
                sources.append(other)
    return tuple(sources)


def _has_kernels(path: Path) -> bool:
    return "njit" in _source(path) or "numba" in _source(path)


@remember
def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@remember
def cache_base() -> Path | None:
    """The folder for compiled code: the first private, writable one of `NUMBA_CACHE_DIR`, the
    user's cache folder, the folder for temporary files.

    Returns:
        The folder; None where there is none such.
    """
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    return next(
        (place for base in _places() if _is_usable(place := base / f"xrt-kernels-{user}")), None
    )


def _places() -> Iterator[Path]:
    if _SETTINGS.CACHE_DIR:
        yield Path(_SETTINGS.CACHE_DIR).absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if cache.is_absolute():  # "~" stays where there is neither HOME nor a user of this number
        yield cache
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir())


def _is_usable(folder: Path) -> bool:
    """Whether a folder is there or can be made, is this user's alone, and can be written to."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
        if hasattr(os, "geteuid"):
            shared = about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if shared or not stat.S_ISDIR(about.st_mode):
                return False
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, ValueError):
        return False
    return True


def _survive_faults(cache: Any) -> None:
    """Hide faults of the cache from callers of a kernel: a damaged or unreadable file, or a full
    disk, costs another compilation.
    """
    for name in ("load_overload", "save_overload"):
        method = getattr(cache, name, None)
        if method is not None:
            setattr(cache, name, _or_none(method, cache))


def _or_none(method: Callable[..., Any], cache: Any) -> Callable[..., Any]:
    @wraps(method)
    def tried(*args: Any) -> Any:
        try:
            return method(*args)
        except Exception:
            with contextlib.suppress(Exception):
                cache.flush()  # an index that cannot be read is written anew
            return None

    return tried
