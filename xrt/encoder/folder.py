"""The files of an encoder's folder: which there are, what they hash to, and how their faults are
worded.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from xrt.errors import ArtifactError, ConfigError, XrtError
from xrt.storage.atomic import sha256_of
from xrt.storage.hashing import content_hash

# The files transformers reads; weights only as safetensors, never code and never pickle.
HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]


def weight_files(folder: Path) -> list[Path]:
    """The files of weights.

    Args:
        folder: the encoder's folder.

    Returns:
        Files, by name.

    Raises:
        ConfigError: there are none.
    """
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise ConfigError(
            f"{folder}: no model.safetensors, and pickled weights are never read; write it with "
            "transformers' save_pretrained and pass that folder"
        )
    return files


def has_encoder(folder: Path) -> bool:
    """Whether configuration and weights are there.

    Args:
        folder: the folder.

    Returns:
        True for config.json and one file of weights at least.
    """
    return (folder / "config.json").is_file() and any(folder.glob("model*.safetensors"))


def refuse_pointer(path: Path) -> None:
    """Raises ArtifactError where git-lfs has put a pointer in the place of a file.

    Args:
        path: the file.

    Raises:
        ArtifactError: the file is a pointer of git-lfs.
    """
    with open(path, "rb") as file:
        if file.read(40).startswith(b"version https://git-lfs.github.com"):
            raise ArtifactError(
                f"{path}: a pointer of git-lfs, not the file itself; run `git lfs pull` in its "
                "folder, or download the file"
            )


def encoder_hash(folder: Path) -> str:
    """What all that is read of an encoder hashes to: configuration, tokenizer and weights.

    Names of files count, the folder's name does not. A file that was hashed in this process is not
    read again while size, time of change and inode are the same.

    Args:
        folder: the encoder's folder.

    Returns:
        The hash.
    """
    files = {path for pattern in HUB_FILES for path in folder.glob(pattern) if path.is_file()}
    return content_hash({path.name: file_hash(path) for path in files})


def file_hash(path: Path) -> str:
    """SHA-256 of a file; see `encoder_hash` for when it is read.

    Args:
        path: the file.

    Returns:
        The hash, in hexadecimal digits.
    """
    stat = path.stat()
    return _hash_of(path.resolve(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@functools.lru_cache(maxsize=256)
def _hash_of(path: Path, *state: int) -> str:
    return sha256_of(path)


@contextlib.contextmanager
def library_faults(error: Callable[[str], XrtError]) -> Iterator[None]:
    """Around calls of a library whose exceptions share no base.

    Args:
        error: Makes the error to raise of what the library said, one line.

    Yields:
        Nothing.

    Raises:
        XrtError: What `error` gives. xrt's own errors, MemoryError and those that end a program
            pass as they are.
    """
    try:
        yield
    except (XrtError, MemoryError):
        raise
    except Exception as err:
        raise error(_line(err)) from err
    except BaseException as err:
        if type(err).__name__ != "PanicException":  # of Rust; not an Exception
            raise
        raise error(_line(err)) from err


def _line(err: BaseException) -> str:
    text = " ".join(str(err).split())
    return f"{type(err).__name__}: {text[:300]}" if text else type(err).__name__
