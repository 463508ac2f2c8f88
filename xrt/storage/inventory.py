"""What lies in a folder: every file with its size and SHA-256, and what differs from such a list.

Names are relative, with `/` between the parts. Links, devices, empty folders and names outside a
plain alphabet have no place in the folders xrt writes, so they count as faults.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrt.errors import ArtifactError
from xrt.storage.atomic import sha256_of
from xrt.threads import run_blocks

MAX_FILES = 10_000
_NAME = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,199}){0,7}"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size in bytes and SHA-256 (hexadecimal) of one file."""

    size: int
    sha256: str


def take_inventory(folder: Path, leave_out: Iterable[str] = ()) -> dict[str, FileRecord]:
    """Size and SHA-256 of every file under `folder`, sorted by name; hashed on several threads.

    Args:
        folder: the folder.
        leave_out: names of files that are not looked at.

    Returns:
        Size in bytes and SHA-256 by name, relative to the folder.

    Raises:
        ArtifactError: the folder holds a link, a device, an odd name, an empty folder or too many
            files.
    """
    left_out = set(leave_out)
    names = [name for name in list_files(folder) if name not in left_out]
    hashes = run_blocks(lambda i: sha256_of(folder / names[i]), len(names))
    return {
        name: FileRecord(size=(folder / name).stat().st_size, sha256=sha256)
        for name, sha256 in zip(names, hashes, strict=True)
    }


def list_files(folder: Path) -> list[str]:
    """Relative names of all files under `folder`, sorted.

    Args:
        folder: the folder.

    Returns:
        The names, with `/` between their parts.

    Raises:
        ArtifactError: as `take_inventory`.
    """
    names: list[str] = []
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(folder / prefix) as entries:
            kinds = [_kind_of(folder, prefix, entry) for entry in entries]
        if prefix and not kinds:
            raise ArtifactError(f"{folder}: empty folder {prefix!r}; remove it")
        names += [name for name, is_folder in kinds if not is_folder]
        pending += [f"{name}/" for name, is_folder in kinds if is_folder]
        if len(names) + len(pending) > MAX_FILES:
            raise ArtifactError(
                f"{folder}: more than {MAX_FILES} files; this is no folder of xrt's"
            )
    return sorted(names)


def _kind_of(folder: Path, prefix: str, entry: os.DirEntry[str]) -> tuple[str, bool]:
    name = prefix + entry.name
    if not is_safe_name(name):
        raise ArtifactError(f"{folder}: unexpected name {name!r}; remove it")
    if entry.is_symlink():
        raise ArtifactError(f"{folder}: {name} is a link; copy the real file (cp -L) to its place")
    if entry.is_dir(follow_symlinks=False):
        return name, True
    if not entry.is_file(follow_symlinks=False):
        raise ArtifactError(f"{folder}: {name} is neither a file nor a folder; remove it")
    return name, False


def is_safe_name(name: str) -> bool:
    """Whether a name is relative, of plain characters, and cannot lead out of its folder.

    Args:
        name: the name.

    Returns:
        True for such a name.
    """
    return bool(_NAME.fullmatch(name))


def check_inventory(
    folder: Path, records: Mapping[str, FileRecord], *, hashes: bool, leave_out: Iterable[str] = ()
) -> list[str]:
    """What differs between the folder and the list, one phrase a file; empty when nothing does.

    Missing and unexpected files and wrong sizes are always found; altered bytes only with `hashes`.
    No file's content is read before all names and sizes fit.

    Args:
        folder: the folder.
        records: the list, by name.
        hashes: whether to look for altered bytes.
        leave_out: names of files that need not be in the list.

    Returns:
        The phrases.

    Raises:
        ArtifactError: as `take_inventory`.
    """
    present = set(list_files(folder)) - set(leave_out)
    faults = [f"{name} is missing" for name in sorted(set(records) - present)]
    faults += [f"{name} does not belong here" for name in sorted(present - set(records))]
    for name in sorted(present & set(records)):
        size = (folder / name).stat().st_size
        if size != records[name].size:
            faults.append(f"{name} has {size} bytes instead of {records[name].size}")
    if faults or not hashes:
        return faults
    names = sorted(records, key=lambda name: -records[name].size)
    hashes_now = run_blocks(lambda i: sha256_of(folder / names[i]), len(names))
    return [
        f"{name} has been altered (its sha256 differs)"
        for name, sha256 in sorted(zip(names, hashes_now, strict=True))
        if sha256 != records[name].sha256
    ]


def records_to_json(records: Mapping[str, FileRecord]) -> dict[str, dict[str, Any]]:
    """The list as plain JSON values.

    Args:
        records: the list, by name.

    Returns:
        `size` and `sha256` by name.
    """
    return {name: {"size": r.size, "sha256": r.sha256} for name, r in records.items()}


def records_from_json(value: Any, where: Path) -> dict[str, FileRecord]:
    """Read back what `records_to_json` gave.

    Args:
        value: what the JSON file holds.
        where: the file, for the message.

    Returns:
        The list, by name.

    Raises:
        ArtifactError: it is not a mapping of safe names to sizes and hashes.
    """
    if not isinstance(value, dict) or len(value) > MAX_FILES:
        raise ArtifactError(f"{where}: no usable list of files; restore or make it anew")
    records = {}
    for name, record in value.items():
        if not is_safe_name(name):
            raise ArtifactError(
                f"{where}: file name {name!r} is not allowed; restore or make it anew"
            )
        size = record.get("size") if isinstance(record, dict) else None
        sha256 = record.get("sha256") if isinstance(record, dict) else None
        if type(size) is not int or size < 0 or type(sha256) is not str:
            raise ArtifactError(f"{where}: no size and sha256 of {name}; restore or make it anew")
        if not _SHA256.fullmatch(sha256):
            raise ArtifactError(f"{where}: no sha256 of {name}; restore or make it anew")
        records[name] = FileRecord(size=size, sha256=sha256)
    return records
