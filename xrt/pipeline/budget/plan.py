"""What the time that is left is spent on: the length of texts, the layers trained, passes, trees.

The rule: of all choices that fit into the time, the one with the highest score is taken. A score is
the share that a choice has of what the encoder can add to the linear model:

    read ** 0.15                 read: share of the texts' tokens that are not cut away
    * (1 - 0.15 * frozen ** 2)   frozen: share of the layers that stay as pretrained
    * (1 - exp(-rows / few))     rows: rows trained on; few: 0.55 passes, 25,000 rows at most
    * 0.94, 0.98, 1              one, two, three trees of hybrid rankers

The figures are fitted by eye to the records of tibkat: 64 tokens and 1.4 passes against 128 and 3,
frozen layers, three trees (bench/records, 2026-11-21 and 2026-11-22). They are rough, were checked
on no other corpus, and need only be good enough to order choices; what a choice takes is
measured.

N training rows, n of a sample.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from xrt.encoder.params import EncoderParams
from xrt.pipeline.estimate.costs import show_seconds
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.runner import setting_of

LENGTHS = (32, 64, 96, 128, 192, 256, 384, 512)
"""Tokens that a text may be cut at."""
ENOUGH_READ = 0.99
"""Share of the tokens above which no longer cut is tried."""
DEEP_TREES = (1, 2, 3)
TREES_SCORE = {1: 0.94, 2: 0.98, 3: 1.0}
MOST_EPOCHS = 5.0
"""Passes over the rows at the most."""
LEAST_LEARNT = 0.25
"""Share of what passes can teach below which fine-tuning is not worth its time."""
FEW_EPOCHS, FEW_ROWS = 0.55, 25_000
"""Passes, and rows, after which two thirds of what passes can teach are learnt."""
VALIDATIONS, ROWS_A_VALIDATION = 8, 5_000
"""Validations at the most, and rows trained on for each."""
SPARE = 0.08
"""Share of the budget that nothing is planned for: with 0.05 a run of 15 minutes took 16 on a busy
machine."""
PLANNED = (
    "encoder.max_length", "encoder.frozen_layers", "matcher.num_epochs", "matcher.steps",
    "num_deep_trees",
)  # fmt: skip
"""Settings that a plan chooses, unless they are given."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way to spend the time: tokens of a text, frozen layers, trees of hybrid rankers."""

    max_length: int
    frozen_layers: int
    num_deep_trees: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds that a choice takes.

    Attributes:
        row: a row of a training step.
        validation: one look at held-out rows.
        encoding: reading all rows, for the rankers and for tests.
        rankers: hybrid rankers, for held-out rows and for all.
        fusion: scoring of held-out rows and of tests, fusion.
    """

    row: float
    validation: float
    encoding: float
    rankers: float
    fusion: float

    @property
    def fixed(self) -> float:
        """What is needed beside the steps."""
        return self.encoding + self.rankers + self.fusion


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was chosen.

    Attributes:
        deep: whether an encoder is trained at all.
        settings: what was chosen, and what was given of it, by full name.
        seconds: of the fine-tuning's steps and validations.
        most_epochs: passes at the most, where steps are faster than measured.
        expected: seconds by part.
        message: what was chosen and why, in one line.
    """

    deep: bool
    settings: dict[str, int | float]
    seconds: float
    most_epochs: float
    expected: dict[str, float]
    message: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Returns:
            Values by name.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Args:
            content: what `to_dict` gave.

        Returns:
            The plan.
        """
        return cls(**content)

    def applied(self, params: PipelineParams) -> PipelineParams:
        """The settings with what was chosen.

        Args:
            params: settings of the run.

        Returns:
            New settings.
        """
        for name, value in self.settings.items():
            part, _, field = name.rpartition(".")
            if part:
                params = replace(params, **{part: replace(getattr(params, part), **{field: value})})
            else:
                params = replace(params, **{field: value})  # type: ignore[arg-type]
        return params

    def as_words(self) -> str:
        """The settings as they are typed.

        Returns:
            `key=value` of each, with blanks between.
        """
        return " ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                        for name, value in self.settings.items())  # fmt: skip


def kept_settings(params: PipelineParams, names: Iterable[str] = ()) -> frozenset[str]:
    """Which of the settings that a plan chooses are given already.

    Args:
        params: settings of the run, with an encoder.
        names: full names of those that are given.

    Returns:
        Those among the names, and those that a preset or an argument has moved from their default.
    """
    plain = PipelineParams(encoder=EncoderParams())
    named = set(names)
    return frozenset(
        name
        for name in PLANNED
        if name in named or setting_of(params, name) != setting_of(plain, name)
    )


def possible_choices(
    params: PipelineParams,
    given: frozenset[str],
    lengths_n: np.ndarray,
    num_layers: int,
    positions: int | None,
) -> list[Choice]:
    """The choices among which a plan looks.

    Args:
        params: settings of the run, with an encoder.
        given: settings that stay as they are.
        lengths_n: tokens of a sample of texts.
        num_layers: layers of the encoder.
        positions: tokens that it can read; None for no limit.

    Returns:
        At least one.
    """
    assert params.encoder is not None
    lengths: Sequence[int] = [params.encoder.max_length]
    if "encoder.max_length" not in given:
        readable = [n for n in LENGTHS if positions is None or n <= positions]
        lengths = _up_to_enough(readable or lengths, lengths_n)
    frozen = [params.encoder.frozen_layers]
    if "encoder.frozen_layers" not in given and not params.encoder.lora_rank:
        frozen = sorted({0, num_layers // 3, 2 * num_layers // 3})
    trees: Sequence[int] = [params.num_deep_trees]
    if "num_deep_trees" not in given:
        trees = DEEP_TREES
    return [
        Choice(max_length=length, frozen_layers=layers, num_deep_trees=count)
        for length, layers, count in itertools.product(lengths, frozen, trees)
    ]


def share_read(lengths_n: np.ndarray, max_length: int) -> float:
    """The share of the texts' tokens that a cut leaves.

    Args:
        lengths_n: tokens of a sample of texts.
        max_length: where texts are cut.

    Returns:
        In (0, 1].
    """
    total = float(lengths_n.sum())
    return float(np.minimum(lengths_n, max_length).sum()) / total if total else 1.0


def _up_to_enough(lengths: Sequence[int], lengths_n: np.ndarray) -> list[int]:
    kept = []
    for length in lengths:
        kept.append(length)
        if share_read(lengths_n, length) >= ENOUGH_READ:
            break
    return kept


def few_rows(num_rows: int) -> float:
    """Rows trained on after which two thirds of what passes can teach are learnt.

    Args:
        num_rows: training rows, N.

    Returns:
        Their number.
    """
    return min(FEW_EPOCHS * num_rows, float(FEW_ROWS))


def score(choice: Choice, rows: float, num_rows: int, read: float, num_layers: int) -> float:
    """The share of what an encoder can add, as this file's head says.

    Args:
        choice: the choice.
        rows: rows trained on, passes counted.
        num_rows: training rows, N.
        read: share of the tokens that are not cut away.
        num_layers: layers of the encoder.

    Returns:
        In (0, 1).
    """
    frozen = choice.frozen_layers / max(1, num_layers)
    learnt = 1 - math.exp(-rows / few_rows(num_rows))
    trees = TREES_SCORE[min(choice.num_deep_trees, max(DEEP_TREES))]
    return float(read**0.15 * (1 - 0.15 * frozen**2) * learnt * trees)


def make_plan(
    params: PipelineParams,
    given: frozenset[str],
    costs: Mapping[Choice, Cost],
    *,
    lengths_n: np.ndarray,
    num_rows: int,
    num_layers: int,
    remaining: float,
    seconds: float,
) -> Plan:
    """Choose the best that fits.

    Args:
        params: settings of the run, with an encoder and a budget.
        given: settings that stay as they are; passes that are given are an upper bound.
        costs: what each possible choice takes.
        lengths_n: tokens of a sample of texts.
        num_rows: training rows, N.
        num_layers: layers of the encoder.
        remaining: seconds that are left.
        seconds: of the whole budget.

    Returns:
        The plan; one without an encoder where nothing fits.
    """
    usable = remaining - SPARE * seconds
    most = _most_epochs(params, given, lengths_n, num_rows)
    least = min(-math.log(1 - LEAST_LEARNT) * few_rows(num_rows), most * num_rows)
    looks = num_validations(least)
    smallest = min(
        cost.fixed + looks * cost.validation + least * cost.row for cost in costs.values()
    )
    best: tuple[float, Choice, float] | None = None
    for choice, cost in costs.items():
        fitting = usable - cost.fixed
        validating = num_validations(fitting / cost.row) * cost.validation
        rows = min(most * num_rows, (fitting - validating) / cost.row)
        if rows < least:
            continue
        read = share_read(lengths_n, choice.max_length)
        points = score(choice, rows, num_rows, read, num_layers)
        if best is None or points > best[0]:
            best = points, choice, rows
    if best is None:
        return linear_plan(remaining, smallest, SPARE * seconds)
    _, choice, rows = best
    return _deep_plan(params, given, choice, rows, costs[choice], lengths_n, num_rows,
                      num_layers, usable, most)  # fmt: skip


def num_validations(rows: float) -> int:
    """How often held-out rows are looked at.

    Args:
        rows: rows trained on, passes counted.

    Returns:
        From 2 to `VALIDATIONS`.
    """
    return int(max(2, min(VALIDATIONS, rows // ROWS_A_VALIDATION)))


def rows_of_step(params: PipelineParams, lengths_n: np.ndarray, max_length: int) -> float:
    """About how many rows a step has.

    Args:
        params: settings of the run.
        lengths_n: tokens of a sample of texts.
        max_length: where texts are cut.

    Returns:
        Their number, at least 1.
    """
    tokens = float(np.minimum(lengths_n, max_length).mean()) if len(lengths_n) else 1.0
    matcher = params.matcher
    return max(1.0, min(matcher.max_batch_rows, matcher.token_budget / max(1.0, tokens)))


def _most_epochs(
    params: PipelineParams, given: frozenset[str], lengths_n: np.ndarray, num_rows: int
) -> float:
    """Passes at the most: those that are given, or as many as may be worth their time."""
    if "matcher.steps" in given and params.matcher.steps:
        length = LENGTHS[-1] if params.encoder is None else params.encoder.max_length
        return params.matcher.steps * rows_of_step(params, lengths_n, length) / num_rows
    return params.matcher.num_epochs if "matcher.num_epochs" in given else MOST_EPOCHS


def linear_plan(remaining: float, smallest: float, spare: float) -> Plan:
    """The plan that trains no encoder.

    Args:
        remaining: seconds that are left after the linear model.
        smallest: seconds of the smallest deep training.
        spare: seconds that nothing is planned for.

    Returns:
        The plan.
    """
    left = show_seconds(max(0.0, remaining))
    message = (
        f"{left} of the budget are left after the linear model, the smallest deep training would "
        f"take about {show_seconds(smallest + spare)}: the linear model ships"
    )
    return Plan(deep=False, settings={}, seconds=0.0, most_epochs=0.0, expected={}, message=message)


def _deep_plan(
    params: PipelineParams,
    given: frozenset[str],
    choice: Choice,
    rows: float,
    cost: Cost,
    lengths_n: np.ndarray,
    num_rows: int,
    num_layers: int,
    usable: float,
    most: float,
) -> Plan:
    epochs = float(f"{rows / num_rows:.3g}")
    steps_given = bool("matcher.steps" in given and params.matcher.steps)
    looks = num_validations(rows)
    settings: dict[str, int | float] = {
        "encoder.max_length": choice.max_length,
        "encoder.frozen_layers": choice.frozen_layers,
        "num_deep_trees": choice.num_deep_trees,
    }
    if not steps_given:
        settings["matcher.num_epochs"] = epochs
    if not params.matcher.validate_every_steps:
        steps = rows / rows_of_step(params, lengths_n, choice.max_length)
        settings["matcher.validate_every_steps"] = max(1, math.ceil(steps / looks))
    fitting = rows * cost.row + looks * cost.validation
    seconds = max(fitting, usable - cost.fixed)  # slower steps than measured have what is left
    expected = {
        "fine-tuning": fitting, "encoding": cost.encoding, "rankers": cost.rankers,
        "fusion": cost.fusion,
    }  # fmt: skip
    parts = ", ".join(f"{part} {show_seconds(took)}" for part, took in expected.items())
    read = share_read(lengths_n, choice.max_length)
    passes = f"{params.matcher.steps} steps" if steps_given else f"{epochs:g} passes"
    message = (
        f"{choice.max_length} tokens ({100 * read:.0f} % of the texts), "
        f"{num_layers - choice.frozen_layers} of {num_layers} layers trained, {passes}, "
        f"{choice.num_deep_trees} tree(s) of hybrid rankers; expected: {parts}"
    )
    rounded = {part: round(float(took), 1) for part, took in expected.items()}
    return Plan(
        deep=True,
        settings=settings,
        seconds=round(float(seconds), 1),
        most_epochs=0.0 if steps_given else min(most, 1.5 * epochs),
        expected=rounded, message=message,
    )  # fmt: skip
