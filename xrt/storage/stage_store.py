"""A store of finished stages that runs share: a stage with the same key is made once.

    store/NAME-KEY/     the outputs of a stage and done.json, as in a run folder, as hard links
    store/NAME-KEY.lock held by the run that makes the stage; others wait for it

Files are linked where the store lies on the disk of the run folder, and copied elsewhere. Outputs
are never written to again, so a link is as good as a copy. Stages in the store may be deleted at
any time: a run folder keeps its own names of the files.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xrt.errors import ArtifactError
from xrt.storage.atomic import atomic_folder, fcntl, recover_folder
from xrt.storage.inventory import check_inventory, list_files, records_from_json
from xrt.storage.reading import read_json_bounded

logger = logging.getLogger(__name__)

DONE = "done.json"
_KEY_LENGTH = 32


@dataclass(frozen=True)
class StageStore:
    """Where runs share finished stages."""

    folder: Path

    @contextlib.contextmanager
    def claim(self, name: str, key: str) -> Iterator[None]:
        """Have one run at a time make a stage; others wait until it is done or given up.

        Args:
            name: of the stage.
            key: of the stage.

        Yields:
            None, once; the claim is held within.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._place(name, key).with_suffix(".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock(descriptor, name)
            yield
        finally:
            os.close(descriptor)

    def take(self, name: str, key: str, target: Path) -> bool:
        """Put a stage of the store into a run folder.

        Args:
            name: of the stage.
            key: of the stage.
            target: the folder of the stage in the run folder; made or replaced.

        Returns:
            Whether the store had it, whole.
        """
        source = self._place(name, key)
        recover_folder(source)
        if not (source / DONE).is_file():
            return False
        if fault := _fault_of(source, key):
            logger.warning("%s: unusable (%s); it is made again", source, fault)
            shutil.rmtree(source)
            return False
        with atomic_folder(target) as temporary:
            _link(source, temporary)
        return True

    def put(self, name: str, key: str, source: Path) -> None:
        """Put a finished stage of a run folder into the store, if it is not there.

        Args:
            name: of the stage.
            key: of the stage.
            source: the folder of the stage in the run folder.
        """
        target = self._place(name, key)
        if not (target / DONE).is_file():
            with atomic_folder(target) as temporary:
                _link(source, temporary)

    def _place(self, name: str, key: str) -> Path:
        return self.folder / f"{name}-{key[:_KEY_LENGTH]}"

    def _lock(self, descriptor: int, name: str) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("%s: waits for another run that makes it", name)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:  # some network filesystems have no locks
            logger.warning("%s: cannot be locked (%s)", self.folder, error.strerror)


def _fault_of(folder: Path, key: str) -> str:
    """What is wrong with a stage of the store; '' for nothing."""
    try:
        done = read_json_bounded(folder / DONE)
        if not isinstance(done, dict) or done.get("key") != key:
            return "of another key"
        files = records_from_json(done.get("files"), folder / DONE)
        return "; ".join(check_inventory(folder, files, hashes=True, leave_out=[DONE])[:1])
    except ArtifactError as error:
        return str(error)


def _link(source: Path, target: Path) -> None:
    """The files of a folder in another one: hard links, or copies on another disk."""
    for name in list_files(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, target / name)
        except OSError:  # another disk, or one without links
            shutil.copy2(source / name, target / name)
