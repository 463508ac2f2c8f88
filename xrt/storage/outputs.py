"""What a command writes is none of the files that it reads."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from xrt.errors import ConfigError


def refuse_inputs_as_outputs(
    outputs: Mapping[str, str | Path | None],
    inputs: Mapping[str, str | Path | None],
    folders: Mapping[str, str | Path | None] | None = None,
) -> None:
    """Check before any work that no output is an input, under whatever name.

    Args:
        outputs: Files to be written, by the option that names them; None is not written.
        inputs: Files that are read, by option; `-` is standard input.
        folders: Folders that are read, in which nothing is written either.

    Raises:
        ConfigError: An output is an input, by its name, a link or a hard link, lies in a folder
            that is read, or two outputs are one file.
    """
    taken: dict[str, str | Path] = {}
    for option, out in outputs.items():
        if out is None:
            continue
        for name, path in {**inputs, **taken}.items():
            if path is not None and path != "-" and _is_same_file(out, path):
                use = "written by another option, too" if name in taken else "read"
                raise ConfigError(f"{option} {out}: is a file that is {use}; name another")
        for folder in (folders or {}).values():
            if folder is not None and _lies_in(out, folder):
                raise ConfigError(f"{option} {out}: lies in {folder}, which is read; name another")
        taken[option] = out


def _is_same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two names lead to one regular file; a terminal may be read and written."""
    if os.path.realpath(one) == os.path.realpath(other):
        return not _is_device(one)
    try:
        return os.path.samefile(one, other) and not _is_device(one)
    except OSError:
        return False


def _is_device(path: str | Path) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _lies_in(path: str | Path, folder: str | Path) -> bool:
    real, home = os.path.realpath(path), os.path.realpath(folder)
    return os.path.isdir(home) and (real == home or real.startswith(home + os.sep))
