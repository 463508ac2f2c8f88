"""Finds the settings that do best on held-out rows, in two rounds on subsamples.

The first round tries each option beside the settings that stand, on few rows; where it can, with
one tree and without fusion. What helps there is put together, and the second round holds it against
the settings that stand on as many rows as the allowance has room for, with all trees and fused as
they will be. The same held-out rows judge both rounds, and differences are paired.

The allowance is counted work, not seconds, so that the same seed finds the same settings on any
machine and any number of threads: at most that of the training with the settings that stand.

N rows, n of them trained on in a round, M held out, E figures.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xrt.data.corpus import Corpus
from xrt.data.splits import Split
from xrt.errors import XrtError
from xrt.pipeline.choosing.aspects import ONE_TREE_TELLS, Option
from xrt.pipeline.choosing.choices import PLAIN, Choices, Tried, Values, with_values
from xrt.pipeline.choosing.memory import TrialMemory
from xrt.pipeline.choosing.trial import FIGURES, Trial, Trials, take_subsample, trees_key
from xrt.pipeline.choosing.work import GROWTH, VISIT, work_at, work_of_judging
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trees import tree_seeds
from xrt.pipeline.word_trees import columns_of
from xrt.progress import Progress

logger = logging.getLogger(__name__)

PROBE_ROWS = 1_000
"""Rows on which the work of a training is counted, to see how many the rounds can have."""
FEWEST_ROWS = 1_000
"""Rows of a round; a corpus whose training pays for less is not chosen on."""
MOST_FIRST_ROWS = 16_000
"""Rows of the first round, at most."""
SHARE = 0.8
"""Of the work of the training with the settings that stand, for all tries: estimates of it err."""
FIRST_SHARE = 0.4
"""Of that, for the first round."""
MOST_RATIO = 3.0
"""What is put together takes at most so many times the work of the settings that stand."""
SURE = 2.0
"""Standard errors that a gain must have: of many options the best has one by chance."""
CHEAP = 1.5
"""Beside all that helped, what takes at most so many times the work is tried by itself."""
_QUICK: Values = {"num_trees": 1, "fused": False}


class ChoosingStopped(KeyboardInterrupt):
    """Ctrl-C while settings were tried; `choices` has what was found before."""

    def __init__(self, choices: Choices) -> None:
        """Holds what was found."""
        super().__init__("stopped while settings were chosen")
        self.choices = choices


@dataclass(frozen=True)
class _Entrant:
    """Settings that take part, and what they are expected to take beside those that stand."""

    name: str
    values: Values
    ratio: float = 1.0
    gain: float = 0.0

    @property
    def key(self) -> str:
        return repr(sorted(self.values.items()))


class _Round(NamedTuple):
    """Rows that are trained on; `quick` with one tree and without fusion."""

    num_rows: int
    quick: bool


_PLAIN = _Entrant(PLAIN, {})


class Contest:
    """Tries settings round by round, and decides."""

    def __init__(
        self,
        params: PipelineParams,
        corpus: Corpus,
        held_out: Split,
        options: Sequence[tuple[str, Option]],
        dense_NH: np.ndarray | None = None,
        memory: TrialMemory | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Nothing is tried yet.

        Args:
            params: the settings that stand.
            corpus: N training rows.
            held_out: rows to train on, and rows to judge on.
            options: what to try, each with the aspect that it belongs to.
            dense_NH: dense columns of the rows; None where there are none.
            memory: keeps what was tried; None keeps nothing.
            progress: is told of each try.
        """
        self.params, self.corpus, self.dense_NH = params, corpus, dense_NH
        self.held_out, self.options = held_out, options
        self.memory = memory or TrialMemory(None)
        self.progress = progress
        self.order = np.random.default_rng([params.seed, 1]).permutation(held_out.train)
        self.tried: list[Tried] = []
        self.spent = self.allowance = 0.0
        self._trained: list[tuple[int, tuple[Any, ...]]] = []
        self._found: dict[_Round, dict[str, tuple[_Entrant, Trial]]] = {}
        self._trials: tuple[int, Trials] | None = None

    def run(self) -> Choices:
        """Hold all rounds.

        Returns:
            What was chosen.

        Raises:
            ChoosingStopped: Ctrl-C; what was tried so far is kept, and in the exception.
        """
        try:
            if self.progress is not None:
                self.progress.start("try settings", None)
            why = self._hold()
            return self._choices(complete=True, why=why)
        except KeyboardInterrupt:
            raise ChoosingStopped(self._choices(complete=False)) from None
        finally:
            if self.progress is not None:
                self.progress.finish()

    def _hold(self) -> str:
        """Hold the rounds; why nothing could be compared, or nothing."""
        available = len(self.order)
        size = min(PROBE_ROWS, available)
        probe = self._try(size, _PLAIN, quick=True, told=False)
        if probe is None:
            return ""
        num_trees = self._num_trees
        times = num_trees * (2 if self.params.fused else 1)  # fused trains twice
        training = times * work_at(probe.work, size, self.corpus.num_instances)
        self.allowance = SHARE * training
        quick = {aspect for aspect, _ in self.options} <= ONE_TREE_TELLS
        trees = 1 if quick else num_trees
        room = FIRST_SHARE * self.allowance - (1 + len(self.options)) * self._judging(trees)
        ratios = [self._ratio(size, option) for _, option in self.options]
        unit = room / (1 + sum(ratios))
        first = min(available, MOST_FIRST_ROWS, self._rows_for(probe.work * trees, size, unit))
        if first < min(FEWEST_ROWS, available):
            return (
                f"{self.corpus.num_instances:,} rows are too few to choose settings on: trying "
                "some would take longer than the training"
            )
        if self._try(first, _PLAIN, quick) is None:
            return ""
        best = self._combined(self._first_round(first, quick))
        if not best:
            return ""
        share = 1 + sum(each.ratio for each in best)
        room = self.allowance - self.spent - (1 + len(best)) * self._judging(num_trees)
        last = min(available, self._rows_for(probe.work * num_trees, size, room / share))
        if last >= min(FEWEST_ROWS, available) and self._try(last, _PLAIN) is not None:
            for entrant in best:
                self._try(last, entrant)
        return ""

    def _ratio(self, size: int, option: Option) -> float:
        """How many times the work an option takes: by the nonzeros of its rows, where it makes
        others.
        """
        changed = with_values(self.params, option.values)
        if changed.features == self.params.features:
            return option.ratio
        trials = self._trials_on(size)
        try:
            visits = [
                trials.view(params).X.sparse.nnz / trials.view(params).X.num_rows + VISIT
                for params in (self.params, changed)
            ]
        except XrtError:  # told where it is tried
            return option.ratio
        return float(option.ratio * visits[1] / visits[0])

    @property
    def _share_of_all_columns(self) -> float:
        """Share of the trees that see more than words, see `xrt.pipeline.word_trees`."""
        trees = range(self._num_trees)
        return float(np.mean([columns_of(i, 1) is None for i in trees])) if len(trees) > 1 else 1.0

    @property
    def _num_trees(self) -> int:
        params, num_labels = self.params, self.corpus.num_labels
        return len(tree_seeds(params.tree, params.num_trees, params.seed, num_labels))

    def _judging(self, num_trees: int) -> float:
        return work_of_judging(len(self.held_out.validation), num_trees)

    def _first_round(self, first: int, quick: bool) -> dict[str, list[_Entrant]]:
        """Each option by itself; by aspect those that helped, the best first."""
        for _, option in self.options:
            self._try(first, _Entrant(option.name, option.values), quick)
        helped: dict[str, list[_Entrant]] = {}
        found = self._found[_Round(first, quick)]
        plain = found[_PLAIN.key][1]
        for aspect, option in self.options:
            key = _Entrant(option.name, option.values).key
            if key in found:
                trial = found[key][1]
                gain, error = self._gain(_Round(first, quick), key)
                if gain > 0 and gain >= error:
                    ratio = trial.work / plain.work
                    if quick and option.values.get("features.char_ngrams"):
                        ratio = 1 + (ratio - 1) * self._share_of_all_columns
                    entrant = _Entrant(option.name, option.values, ratio, gain)
                    helped.setdefault(aspect, []).append(entrant)
        for entrants in helped.values():
            entrants.sort(key=lambda one: -one.gain)
        return helped

    def _combined(self, helped: Mapping[str, list[_Entrant]]) -> list[_Entrant]:
        """What helped, put together: the best of each aspect, and the best that is cheap."""
        best = [entrants[0] for entrants in helped.values()]
        cheap = [
            next((one for one in entrants if one.ratio <= CHEAP), None)
            for entrants in helped.values()
        ]
        ways = (
            _within_reach(best, MOST_RATIO),
            _within_reach([one for one in cheap if one is not None], CHEAP),
        )
        chosen: dict[str, _Entrant] = {}
        for way in ways:
            if way:
                one = _together(way)
                chosen.setdefault(one.key, one)
        return list(chosen.values())

    def _rows_for(self, work: float, size: int, room: float) -> int:
        """How many rows a training can have that is to take `room`."""
        return int(size * (max(room, 0.0) / work) ** (1 / GROWTH))

    def _try(
        self, size: int, entrant: _Entrant, quick: bool = False, told: bool = True
    ) -> Trial | None:
        """Try settings on the first `size` rows, unless that was done already."""
        held_round = _Round(size, quick)
        found = self._found.setdefault(held_round, {})
        if entrant.key in found:
            if told:
                self._tell(held_round, entrant)
            return found[entrant.key][1]
        values = {**(_QUICK if quick else {}), **entrant.values}
        trial = self.memory.find(size, values)
        params = with_values(self.params, values)
        try:
            if trial is None:
                trial = self._trials_on(size).run(params)
                self.memory.keep(size, values, trial)
        except (XrtError, MemoryError) as err:
            why = f"left out: {str(err) or 'out of memory'}"
            self._leave_out(held_round, entrant, why)
            logger.warning("%s on %d rows: %s", entrant.name, size, why)
            return None
        found[entrant.key] = entrant, trial
        trained = size, trees_key(params)
        if trained not in self._trained:
            self._trained.append(trained)
            self.spent += trial.work
        self.spent += self._judging(params.num_trees)
        if self.progress is not None:
            self.progress.advance()
        if told:
            self._tell(held_round, entrant)
        return trial

    def _tell(self, held_round: _Round, entrant: _Entrant) -> None:
        """Put a try into the table, once."""
        size, quick = held_round
        told = [(one.num_rows, one.one_tree, one.values) for one in self.tried]
        if (size, quick, entrant.values) in told:
            return
        trial = self._found[held_round][entrant.key][1]
        gain, error = self._gain(held_round, entrant.key)
        figures = dict(zip(FIGURES, self._mean(trial.figures_ME).tolist(), strict=True))
        self.tried.append(
            Tried(
                name=entrant.name, values=dict(entrant.values), num_rows=size, one_tree=quick,
                figures=figures, gain=gain, standard_error=error, work=trial.work,
                seconds=trial.seconds,
            )
        )  # fmt: skip

    def _leave_out(self, held_round: _Round, entrant: _Entrant, why: str) -> None:
        self.tried.append(
            Tried(
                name=entrant.name, values=dict(entrant.values), num_rows=held_round.num_rows,
                one_tree=held_round.quick, fault=why,
            )
        )  # fmt: skip

    def _trials_on(self, size: int) -> Trials:
        if self._trials is None or self._trials[0] != size:
            self._trials = None  # the rows of the earlier round go first
            train, held_out = self.order[:size], self.held_out.validation
            self._trials = size, Trials(take_subsample(self.corpus, train, held_out, self.dense_NH))
        return self._trials[1]

    @property
    def _share_M(self) -> np.ndarray:
        """Share of each held-out row in a mean."""
        weights_N = self.corpus.row_weights
        rows = np.sort(self.held_out.validation)
        weights_M = np.ones(len(rows)) if weights_N is None else weights_N[rows].astype(np.float64)
        return np.asarray(weights_M / weights_M.sum())

    def _mean(self, values_ME: np.ndarray) -> np.ndarray:
        mean_E: np.ndarray = self._share_M @ values_ME
        return mean_E

    def _differences(self, held_round: _Round, key: str) -> tuple[np.ndarray, np.ndarray]:
        """By how much each figure is above that of the settings that stand, and the standard error
        of the rows' differences: (E,) each.
        """
        found = self._found[held_round]
        difference_ME = found[key][1].figures_ME - found[_PLAIN.key][1].figures_ME
        mean_E, num_rows = self._mean(difference_ME), len(difference_ME)
        squares_E = (self._share_M**2) @ (difference_ME - mean_E) ** 2
        return mean_E, np.sqrt(squares_E * num_rows / max(1, num_rows - 1))

    def _gain(self, held_round: _Round, key: str) -> tuple[float, float]:
        mean_E, error_E = self._differences(held_round, key)
        return float(mean_E[0]), float(error_E[0])

    def _is_safe(self, held_round: _Round, key: str) -> bool:
        """Better by SURE standard errors, and no figure worse by one."""
        mean_E, error_E = self._differences(held_round, key)
        return bool(mean_E[0] > 0 and mean_E[0] >= SURE * error_E[0] and (mean_E >= -error_E).all())

    def _choices(self, complete: bool, why: str = "") -> Choices:
        """What is best in the last round in which anything was compared.

        What helped with one tree alone is not chosen, but where that is all that is known when the
        contest is stopped.
        """
        rounds = [
            each for each, found in self._found.items() if _PLAIN.key in found and len(found) > 1
        ]
        aspects = tuple(dict.fromkeys(aspect for aspect, _ in self.options))
        num_held_out, values = len(self.held_out.validation), {}
        if not rounds:
            message = f"{why or 'nothing could be compared'}; the settings stay as they are"
        else:
            last = rounds[-1]
            safe = [key for key in self._found[last] if self._is_safe(last, key)]
            if safe and not (last.quick and complete):
                best = max(safe, key=lambda key: self._gain(last, key)[0])
                entrant = self._found[last][best][0]
                gain, error = self._gain(last, best)
                values = dict(entrant.values)
                message = (
                    f"chosen: {entrant.name} ({100 * gain:+.2f} ± {100 * error:.2f} on "
                    f"{num_held_out:,} held-out rows, trained on {last.num_rows:,})"
                )
            else:
                message = (
                    "the settings stay as they are: nothing was better by two standard errors on "
                    f"{num_held_out:,} held-out rows without a figure that got worse"
                )
        return Choices(
            values=values, aspects=aspects, num_held_out=num_held_out, tried=tuple(self.tried),
            message=message, complete=complete,
        )  # fmt: skip


def _within_reach(entrants: Iterable[_Entrant], most: float) -> list[_Entrant]:
    """Those of them that are affordable together: the dearest for its gain goes first."""
    kept = list(entrants)
    while kept and _together(kept).ratio > most:
        dear = [one for one in kept if one.ratio > 1]
        kept.remove(min(dear, key=lambda one: one.gain / np.log(one.ratio)))
    return kept


def _together(entrants: Sequence[_Entrant]) -> _Entrant:
    values: dict[str, object] = {}
    ratio = 1.0
    for entrant in entrants:
        values.update(entrant.values)
        ratio *= entrant.ratio
    return _Entrant(", ".join(entrant.name for entrant in entrants), values, ratio)
