"""A run of several processes that a launcher has started, maybe on several machines.

The first process does the run and keeps the lock of the run folder. The others go through the same
steps with what it has put into the folder, take part in the fine-tuning of the encoder, and end. So
the folder must be shared by the machines. For each stage the first process tells its key, and they
end in one line where theirs is another: other data, settings or versions.
"""

import contextlib
import platform
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrt import __version__
from xrt.encoder.launcher import FitEnded, Group, Rank
from xrt.errors import ArtifactError, ConfigError, XrtError
from xrt.pipeline.encoding import MATCHER
from xrt.pipeline.hooks import TrainingHooks
from xrt.pipeline.params import PipelineParams
from xrt.sources.base import CANDIDATES
from xrt.storage.atomic import write_text
from xrt.storage.hashing import content_hash
from xrt.storage.stages import (
    Hash,
    Make,
    Output,
    Settings,
    Stage,
    StageCache,
    StageOutput,
    StageResult,
    Workspace,
    key_of,
    read_stage,
)

MEETING = ".meeting"
"""File of a run folder by which processes see that they share it."""
SECONDS_TO_SEE = 60.0
"""Within which a file that one machine has written shows on the others."""


@contextlib.contextmanager
def joined(rank: Rank, params: PipelineParams, folder: Path) -> Iterator[Group]:
    """Meet the other processes, and check that all do the same run.

    Args:
        rank: which of them this one is.
        params: settings of the run.
        folder: the run folder.

    Yields:
        The group.

    Raises:
        ConfigError: the run is none for several processes, or they differ in versions or settings.
        XrtError: they do not share the run folder.
    """
    if params.encoder is None or params.budget is not None or params.estimate:
        raise ConfigError(
            f"{rank.world_size} processes train an encoder together; a linear model, a run with a "
            "budget and an estimate take one: start xrt without torchrun or srun"
        )
    if params.trainer.lightning.get("num_nodes", rank.num_nodes) != rank.num_nodes:
        raise ConfigError(
            f"trainer.num_nodes = {params.trainer.num_nodes}, but processes were started on "
            f"{rank.num_nodes} machines; leave it out"
        )
    from xrt.encoder.devices import device_of

    group = Group(rank, device_of(params.trainer).startswith("cuda"))
    try:
        _check_alike(group, params, folder)
        yield group
    finally:
        group.abandon()


def _check_alike(group: Group, params: PipelineParams, folder: Path) -> None:
    import torch

    own: dict[str, Any] = {
        "xrt": __version__, "torch": torch.__version__.partition("+")[0],
        "settings": content_hash(params), "machine": platform.node(),
    }  # fmt: skip
    word = group.share(secrets.token_hex(8))
    if group.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / MEETING, word)
    group.share()  # the file is there
    own["sees"] = _sees(folder / MEETING, word)
    others = group.gather(own)
    for number, other in enumerate(others):
        where = f"process {number} on {other['machine']}"
        for name in ("xrt", "torch", "settings"):
            if other[name] != others[0][name]:
                raise ConfigError(
                    f"{where}: {name} {other[name][:12]}, but the first process has "
                    f"{others[0][name][:12]}; all machines need the same"
                )
        if not other["sees"]:
            raise XrtError(
                f"{where}: does not see the run folder {folder}; it must be one folder that all "
                "machines share"
            )


def _sees(path: Path, word: str) -> bool:
    deadline = time.monotonic() + SECONDS_TO_SEE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if path.read_text() == word:
                return True
        time.sleep(0.2)
    return False


class LeadingCache:
    """The run folder of the first process, which tells the others of each stage up to the
    fine-tuning.
    """

    def __init__(self, cache: StageCache, group: Group) -> None:
        self.cache, self.group = cache, group
        self.is_over = False

    def run(
        self,
        stage: Stage[Output],
        make: Make[Output],
        settings: Settings,
        inputs: Mapping[str, Hash],
        name: str | None = None,
    ) -> StageOutput[Output]:
        """As `FolderCache.run`; the others are told before a fine-tuning, and behind other stages.

        Args:
            stage: as in `StageCache.run`.
            make: as in `StageCache.run`.
            settings: as in `StageCache.run`.
            inputs: as in `StageCache.run`.
            name: as in `StageCache.run`.

        Returns:
            The output, and its hash.
        """
        if self.is_over:
            return self.cache.run(stage, make, settings, inputs, name)
        hashes = hashes_of(inputs)
        key = key_of(stage, settings, hashes, name)
        if stage.name != MATCHER.name:
            output = self.cache.run(stage, make, settings, hashes, name)
            self.group.share(_Told(key, is_fit=False))
            return output
        self.is_over = True
        began: list[bool] = []

        def make_together(settings: Settings, workspace: Workspace) -> Output:
            began.append(True)
            self.group.share(_Told(key, is_fit=True))
            return make(settings, workspace)

        output = self.cache.run(stage, make_together, settings, hashes, name)
        if not began:
            self.group.share(_Told(key, is_fit=False))
        self.group.part()
        return output

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """As `FolderCache.lock`.

        Returns:
            Keeps other runs out of the run folder while it is open.
        """
        return self.cache.lock()

    def record(self, name: str) -> Path | None:
        """As `FolderCache.record`.

        Args:
            name: the file's name.

        Returns:
            Its path.
        """
        return self.cache.record(name)


class FollowingCache:
    """What another process than the first has of the run folder: it makes no stage but takes part
    in the fine-tuning.
    """

    def __init__(self, folder: Path, group: Group, scratch: Path) -> None:
        self.folder, self.group, self.scratch = folder, group, scratch

    def run(
        self,
        stage: Stage[Output],
        make: Make[Output],
        settings: Settings,
        inputs: Mapping[str, Hash],
        name: str | None = None,
    ) -> StageOutput[Output]:
        """Wait for the first process to have the stage, and read it.

        Args:
            stage: as in `StageCache.run`.
            make: called for the fine-tuning only.
            settings: as in `StageCache.run`.
            inputs: as in `StageCache.run`.
            name: as in `StageCache.run`.

        Returns:
            The output, and its hash.

        Raises:
            FitEnded: the fine-tuning is over, or was done before.
            XrtError: the first process has other inputs.
        """
        key = key_of(stage, settings, hashes_of(inputs), name)
        told = self.group.share()
        if told.key != key:
            raise XrtError(
                f"process {self.group.rank.number}: stage {name or stage.name} has other inputs "
                "than that of the first process; all machines must read the same files"
            )
        if told.is_fit:
            parts = [self.scratch / part for part in ("out", "scratch")]
            for part in parts:
                part.mkdir(parents=True)
            make(settings, Workspace(*parts))
        if stage.name == MATCHER.name:
            raise FitEnded
        result = self._result(name or stage.name, key)
        return StageOutput(stage.load(result.folder), result.output_hash, result.cost)

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """The first process holds the lock.

        Returns:
            A context that does nothing.
        """
        return contextlib.nullcontext()

    def record(self, name: str) -> Path | None:
        """A file of this process alone.

        Args:
            name: the file's name.

        Returns:
            Its path.
        """
        return self.scratch / name

    def _result(self, name: str, key: str) -> StageResult:
        """A finished stage, as soon as this machine sees it."""
        deadline = time.monotonic() + SECONDS_TO_SEE
        while True:
            with contextlib.suppress(ArtifactError, OSError):
                result = read_stage(self.folder, name)
                if result.key == key:
                    return result
            if time.monotonic() > deadline:
                raise XrtError(f"{self.folder}: stage {name} does not show here; is it shared?")
            time.sleep(0.2)


def follow(
    params: PipelineParams,
    run_folder: Path,
    rank: Rank,
    hooks: TrainingHooks | None = None,
) -> None:
    """Take part in the fine-tuning of a run that another process does.

    Args:
        params: settings of the run.
        run_folder: folder of the run.
        rank: which of the processes this one is; not the first.
        hooks: hooks of an application; None without one.

    Raises:
        XrtError: what the first process has differs, or cannot be seen here.
        SystemExit: with 143, after SIGTERM.
    """
    from xrt.pipeline.corpora import load_corpora
    from xrt.pipeline.trainer import Trainer

    with (
        joined(rank, params, run_folder) as group,
        tempfile.TemporaryDirectory(prefix="xrt-rank-") as scratch,
    ):
        own = Path(scratch)
        if hooks is None:
            trn, tst = load_corpora(params.dataset, own, params.seed)
        else:
            params, trn, tst = hooks.corpora(params, own)
        candidates = CANDIDATES if hooks is None else hooks.candidates(trn)
        cache = FollowingCache(run_folder, group, own)
        trainer = Trainer(params, cache, None, candidates, group=group)
        with contextlib.suppress(FitEnded):
            trainer.fit(trn, compared=tst is not None)
        group.part()


@dataclass(frozen=True)
class _Told:
    """What the first process tells of a stage: its key, and whether all make it now."""

    key: str
    is_fit: bool


def hashes_of(inputs: Mapping[str, Hash]) -> dict[str, str]:
    """The hashes of a stage's inputs.

    Args:
        inputs: hashes, or what computes them.

    Returns:
        Hashes by the same names.
    """
    return {name: hash if isinstance(hash, str) else hash() for name, hash in inputs.items()}
