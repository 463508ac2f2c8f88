"""The saved model: a folder whose `manifest.json` vouches for every other file in it.

    manifest.json    format, versions, kind, metrics, configuration, size and sha256 of each file
    README.md, label table, vocabulary, tree, ranker arrays, encoder/ ...

Opening checks, in this order: the manifest (its size, its format version, its own checksum), the
set of names, the sizes, the hashes. Only then does anybody parse a file. Hashes prove that the
folder is what was written; only a digest that came another way (`expect`) proves who wrote it.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from xrt import __version__
from xrt.errors import ArtifactError, CapacityError, XrtError
from xrt.storage.atomic import atomic_folder, sha256_of, write_bytes
from xrt.storage.hashing import plain
from xrt.storage.inventory import (
    FileRecord,
    check_inventory,
    records_from_json,
    records_to_json,
    take_inventory,
)
from xrt.storage.reading import parse_json_bounded, read_bytes_bounded

FORMAT = "xrt-model"
FORMAT_VERSION = 2
KINDS = ("linear", "transformer")
MANIFEST = "manifest.json"
CARD = "README.md"
MAX_MANIFEST_BYTES = 4 << 20
LIBRARIES = ("numpy", "scipy", "scikit-learn", "numba", "faiss-cpu", "torch", "transformers")
_OWN_KEYS = ("format", "format_version", "versions", "files", "checksum")
_RESTORE = "copy the model again from where it came, or train it anew"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An opened model folder. `digest` is the SHA-256 of the manifest: it names this very model."""

    folder: Path
    manifest: dict[str, Any]
    files: dict[str, FileRecord]
    digest: str

    @property
    def kind(self) -> str:
        """`linear` or `transformer`."""
        return str(self.manifest["kind"])

    @property
    def num_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(record.size for record in self.files.values())

    def has(self, name: str) -> bool:
        """Whether the model has a file of a name, or files in a folder of that name.

        Args:
            name: A name within the model's folder.

        Returns:
            True where it has.
        """
        return name in self.files or any(file.startswith(f"{name}/") for file in self.files)

    def path(self, name: str) -> Path:
        """The path of a file or folder of the model.

        Args:
            name: A name within the model's folder.

        Returns:
            The path.

        Raises:
            ArtifactError: the model has none of that name.
        """
        if not self.has(name):
            raise ArtifactError(f"{self.folder}: this {self.kind} model has no {name}; {_RESTORE}")
        return self.folder / name


def write_artifact(
    folder: str | Path, write: Callable[[Path], None], manifest: Mapping[str, Any]
) -> Artifact:
    """Save a model: a temporary folder is filled, gets its manifest, and becomes `folder`.

    Format, versions and files are added to the manifest here. An existing folder is replaced only
    when it is a model, or empty.

    Args:
        folder: The model's folder.
        write: Fills the folder that it is given.
        manifest: JSON values: `kind` ("linear" or "transformer"), `metrics`, `configuration`, and
            what else the model wants to tell.

    Returns:
        The saved model, opened.

    Raises:
        ArtifactError: `folder` exists and is something else, or the kind or a key of `manifest` is
            not allowed.
        ConfigError: a value in `manifest` is not JSON.
    """
    target = Path(folder)
    refuse_to_overwrite(target)
    if manifest.get("kind") not in KINDS:
        raise ArtifactError(f"kind {manifest.get('kind')!r} of a model; it must be one of {KINDS}")
    if reserved := [key for key in _OWN_KEYS if key in manifest]:
        raise ArtifactError(f"manifest keys {reserved} are written by xrt; choose other names")
    head = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": manifest["kind"],
        "versions": library_versions(),
        "metrics": {},
        "configuration": {},
    }
    content = {**head, **plain(manifest, "manifest")}
    with atomic_folder(target, lambda folder: _is_same_model(folder, target)) as temporary:
        write(temporary)
        content["files"] = records_to_json(take_inventory(temporary, leave_out=[MANIFEST]))
        write_bytes(temporary / MANIFEST, _render(content))
    return open_artifact(target, verify="sizes")


def _is_same_model(folder: Path, other: Path) -> bool:
    """Whether `other` is a whole model with the manifest of `folder`: it need not be replaced."""
    try:
        same = (folder / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()
        return same and open_artifact(other).folder == other
    except (OSError, ArtifactError):
        return False


def open_artifact(
    folder: str | Path, verify: bool | str = True, expect: str | None = None
) -> Artifact:
    """Check a saved model and open it.

    Args:
        folder: The model's folder.
        verify: "sizes" skips the hashes (for very large models on a disk one trusts; altered bytes
            then go unnoticed).
        expect: The digest the model must have; None for any.

    Returns:
        The model's manifest, files and digest.

    Raises:
        ArtifactError: no model, another format version or digest, or any file missing, altered,
            added or linked; the message names the file and what to do.
    """
    if verify not in (True, "hashes", "sizes"):
        raise ArtifactError(f"verify={verify!r} is unknown; choose True or 'sizes'")
    root = Path(folder)
    path = root / MANIFEST
    if not path.is_file():
        what = "has no manifest.json" if root.is_dir() else "does not exist"
        raise ArtifactError(f"{root}: {what}; give the folder of a saved model")
    if path.is_symlink():
        raise ArtifactError(f"{path}: is a link; copy the real file (cp -L) to its place")
    data = read_bytes_bounded(path, MAX_MANIFEST_BYTES)
    manifest = _checked_manifest(data, path)
    digest = hashlib.sha256(data).hexdigest()
    if expect is not None and digest != expect.strip().lower():
        raise ArtifactError(f"{root}: is model {digest}, not {expect} as expected; {_RESTORE}")
    files = records_from_json(manifest["files"], path)
    faults = check_inventory(root, files, hashes=verify != "sizes", leave_out=[MANIFEST])
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        own_edit = "; if that was your own edit, accept_card(folder) makes it part of the model"
        hint = own_edit if faults[0].startswith(CARD) else ""
        raise ArtifactError(f"{root}: {faults[0]}{more}; {_RESTORE}{hint}")
    return Artifact(folder=root, manifest=manifest, files=files, digest=digest)


@contextlib.contextmanager
def reading_parts(folder: str | Path) -> Iterator[None]:
    """While open, parts of a model are read that anybody may have written: what a library raises
    for them is told in one line.

    Args:
        folder: The model's folder, for the message.

    Yields:
        None, once; the work is done within.

    Raises:
        ArtifactError: instead of any exception that is not xrt's.
        CapacityError: memory is short.
    """
    try:
        yield
    except (XrtError, KeyboardInterrupt, SystemExit):
        raise
    except MemoryError as error:
        raise CapacityError(
            f"{folder}: no memory left to open the model; close other programs, or raise the "
            "limit (ulimit -v)"
        ) from error
    except BaseException as error:  # a panic of a library in Rust is no Exception
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"{folder}: a part is damaged ({type(error).__name__}: {reason}); {_RESTORE}"
        ) from error


def accept_card(folder: str | Path) -> Artifact:
    """Take README.md as its owner edited it (a licence, say) into the manifest; nothing else.

    Args:
        folder: The model's folder.

    Returns:
        The model, opened; it has a new digest.

    Raises:
        ArtifactError: there is no README.md, or any other file differs from the manifest.
    """
    root = Path(folder)
    manifest = _checked_manifest(read_bytes_bounded(root / MANIFEST, MAX_MANIFEST_BYTES), root)
    if not (root / CARD).is_file():
        raise ArtifactError(f"{root}: has no {CARD} to accept; {_RESTORE}")
    card = FileRecord(size=(root / CARD).stat().st_size, sha256=sha256_of(root / CARD))
    files = {**records_from_json(manifest["files"], root), CARD: card}
    if faults := check_inventory(root, files, hashes=True, leave_out=[MANIFEST]):
        raise ArtifactError(f"{root}: {faults[0]}; {_RESTORE}")
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    write_bytes(root / MANIFEST, _render({**content, "files": records_to_json(files)}))
    return open_artifact(root, verify="sizes")


def refuse_to_overwrite(folder: str | Path) -> None:
    """Check that saving to a folder destroys nothing but a model.

    Args:
        folder: The folder, which need not be there.

    Raises:
        ArtifactError: it is there, not empty, and no model.
    """
    target = Path(folder)
    if target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir())):
        return
    if target.exists() or target.is_symlink():
        raise ArtifactError(f"{target}: exists and is not a saved model; choose another folder")


def library_versions() -> dict[str, str]:
    """Versions of Python, xrt and the libraries of a model, where installed; imports none.

    Returns:
        Version by name.
    """
    python = ".".join(str(part) for part in sys.version_info[:3])
    versions = {"xrt": __version__, "python": python}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _render(content: Mapping[str, Any]) -> bytes:
    """The one byte form of a manifest: its checksum covers all the rest, so no byte can change."""
    body = json.dumps(content, ensure_ascii=True, indent=2, allow_nan=False)
    checksum = hashlib.sha256(body.encode("ascii")).hexdigest()
    whole = {**content, "checksum": checksum}
    return (json.dumps(whole, ensure_ascii=True, indent=2, allow_nan=False) + "\n").encode("ascii")


def _checked_manifest(data: bytes, path: Path) -> dict[str, Any]:
    manifest = parse_json_bounded(data, path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactError(f"{path}: not the manifest of an xrt model; give a model's folder")
    version = manifest.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format version {version}, but this xrt reads {FORMAT_VERSION}; "
            f"update xrt (the model was written by {_writer(manifest)})"
        )
    if type(version) is int and version < FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format version {version}, but this xrt reads {FORMAT_VERSION}; "
            f"train the model anew, or use the version that wrote it ({_writer(manifest)})"
        )
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    if version != FORMAT_VERSION or _render(content) != data:
        raise ArtifactError(f"{path}: has been altered (its checksum differs); {_RESTORE}")
    for key in ("versions", "metrics", "configuration", "files"):
        if not isinstance(manifest.get(key), dict):
            raise ArtifactError(f"{path}: has no usable {key!r}; {_RESTORE}")
    if manifest.get("kind") not in KINDS:
        raise ArtifactError(f"{path}: unknown kind {manifest.get('kind')!r} of model; {_RESTORE}")
    return manifest


def _writer(manifest: Mapping[str, Any]) -> str:
    versions = manifest.get("versions")
    version = versions.get("xrt") if isinstance(versions, dict) else None
    return f"xrt {str(version)[:20]}" if version else "an unknown version of xrt"
