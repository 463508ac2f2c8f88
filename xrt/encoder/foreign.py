"""Whatever transformers, tokenizers or safetensors raise becomes an error of xrt, in one line."""

import contextlib
from collections.abc import Callable, Iterator

from xrt.errors import XrtError


@contextlib.contextmanager
def library_faults(error: Callable[[str], XrtError]) -> Iterator[None]:
    """Around calls of a library whose exceptions share no base.

    Args:
        error: Makes the error to raise of what the library said, one line.

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
