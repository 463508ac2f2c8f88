"""`xrt sweep`: a search over settings by Optuna; each trial is a plain `xrt train`.

runs/NAME-sweep/journal.log   the study, in Optuna's journal: a sweep that was stopped goes on
runs/NAME-sweep/NUMBER/       the run folder of a trial, NUMBER.log what it printed
runs/.stages/                 stages that trials share: what has not changed is made once
"""

import argparse
import contextlib
import logging
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xrt.cli.settings import ready_for_hydra
from xrt.cli.space import Choice, Values, first_words, grid_of, split_space
from xrt.cli.trials import Trial, is_hopeless, validations_of
from xrt.config import COMPOSITION_ERRORS, build, compose, explain, pipeline_params
from xrt.errors import ConfigError, XrtError
from xrt.storage.stages import run_lock
from xrt.threads import default_num_threads

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

JOURNAL = "journal.log"
SPACE = "space"
POLL = 0.2
"""Seconds between two looks at the trials."""
PATIENCE = 60.0
"""Seconds that trials get to save what they have done when the sweep is stopped."""


def sweep(arguments: argparse.Namespace) -> int:
    """Search, and print the trials.

    Args:
        arguments: What `xrt sweep` was called with.

    Returns:
        The exit code: 143 after SIGTERM, 130 after Ctrl-C.

    Raises:
        ConfigError: Settings cannot be used, or Optuna is not installed.
        XrtError: Another sweep works in the folder, or no trial came to an end.
    """
    fixed, space = split_space(arguments.settings)
    if not space:
        raise ConfigError(
            "nothing to search; give a setting several values, as in search.beam_size=5,10,20 or "
            "matcher.encoder_learning_rate=tag(log,interval(1e-5,1e-3))"
        )
    config = _composed([*fixed, *first_words(space)])
    folder = Path(config.paths.runs) / f"{config.name}-sweep"
    words = [*fixed, f"paths.stages={config.paths.stages or Path(config.paths.runs) / '.stages'}"]
    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(folder):
        study = _open_study(folder, space, arguments)
        trials = _Trials(study, folder, words, space, arguments)
        with _signals() as received:
            code = trials.run(received)
    _tell(study, folder)
    return code


def _composed(words: list[str]) -> Any:
    """The settings of one trial, checked before any is started."""
    try:
        config = compose(ready_for_hydra(words))
    except COMPOSITION_ERRORS as err:
        raise ConfigError(explain(err)) from err
    build(pipeline_params(), config)
    return config


def _open_study(
    folder: Path, space: dict[str, Values], arguments: argparse.Namespace
) -> "optuna.Study":
    """The study of the folder, or a new one."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as err:
        raise ConfigError(
            "xrt sweep needs the package optuna: pip install 'xrt-xmc[sweep]', or sweep over a "
            "grid with xrt train -m"
        ) from err
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = folder / JOURNAL
    _mend(journal)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(arguments.seed)
        if arguments.sampler == "tpe":  # a trial that runs counts as a bad one
            sampler = optuna.samplers.TPESampler(seed=arguments.seed, constant_liar=True)
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))), study_name=folder.name,
            sampler=sampler, direction="maximize", load_if_exists=True,
        )  # fmt: skip
    wanted = {name: repr(values) for name, values in sorted(space.items())}
    earlier = study.user_attrs.get(SPACE)
    if earlier is not None and earlier != wanted:
        raise ConfigError(
            f"{folder}: holds a sweep over {', '.join(earlier)} with other values; give this one a "
            "name of its own (name=NAME), or delete the folder"
        )
    if earlier is None:
        study.set_user_attr(SPACE, wanted)
    return study


def _mend(journal: Path) -> None:
    """Cut off a line that a killed sweep did not finish, and drop its lock, as ours is held."""
    for stale in journal.parent.glob(f"{JOURNAL}.lock*"):
        stale.unlink()
    if journal.is_file():
        content = journal.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with open(journal, "r+b") as file:
                file.truncate(len(whole))


class _Trials:
    """Keeps as many trials running as there are workers."""

    def __init__(
        self,
        study: "optuna.Study",
        folder: Path,
        words: list[str],
        space: dict[str, Values],
        arguments: argparse.Namespace,
    ) -> None:
        self.study, self.folder, self.words, self.space = study, folder, words, space
        self.most, self.workers, self.prunes = arguments.trials, arguments.workers, arguments.prune
        self.threads = max(1, default_num_threads() // self.workers)
        self.running: list[Trial] = []
        self.interrupted = self._of_state("RUNNING")
        self.grid = grid_of(space) if arguments.sampler == "grid" else None

    def run(self, received: list[int]) -> int:
        """Run to the last trial, or to a signal; the exit code."""
        while not received:
            while len(self.running) < self.workers and (trial := self._next()) is not None:
                self.running.append(trial)
            if not self.running:
                return 0
            for trial in list(self.running):
                if (code := trial.poll()) is not None:
                    self.running.remove(trial)
                    self._end(trial, code)
                elif self.prunes and not trial.pruned and self._is_hopeless(trial):
                    trial.prune()
            time.sleep(POLL)
        for trial in self.running:
            trial.stop()
        deadline = time.monotonic() + PATIENCE
        for trial in self.running:
            trial.wait(max(0.0, deadline - time.monotonic()))
        print("xrt: stopped; the same command goes on", file=sys.stderr)
        return 128 + received[0]

    def _of_state(self, state: str) -> list[Any]:
        return [one for one in self.study.get_trials(deepcopy=False) if one.state.name == state]

    def _next(self) -> Trial | None:
        """A trial that a killed sweep left, else a new one; None where all are begun."""
        if self.interrupted:
            earlier = self.interrupted.pop(0)
            return self._trial(earlier.number, earlier.params)
        begun = self.study.get_trials(deepcopy=False)
        if len(begun) >= self.most and not self._of_state("WAITING"):
            return None
        if self.grid is not None and not self._of_state("WAITING"):
            tried = [one.params for one in begun]
            point = next((point for point in self.grid if point not in tried), None)
            if point is None:
                return None
            self.study.enqueue_trial(point)
        asked = self.study.ask(_distributions(self.space))
        return self._trial(asked.number, asked.params)

    def _trial(self, number: int, params: dict[str, Any]) -> Trial:
        words = [*self.words, *(f"{name}={value}" for name, value in params.items())]
        logger.info("trial %d: %s", number, " ".join(words[len(self.words) :]))
        return Trial(number, self.folder / str(number), words, self.threads)

    def _end(self, trial: Trial, code: int) -> None:
        if trial.pruned:
            trial.drop_scratch()
            self._tell(trial.number, None, "PRUNED")
            print(f"trial {trial.number}: stopped, below the median of the others", flush=True)
            return
        value = trial.objective() if code == 0 else None
        self._tell(trial.number, value, "COMPLETE" if value is not None else "FAIL")
        if value is not None:
            print(f"trial {trial.number}: {100 * value:.2f}", flush=True)
        else:
            why = trial.fault() if code else "no row could be held out"
            print(f"trial {trial.number}: failed ({why})", file=sys.stderr, flush=True)

    def _tell(self, number: int, value: float | None, state: str) -> None:
        import optuna

        self.study.tell(number, value, state=optuna.trial.TrialState[state])

    def _is_hopeless(self, trial: Trial) -> bool:
        own = trial.validations()
        if not own:
            return False
        done = (self.folder / str(one.number) for one in self._of_state("COMPLETE"))
        return is_hopeless(own, [validations_of(folder) for folder in done])


def _distributions(space: dict[str, Values]) -> dict[str, Any]:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, Choice):
            found[name] = CategoricalDistribution(values.values)
        elif values.is_whole:
            found[name] = IntDistribution(int(values.low), int(values.high), log=values.is_log)
        else:
            found[name] = FloatDistribution(values.low, values.high, log=values.is_log)
    return found


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """While open, SIGTERM and Ctrl-C are noted in the list."""
    received: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda got, _: received.append(got)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _tell(study: "optuna.Study", folder: Path) -> None:
    """Print the finished trials, best first, and the command that compares them."""
    from xrt.pipeline.comparison import compare_table, read_runs

    done = [one for one in study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
    if not done:
        failed = [one for one in study.get_trials(deepcopy=False) if one.state.name == "FAIL"]
        if failed:
            raise XrtError(f"{folder}: no trial came to its end; see {folder / '0.log'}")
        return
    print(f"\n{compare_table(read_runs([folder / str(one.number) for one in done]))}")
    best = study.best_trial
    words = " ".join(f"{name}={value}" for name, value in best.params.items())
    print(f"\nbest:    {words}\nmodel:   {folder / str(best.number) / 'model'}")
    print(f"compare: xrt compare {folder} --html {folder / 'compare.html'}")
