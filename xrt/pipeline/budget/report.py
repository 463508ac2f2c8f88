"""What a budget was spent on, and what more time would bring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xrt.pipeline.budget.duration import duration_text
from xrt.pipeline.budget.plan import Plan
from xrt.pipeline.estimate.costs import show_seconds

RISING = 0.005
"""Gain in nDCG@5 over the last quarter of the fine-tuning from which a curve still rises."""
LAST = 0.75


@dataclass(frozen=True, kw_only=True)
class BudgetReport:
    """How a budget was used.

    Attributes:
        budget: as it was given.
        spent: seconds by part.
        plan: what was planned.
        more_time: what more time would bring, in one sentence.
        repeat: settings of a run without a budget that does the same; empty where no encoder was
            trained.
    """

    budget: str
    spent: Mapping[str, float]
    plan: Plan
    more_time: str
    repeat: str

    @property
    def seconds(self) -> float:
        """All that was spent."""
        return sum(self.spent.values())

    def to_text(self) -> str:
        """For the terminal.

        Returns:
            Some lines, without a line end behind the last.
        """
        parts = ", ".join(
            f"{part} {show_seconds(took)}" for part, took in self.spent.items() if took >= 0.5
        )
        lines = [f"budget:  {show_seconds(self.seconds)} of {self.budget} spent: {parts}"]
        lines.append(f"plan:    {self.plan.message}")
        if self.repeat:
            lines.append(f"repeat:  {self.repeat}")
        lines.append(f"more:    {self.more_time}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Returns:
            Plain values.
        """
        return {"budget": self.budget, "spent": dict(self.spent), **facts_of(self)}


def repeat_settings(plan: Plan, pace: Mapping[str, float] | None) -> str:
    """The settings of a run without a budget that does the same.

    Args:
        plan: the plan.
        pace: steps as planned and as made; None where the fine-tuning is not known.

    Returns:
        `key=value` of each; where the end was moved it says that the run is nearly the same, as the
        learning rate came down otherwise.
    """
    if not plan.deep:
        return ""
    if pace is None or pace["steps"] == pace["planned_steps"]:
        return plan.as_words()
    words = [word for word in plan.as_words().split() if "num_epochs" not in word]
    words.append(f"matcher.steps={int(pace['steps'])}")
    planned = int(pace["planned_steps"])
    return f"{' '.join(words)} (nearly: {planned} steps were planned, the end was moved)"


def more_time(
    plan: Plan,
    seconds: float,
    validations: Sequence[Mapping[str, float]] = (),
    pace: Mapping[str, float] | None = None,
) -> str:
    """What more time would bring, from the held-out figures.

    Args:
        plan: the plan.
        seconds: of the budget.
        validations: figures of the fine-tuning's validations.
        pace: steps as planned and as made.

    Returns:
        One sentence.
    """
    if not plan.deep:
        return "a larger budget trains an encoder, too"
    if len(validations) < 2:
        return "held-out rows were looked at too seldom to tell what more time would bring"
    last, before = validations[-1], validations[0]
    for each in validations[:-1]:
        if each["step"] <= LAST * last["step"]:
            before = each
    gain = 100 * (last["ndcg@5"] - before["ndcg@5"])
    found = (
        f"held-out nDCG@5 of the matcher went from {100 * before['ndcg@5']:.1f} to "
        f"{100 * last['ndcg@5']:.1f} between step {int(before['step'])} and {int(last['step'])}"
    )
    if gain >= 100 * RISING:
        return (
            f"{found}: it still rises, more time brings more (budget={duration_text(2 * seconds)})"
        )
    ended = pace is not None and pace["steps"] < 0.9 * pace["planned_steps"]
    stopped = ", and the fine-tuning ended early" if ended else ""
    return f"{found}{stopped}: it no longer rises, more time brings little"


def facts_of(report: BudgetReport) -> dict[str, Any]:
    """For the record in the run folder.

    Args:
        report: the report.

    Returns:
        Plain values.
    """
    return {
        "plan": report.plan.to_dict(), "more_time": report.more_time, "repeat": report.repeat,
    }  # fmt: skip
