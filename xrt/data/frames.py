"""What polars raises, as one error of ours that names the file.

A crafted or damaged file makes polars raise errors of several families, and `PanicException`, which
is no `Exception` at all.
"""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from xrt.errors import CapacityError, DataError, XrtError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = "No space left"


@contextlib.contextmanager
def frame_faults(path: str | Path, fault: str = "not a readable Parquet file") -> Iterator[None]:
    """Run a piece of work of polars on a file.

    Args:
        path: The file, for the message.
        fault: What it means that polars cannot do it, such as "cannot be written as CSV".

    Yields:
        None, once; the work is done within.

    Raises:
        DataError: polars cannot do it; the message names the path and polars' first line.
        CapacityError: there is not enough memory, or no room on the disk.
    """
    try:
        yield
    except (XrtError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError as err:
        raise CapacityError(f"{path}: {fault}: there is not enough memory") from err
    except BaseException as err:
        lines = str(err).split("\n")
        if getattr(err, "errno", None) in _FULL or _FULL_WORDS in str(err):
            raise CapacityError(
                f"{path}: {fault}: disk full; free some space and run again"
            ) from err
        cause = (getattr(err, "strerror", None) or lines[0] or type(err).__name__)[:300]
        raise DataError(f"{path}: {fault} ({cause}); write it again") from err
