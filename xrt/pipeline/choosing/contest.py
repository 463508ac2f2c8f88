"""Finds the settings that do best on held-out rows, by successive halving over subsamples.

The first round tries each option beside the settings that stand, on few rows. What helps there is
put together and tried on more rows beside the best single options; the last round holds the best
two against the settings that stand on as many rows as the allowance has room for. The same
held-out rows judge all rounds, and differences are paired.

The allowance is counted work, not seconds, so that the same seed finds the same settings on any
machine and any number of threads: that of the training that follows.

N rows, n of them trained on in a round, M held out, E figures.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrt.data.corpus import Corpus
from xrt.data.splits import Split
from xrt.errors import XrtError
from xrt.pipeline.choosing.aspects import Option
from xrt.pipeline.choosing.choices import PLAIN, Choices, Tried, Values, with_values
from xrt.pipeline.choosing.memory import TrialMemory
from xrt.pipeline.choosing.trial import FIGURES, Trial, Trials, take_subsample, trees_key
from xrt.pipeline.choosing.work import GROWTH, work_at
from xrt.pipeline.params import PipelineParams
from xrt.progress import Progress

logger = logging.getLogger(__name__)

PROBE_ROWS = 1_000
"""Rows on which the work of a training is counted, to see how many the first round can have."""
FIRST_ROWS = (1_000, 16_000)
"""Fewest and most rows of the first round."""
FIRST_SHARE = 0.5
"""Of the allowance, for the first round."""
MOST_RATIO = 10.0
"""What is put together takes at most so many times the work of the settings that stand."""
STEP = 5
"""A round has at most so many times the rows of the one before."""
LEAST_STEP = 1.5
"""A round on fewer than so many times the rows of the one before tells nothing new."""
LEAST_WORK = 1e9
"""Work that is always allowed, however small the corpus: some ten seconds on two cores."""
MOST_COMBINED = 4
"""Settings of the second round, beside those that stand."""
SURE = 2.0
"""Standard errors that a gain must have: of many options the best has one by chance."""
FINALISTS = 2
"""Settings of the last round, beside those that stand."""


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

    @property
    def key(self) -> str:
        return repr(sorted(self.values.items()))


_PLAIN = _Entrant(PLAIN, {}, 1.0)


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
        self.spent = 0.0
        self._trained: list[tuple[int, tuple[Any, ...]]] = []
        self._found: dict[int, dict[str, tuple[_Entrant, Trial]]] = {}
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
            self._hold()
            return self._choices(complete=True)
        except KeyboardInterrupt:
            raise ChoosingStopped(self._choices(complete=False)) from None
        finally:
            if self.progress is not None:
                self.progress.finish()

    def _hold(self) -> None:
        available = len(self.order)
        size = min(PROBE_ROWS, available)
        probe = self._try(size, _PLAIN, told=False)
        if probe is None:
            return
        allowance = self._allowance(probe.work, size)
        room = FIRST_SHARE * allowance / (1 + sum(option.ratio for _, option in self.options))
        first = min(
            available, *(max(FIRST_ROWS[0], self._rows_for(probe.work, size, room)), FIRST_ROWS[1])
        )
        plain = self._try(first, _PLAIN)
        if plain is None:
            return
        singles = self._first_round(first, plain, FIRST_SHARE * allowance)
        combined = self._combined(first, singles)
        if not combined:
            return
        allowance = max(allowance, self._allowance(plain.work * combined[0].ratio, first))
        share = 1 + sum(each.ratio for each in combined)
        last_share = 1 + sum(sorted(each.ratio for each in combined)[-FINALISTS:])
        # the last round should have about twice the rows of the second, and fit as well
        unit = (allowance - self.spent) / (share + last_share * 2**GROWTH)
        second = self._next_rows(first, plain.work, unit)
        self._round(second, combined)
        best = self._ranked(second)[:FINALISTS]
        if not best:
            return
        plain_work = self._found[second][_PLAIN.key][1].work
        unit = (allowance - self.spent) / (1 + sum(each.ratio for each in best))
        last = self._next_rows(second, plain_work, unit)
        if last > second:
            self._round(last, best)

    def _first_round(self, first: int, plain: Trial, room: float) -> dict[str, list[_Entrant]]:
        """Each option by itself; by aspect those that helped, the best first."""
        for _, option in self.options:
            entrant = _Entrant(option.name, option.values)
            if self.spent > room and self.spent > LEAST_WORK:
                self._leave_out(first, entrant, "left out: the allowance is used up")
            else:
                self._try(first, entrant)
        helped: dict[str, list[_Entrant]] = {}
        found = self._found[first]
        for aspect, option in self.options:
            key = _Entrant(option.name, option.values).key
            if key in found:
                trial = found[key][1]
                ratio = trial.work / plain.work
                if self._gain(first, key)[0] > 0:
                    entrant = _Entrant(option.name, option.values, ratio)
                    helped.setdefault(aspect, []).append(entrant)
        for entrants in helped.values():
            entrants.sort(key=lambda one: -self._gain(first, one.key)[0])
        return helped

    def _combined(self, first: int, helped: Mapping[str, list[_Entrant]]) -> list[_Entrant]:
        """What helped, put together in a few ways, and the best single options."""
        best = {aspect: entrants[0] for aspect, entrants in helped.items()}
        surely = {
            aspect: one
            for aspect, one in best.items()
            if self._gain(first, one.key)[0] >= self._gain(first, one.key)[1]
        }
        ways: list[Iterable[_Entrant]] = [surely.values(), best.values()]
        for aspect, entrants in helped.items():
            if aspect in surely and len(entrants) > 1:
                ways.append({**surely, aspect: entrants[1]}.values())
        singles = sorted(best.values(), key=lambda one: -self._gain(first, one.key)[0])
        ways += [[one] for one in singles]
        chosen: dict[str, _Entrant] = {}
        for way in ways:
            entrants = self._within_reach(first, way)
            if entrants:
                one = _together(entrants)
                chosen.setdefault(one.key, one)
        return list(chosen.values())[:MOST_COMBINED]

    def _within_reach(self, first: int, entrants: Iterable[_Entrant]) -> list[_Entrant]:
        """Those of them that are affordable together: the dearest for its gain goes first."""
        kept = list(entrants)
        while len(kept) > 1 and _together(kept).ratio > MOST_RATIO:
            dear = [one for one in kept if one.ratio > 1]
            kept.remove(
                min(dear, key=lambda one: self._gain(first, one.key)[0] / np.log(one.ratio))
            )
        return kept

    def _round(self, size: int, entrants: Iterable[_Entrant]) -> None:
        if self._try(size, _PLAIN) is not None:
            for entrant in entrants:
                self._try(size, entrant)

    def _allowance(self, work: float, size: int) -> float:
        """The work of the training that follows, where `size` rows took `work`: with `fused` it
        trains twice.
        """
        times = 2 if self.params.fused else 1
        return max(LEAST_WORK, times * work_at(work, size, self.corpus.num_instances))

    def _rows_for(self, work: float, size: int, room: float) -> int:
        """How many rows a training can have that is to take `room`."""
        return int(size * (max(room, 0.0) / work) ** (1 / GROWTH))

    def _next_rows(self, size: int, work: float, room: float) -> int:
        """Rows of the next round: `size` again where there is no room for many more."""
        rows = min(len(self.order), STEP * size, self._rows_for(work, size, room))
        return rows if rows >= LEAST_STEP * size or rows == len(self.order) > size else size

    def _try(self, size: int, entrant: _Entrant, told: bool = True) -> Trial | None:
        """Try settings on the first `size` rows, unless that was done already."""
        found = self._found.setdefault(size, {})
        if entrant.key in found:
            if told:
                self._tell(size, entrant)
            return found[entrant.key][1]
        trial = self.memory.find(size, entrant.values)
        try:
            if trial is None:
                trial = self._trials_on(size).run(with_values(self.params, entrant.values))
                self.memory.keep(size, entrant.values, trial)
        except (XrtError, MemoryError) as err:
            why = f"left out: {str(err) or 'out of memory'}"
            self._leave_out(size, entrant, why)
            logger.warning("%s on %d rows: %s", entrant.name, size, why)
            return None
        found[entrant.key] = entrant, trial
        trained = size, trees_key(with_values(self.params, entrant.values))
        if trained not in self._trained:
            self._trained.append(trained)
            self.spent += trial.work
        if self.progress is not None:
            self.progress.advance()
        if told:
            self._tell(size, entrant)
        return trial

    def _tell(self, size: int, entrant: _Entrant) -> None:
        """Put a try into the table, once."""
        if any(one.num_rows == size and one.values == entrant.values for one in self.tried):
            return
        trial = self._found[size][entrant.key][1]
        gain, error = self._gain(size, entrant.key)
        figures = dict(zip(FIGURES, self._mean(trial.figures_ME).tolist(), strict=True))
        self.tried.append(
            Tried(
                name=entrant.name, values=dict(entrant.values), num_rows=size, figures=figures,
                gain=gain, standard_error=error, work=trial.work, seconds=trial.seconds,
            )
        )  # fmt: skip

    def _leave_out(self, size: int, entrant: _Entrant, why: str) -> None:
        values = dict(entrant.values)
        self.tried.append(Tried(name=entrant.name, values=values, num_rows=size, fault=why))

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

    def _differences(self, size: int, key: str) -> tuple[np.ndarray, np.ndarray]:
        """By how much each figure is above that of the settings that stand, and the standard error
        of the rows' differences: (E,) each.
        """
        found = self._found[size]
        difference_ME = found[key][1].figures_ME - found[_PLAIN.key][1].figures_ME
        mean_E, num_rows = self._mean(difference_ME), len(difference_ME)
        squares_E = (self._share_M**2) @ (difference_ME - mean_E) ** 2
        return mean_E, np.sqrt(squares_E * num_rows / max(1, num_rows - 1))

    def _gain(self, size: int, key: str) -> tuple[float, float]:
        mean_E, error_E = self._differences(size, key)
        return float(mean_E[0]), float(error_E[0])

    def _ranked(self, size: int) -> list[_Entrant]:
        """What is better than the settings that stand on so many rows, the best first."""
        found = self._found[size]
        better = [one for key, (one, _) in found.items() if self._gain(size, key)[0] > 0]
        return sorted(better, key=lambda one: -self._gain(size, one.key)[0])

    def _is_safe(self, size: int, key: str) -> bool:
        """Better by SURE standard errors, and no figure worse by one."""
        mean_E, error_E = self._differences(size, key)
        return bool(mean_E[0] > 0 and mean_E[0] >= SURE * error_E[0] and (mean_E >= -error_E).all())

    def _choices(self, complete: bool) -> Choices:
        """What is best on the most rows on which anything was compared."""
        sizes = [
            size for size, found in self._found.items() if _PLAIN.key in found and len(found) > 1
        ]
        aspects = tuple(dict.fromkeys(aspect for aspect, _ in self.options))
        num_held_out, values = len(self.held_out.validation), {}
        if not sizes:
            message = "nothing could be compared; the settings stay as they are"
        else:
            size = max(sizes)
            safe = [one for one in self._ranked(size) if self._is_safe(size, one.key)]
            if safe:
                values = dict(safe[0].values)
                gain, error = self._gain(size, safe[0].key)
                message = (
                    f"chosen: {safe[0].name} ({100 * gain:+.2f} ± {100 * error:.2f} on "
                    f"{num_held_out:,} held-out rows, trained on {size:,})"
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


def _together(entrants: Sequence[_Entrant]) -> _Entrant:
    values: dict[str, object] = {}
    ratio = 1.0
    for entrant in entrants:
        values.update(entrant.values)
        ratio *= entrant.ratio
    return _Entrant(", ".join(entrant.name for entrant in entrants), values, ratio)
