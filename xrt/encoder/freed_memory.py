"""On a CPU, memory that one step frees is kept for the next, for the time of a fit or an encoding.

A step makes and drops hundreds of arrays of some megabytes. glibc gives large ones back to the
system at once, and the system has to clear their pages again when the next array of the size
touches them.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

import lightning.pytorch as pl

# parameters of mallopt(3)
TRIM_THRESHOLD, MMAP_MAX = -1, -4
KEEP_ALL, NO_MAPPINGS = -1, 0
TRIM_USUAL, MAPPINGS_USUAL = 64 * 2**20, 65_536
"""What glibc arrives at by itself in a process with large arrays, and its default."""


class KeepFreedMemory(pl.Callback):
    """Has the C library keep freed memory in the process that trains; does nothing where it is not
    glibc's, or where MALLOC_ or GLIBC_TUNABLES settings of the environment already say otherwise.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """From the first step on."""
        keep_freed_memory()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """A fit that fails is torn down by nobody else."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """What is free goes back to the system."""
        give_freed_memory()


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """While open, as `KeepFreedMemory`."""
    keep_freed_memory()
    try:
        yield
    finally:
        give_freed_memory()


def keep_freed_memory() -> None:
    """Freed memory stays with this process."""
    _tell_glibc(((MMAP_MAX, NO_MAPPINGS), (TRIM_THRESHOLD, KEEP_ALL)), trim=False)


def give_freed_memory() -> None:
    """Freed memory goes back to the system, now and later."""
    _tell_glibc(((MMAP_MAX, MAPPINGS_USUAL), (TRIM_THRESHOLD, TRIM_USUAL)), trim=True)


def _tell_glibc(settings: tuple[tuple[int, int], ...], trim: bool) -> None:
    if not sys.platform.startswith("linux") or _set_by_the_user():
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  only glibc has it
        for parameter, value in settings:
            library.mallopt(parameter, value)
        if trim:
            library.malloc_trim(0)


def _set_by_the_user() -> bool:
    names = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    return any(name in os.environ for name in names) or "glibc.malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )
