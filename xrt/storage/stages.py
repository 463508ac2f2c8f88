"""The stage cache: a stage with the same version, settings and inputs does not run again.

    run_folder/stages/NAME/         outputs of the stage, and done.json with everything about them
    run_folder/scratch/NAME-KEY/    where a long stage keeps what it needs to resume after a kill
    run_folder/.lock                held by the process that works in the run folder

Runs may share stages by a `StageStore`: one that another run has made is linked into the folder.

A `Stage` says which settings it reads, and how its output lies in a folder. A `StageCache` runs it:
`FolderCache` in a run folder, `MemoryCache` without files.

Outputs are written to a temporary folder that is renamed when complete, so that a stage is done
entirely or not at all. The key of a stage is the hash of its name, version, settings and inputs; a
setting at its neutral value adds nothing to the key, so that a new setting reruns nothing. Neutral
values are pinned: they do not follow defaults, and a default that changes changes the key. The
version is bumped by hand when the code changes what a stage writes.
"""

import contextlib
import logging
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from xrt.errors import ArtifactError, XrtError
from xrt.storage.atomic import atomic_folder, fcntl, recover_folder, write_json
from xrt.storage.hashing import content_hash, plain
from xrt.storage.inventory import (
    check_inventory,
    records_from_json,
    records_to_json,
    take_inventory,
)
from xrt.storage.memory_watch import watch_memory
from xrt.storage.reading import read_json_bounded
from xrt.storage.stage_store import DONE, StageStore

logger = logging.getLogger(__name__)

Output = TypeVar("Output")
Hash = str | Callable[[], str]
"""A content hash, or what computes it: a cache without files asks for none."""
_held_locks: dict[Path, int] = {}
_running: list[dict[str, float]] = []
"""Of each stage that runs now, the outer ones first: seconds of the stages that it ran."""


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """A finished stage: its outputs and whether they were there already.

    `output_hash` depends on the names and bytes of the outputs only: it is what later stages take
    as input, so a stage that ran again and wrote the same bytes reruns no later stage.
    """

    name: str
    folder: Path
    key: str
    was_cached: bool
    output_hash: str
    cost: "StageCost"


@dataclass(frozen=True)
class StageCost:
    """What a stage took when it was made.

    Attributes:
        seconds: its time, with that of stages that it ran itself.
        peak_bytes: the highest memory of the process meanwhile; None where it is not known.
        nested: seconds of the stages that it ran itself, by name.
    """

    seconds: float = 0.0
    peak_bytes: int | None = None
    nested: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Stage(Generic[Output]):
    """A step of training whose output can be kept.

    Attributes:
        name: of the folder with its outputs.
        version: of the code that makes them.
        reads: the settings that it reads, by their full names: `ranker`, `dataset.propensity`. It
            is given no others.
        save: writes an output into a folder.
        load: reads what `save` wrote.
        needs_folder: `make` needs a folder to write to, and one that survives a kill.
    """

    name: str
    version: int
    reads: tuple[str, ...]
    save: Callable[[Output, Path], None]
    load: Callable[[Path], Output]
    needs_folder: bool = False


@dataclass(frozen=True, eq=False)
class Settings:
    """The settings that a stage reads, by their full names, and their neutral values."""

    values: Mapping[str, Any]
    neutral: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """The value of a setting.

        Args:
            name: its full name.

        Returns:
            The value.

        Raises:
            KeyError: the stage does not declare it.
        """
        if name not in self.values:
            raise KeyError(f"{name}: the stage reads {', '.join(self.values)} alone; declare it")
        return self.values[name]


@dataclass(frozen=True)
class Workspace:
    """Where a stage may write while it runs.

    Attributes:
        folder: for outputs that are too large for memory; None where nothing is to be written.
        scratch: survives a kill, for stages that are `needs_folder`; else None.
    """

    folder: Path | None = None
    scratch: Path | None = None


Make = Callable[[Settings, Workspace], Output]
"""Makes the output of a stage from its settings."""


@dataclass(frozen=True, eq=False)
class StageOutput(Generic[Output]):
    """What a stage made, its hash as an input of later stages, and what it took when made."""

    value: Output
    hash: Hash
    cost: StageCost = field(default_factory=StageCost)


class StageCache(Protocol):
    """Runs stages, or has their outputs already."""

    def run(
        self,
        stage: Stage[Output],
        make: Make[Output],
        settings: Settings,
        inputs: Mapping[str, Hash],
        name: str | None = None,
    ) -> StageOutput[Output]:
        """Return the output of a stage.

        Args:
            stage: what it reads, and how its output lies in a folder.
            make: makes the output.
            settings: those that the stage reads.
            inputs: hashes of the data and of the outputs of earlier stages that `make` uses.
            name: instead of the stage's own, for a stage that runs more than once.

        Returns:
            The output, and its hash as an input of later stages.
        """

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out.

        Returns:
            Keeps them out while it is open.
        """

    def record(self, name: str) -> Path | None:
        """The file of a fact to remember.

        Args:
            name: the file's name.

        Returns:
            Its path, whether it is there or not; None where nothing is kept.
        """


class MemoryCache:
    """Runs every stage and keeps nothing: outputs live as long as those who use them.

    Only a stage that is `needs_folder` gets a temporary folder, which lives as long as the cache.
    """

    @cached_property
    def _home(self) -> Path:
        home = tempfile.mkdtemp(prefix="xrt-")
        weakref.finalize(self, shutil.rmtree, home, ignore_errors=True)
        return Path(home)

    def run(
        self,
        stage: Stage[Output],
        make: Make[Output],
        settings: Settings,
        inputs: Mapping[str, Hash],
        name: str | None = None,
    ) -> StageOutput[Output]:
        """As `StageCache.run`; nothing is hashed.

        Args:
            stage: as in `StageCache.run`.
            make: as in `StageCache.run`.
            settings: as in `StageCache.run`.
            inputs: not used.
            name: as in `StageCache.run`.

        Returns:
            The output; its hash must not be asked for.
        """
        workspace = Workspace()
        if stage.needs_folder:
            parts = [self._home / part / (name or stage.name) for part in ("out", "tmp")]
            for part in parts:
                part.mkdir(parents=True)
            workspace = Workspace(*parts)
        started = time.monotonic()
        value = make(settings, workspace)
        if workspace.scratch is not None:
            shutil.rmtree(workspace.scratch, ignore_errors=True)
        return StageOutput(value, _no_hash, StageCost(time.monotonic() - started))

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Nothing to lock.

        Returns:
            A context that does nothing.
        """
        return contextlib.nullcontext()

    def record(self, name: str) -> Path | None:
        """Nothing is kept.

        Args:
            name: not used.

        Returns:
            None.
        """
        return None


def _no_hash() -> str:
    raise AssertionError("outputs in memory have no hash")


@dataclass(frozen=True)
class FolderCache:
    """Keeps the outputs of stages in a run folder and runs a stage only where they are not up to
    date.
    """

    folder: Path
    store: StageStore | None = None
    """Shared with other runs; None: the run keeps to its folder."""

    def run(
        self,
        stage: Stage[Output],
        make: Make[Output],
        settings: Settings,
        inputs: Mapping[str, Hash],
        name: str | None = None,
    ) -> StageOutput[Output]:
        """As `StageCache.run`: the output is read from the run folder, and made first where it is
        not there or out of date.

        Args:
            stage: as in `StageCache.run`.
            make: as in `StageCache.run`.
            settings: as in `StageCache.run`.
            inputs: as in `StageCache.run`.
            name: as in `StageCache.run`.

        Returns:
            The output, and its hash.

        Raises:
            XrtError: another process works in the run folder.
        """

        def produce(folder: Path, scratch: Path | None = None) -> None:
            stage.save(make(settings, Workspace(folder, scratch)), folder)

        hashes = {name: hash if isinstance(hash, str) else hash() for name, hash in inputs.items()}
        result = run_stage(
            self.folder, name or stage.name, stage.version, settings.values, hashes, produce,
            keeps_scratch=stage.needs_folder, neutral=settings.neutral, store=self.store,
        )  # fmt: skip
        return StageOutput(stage.load(result.folder), result.output_hash, result.cost)

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """As `run_lock` of the folder.

        Returns:
            Keeps other processes out of the run folder while it is open.
        """
        return run_lock(self.folder)

    def record(self, name: str) -> Path | None:
        """A file of the run folder.

        Args:
            name: the file's name.

        Returns:
            Its path, whether it is there or not.
        """
        return self.folder / name


def run_stage(
    run_folder: str | Path,
    name: str,
    version: int,
    parameters: Any,
    inputs: Mapping[str, str],
    produce: Callable[..., None],
    *,
    verify: bool = True,
    keeps_scratch: bool = False,
    neutral: Mapping[str, Any] | None = None,
    store: StageStore | None = None,
) -> StageResult:
    """Return the outputs of a stage; `produce(folder)` makes them unless they are up to date.

    Existing outputs are used when their names, sizes and hashes are those that were written, else
    the stage runs again and says so in the log.

    Args:
        run_folder: the folder of the run.
        name: of the stage: lower-case letters, digits, '.', '_' and '-'.
        version: of the code that makes the outputs.
        parameters: a dataclass or mapping of JSON values.
        inputs: content hashes by name: `content_hash` of data, `output_hash` of an earlier stage.
        produce: makes the outputs.
        verify: False leaves the hashes of existing outputs out.
        keeps_scratch: call `produce(folder, scratch)`: the scratch folder belongs to this key,
            survives a kill, and is removed when the stage is done.
        neutral: values at which parameters add nothing to the key.
        store: where other runs may have put the outputs, and find these; None for none.

    Returns:
        The folder of the outputs, and their hash.

    Raises:
        XrtError: another process works in the run folder.
    """
    run = Path(run_folder)
    record = _stage_record(name, version, parameters, inputs, neutral)
    folder = run / "stages" / name
    with run_lock(run):
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(folder)
        reasons = _reasons_to_run(folder, record, verify)
        if not reasons:
            _remove_scratch(run, name)
            logger.info("%s: up to date, not run again", name)
            return _result(folder, was_cached=True)
        key = record["key"]
        with contextlib.nullcontext() if store is None else store.claim(name, key):
            if store is not None and store.take(name, key, folder):
                _remove_scratch(run, name)
                logger.info("%s: unchanged, kept (taken from %s)", name, store.folder)
                return _result(folder, was_cached=True)
            logger.info("%s: runs (%s)", name, "; ".join(reasons))
            seconds = _make_stage(run, folder, record, produce, keeps_scratch)
            if store is not None:
                store.put(name, key, folder)
        _remove_scratch(run, name)
        for outer in _running[-1:]:
            outer[name] = seconds
        return _result(folder, was_cached=False)


def _make_stage(
    run: Path,
    folder: Path,
    record: Mapping[str, Any],
    produce: Callable[..., None],
    keeps_scratch: bool,
) -> float:
    """Have the outputs of a stage made, and put them into its folder with done.json; seconds."""
    name, started = record["stage"], time.monotonic()
    with atomic_folder(folder) as temporary:
        with _nested_stages() as nested, watch_memory() as peak:
            if keeps_scratch:
                produce(temporary, _scratch_folder(run, name, record["key"]))
            else:
                produce(temporary)
        files = take_inventory(temporary)
        if DONE in files:
            raise ArtifactError(f"stage {name}: {DONE} is written by the cache; rename this output")
        seconds = round(time.monotonic() - started, 3)
        cost = {"seconds": seconds, "peak_bytes": peak.num_bytes, "nested": nested}
        write_json(temporary / DONE, {**record, **cost, "files": records_to_json(files)})
    return seconds


def explain(
    run_folder: str | Path,
    name: str,
    version: int,
    parameters: Any,
    inputs: Mapping[str, str],
    *,
    verify: bool = True,
    neutral: Mapping[str, Any] | None = None,
) -> list[str]:
    """Why this stage would run now, one phrase a reason; empty when its outputs are up to date.

    Args:
        run_folder: as in `run_stage`.
        name: as in `run_stage`.
        version: as in `run_stage`.
        parameters: as in `run_stage`.
        inputs: as in `run_stage`.
        verify: as in `run_stage`.
        neutral: as in `run_stage`.

    Returns:
        The phrases.
    """
    record = _stage_record(name, version, parameters, inputs, neutral)
    return _reasons_to_run(Path(run_folder) / "stages" / name, record, verify)


def key_of(
    stage: Stage[Any], settings: Settings, inputs: Mapping[str, str], name: str | None = None
) -> str:
    """The key of a stage.

    Args:
        stage: the stage.
        settings: those that it reads.
        inputs: hashes of what it uses.
        name: instead of the stage's own.

    Returns:
        64 hexadecimal digits.
    """
    named = name or stage.name
    record = _stage_record(named, stage.version, settings.values, inputs, settings.neutral)
    key: str = record["key"]
    return key


def read_stage(run_folder: str | Path, name: str) -> StageResult:
    """The finished stage `name` of a run, as it lies there.

    Args:
        run_folder: the folder of the run.
        name: of the stage.

    Returns:
        The folder of the outputs, and their hash.

    Raises:
        ArtifactError: the stage is not finished.
    """
    return _result(Path(run_folder) / "stages" / name, was_cached=True)


@contextlib.contextmanager
def run_lock(run_folder: str | Path) -> Iterator[None]:
    """Keep other processes out of the run folder; a process may take its own lock again.

    Args:
        run_folder: the folder, which is made where it is missing.

    Yields:
        None, once; the lock is held within.

    Raises:
        XrtError: another process holds the lock; the message names its id.
    """
    run = Path(run_folder).resolve()
    if run in _held_locks:
        _held_locks[run] += 1
        try:
            yield
        finally:
            _held_locks[run] -= 1
        return
    run.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(run / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take_lock(descriptor, run)
        _held_locks[run] = 1
        try:
            yield
        finally:
            del _held_locks[run]
    finally:
        os.close(descriptor)


def _take_lock(descriptor: int, run: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 100, 0).decode("ascii", "replace").strip() or "unknown"
        raise XrtError(
            f"{run}: process {holder} is working in this run folder; wait for it or choose another"
        ) from error
    except OSError as error:  # some network filesystems have no locks
        logger.warning("%s: cannot be locked (%s); start no second run in it", run, error.strerror)
        return
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _stage_record(
    name: str,
    version: int,
    parameters: Any,
    inputs: Mapping[str, str],
    neutral: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What done.json holds of a stage before it runs: all parameters, and the key."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
        raise ValueError(f"stage name {name!r}: use lower-case letters, digits, '.', '_' and '-'")
    record = {
        "stage": name,
        "version": version,
        "parameters": plain(parameters, f"parameters of stage {name}"),
        "inputs": plain(inputs, f"inputs of stage {name}"),
    }
    counted = record
    if neutral is not None:
        rest = _without_neutral(record["parameters"], plain(neutral, f"neutral of stage {name}"))
        counted = {**record, "parameters": rest}
    return {**record, "key": content_hash(counted)}


def _without_neutral(values: Mapping[str, Any], neutral: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not the neutral ones, also inside of parts; a part of which nothing is
    left is left out.
    """
    counted = {}
    for name, value in values.items():
        if name in neutral and value == neutral[name] and type(value) is type(neutral[name]):
            continue
        if value and isinstance(value, dict) and isinstance(neutral.get(name), dict):
            value = _without_neutral(value, neutral[name])
            if not value:
                continue
        counted[name] = value
    return counted


def _reasons_to_run(folder: Path, record: Mapping[str, Any], verify: bool) -> list[str]:
    if not (folder / DONE).is_file():
        return ["never finished"]
    try:
        done = _read_done(folder)
        if done["key"] != record["key"]:
            before = {key: done.get(key) for key in ("version", "parameters", "inputs")}
            now = {key: record[key] for key in before}
            return list(_differences(before, now)) or ["the rules for keys have changed"]
        files = records_from_json(done["files"], folder / DONE)
        faults = check_inventory(folder, files, hashes=verify, leave_out=[DONE])
        return [f"output {fault}" for fault in faults]
    except ArtifactError as error:
        return [f"outputs are unusable: {error}"]


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(set(before) | set(now)):
            inner = key if name in ("", "parameters") else f"{name}.{key}"
            if key in before and key in now:
                yield from _differences(before[key], now[key], inner)
            else:
                yield f"{inner} {'is new' if key in now else 'is gone'}"
    elif name.startswith("inputs.") and before != now:
        yield f"input {name.removeprefix('inputs.')} changed"
    elif before != now:
        yield f"{name}: {before!r} -> {now!r}"


def _read_done(folder: Path) -> dict[str, Any]:
    done = read_json_bounded(folder / DONE)
    if not isinstance(done, dict) or not {"key", "files", "seconds", "stage"} <= done.keys():
        raise ArtifactError(f"{folder / DONE}: incomplete; delete the folder and run again")
    return done


def _result(folder: Path, was_cached: bool) -> StageResult:
    done = _read_done(folder)
    return StageResult(
        name=done["stage"],
        folder=folder,
        key=done["key"],
        was_cached=was_cached,
        output_hash=content_hash(done["files"]),
        cost=_cost_of(done),
    )


def _cost_of(done: Mapping[str, Any]) -> StageCost:
    """What a stage took; earlier versions wrote its seconds alone."""
    peak, nested = done.get("peak_bytes"), done.get("nested")
    return StageCost(
        seconds=done["seconds"],
        peak_bytes=peak if isinstance(peak, int) else None,
        nested=nested if isinstance(nested, dict) else {},
    )


@contextlib.contextmanager
def _nested_stages() -> Iterator[dict[str, float]]:
    """Seconds of the stages that run while this is open, those inside of them not among them."""
    nested: dict[str, float] = {}
    _running.append(nested)
    try:
        yield nested
    finally:
        _running.pop()


def _scratch_folder(run: Path, name: str, key: str) -> Path:
    """The scratch folder of this key; those of other keys of the stage are removed."""
    scratch = run / "scratch" / f"{name}-{key[:16]}"
    _remove_scratch(run, name, keep=scratch.name)
    scratch.mkdir(parents=True, exist_ok=True)
    return scratch


def _remove_scratch(run: Path, name: str, keep: str = "") -> None:
    form = re.compile(re.escape(name) + "-[0-9a-f]{16}")
    for old in (run / "scratch").glob(f"{name}-*"):
        if form.fullmatch(old.name) and old.name != keep:
            shutil.rmtree(old, ignore_errors=True)
