"""A training within a budget: the linear model first, then the deep one as far as the time goes.

N training rows, L labels.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from xrt.model import XrtModel
from xrt.pipeline.budget.linear_times import linear_times, seconds_a_row
from xrt.pipeline.budget.plan import Plan, kept_settings
from xrt.pipeline.budget.report import BudgetReport, facts_of, more_time, repeat_settings
from xrt.pipeline.budget.spending import Spending
from xrt.pipeline.fusing import HeldOutRows
from xrt.pipeline.linear import fuse_linear
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.rows import TrainingRows, lazy_hash
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.trees import PlantedTree
from xrt.pipeline.verdict import Verdict
from xrt.storage.atomic import write_json
from xrt.storage.reading import read_json_bounded
from xrt.storage.stages import Hash, Settings, Stage, Workspace

if TYPE_CHECKING:
    from xrt.encoder.pacing import TimeLimit

logger = logging.getLogger(__name__)

PLAN = Stage[Plan](
    "budget-plan", 2, ("matcher", "tree", "ranker", "num_trees", "num_deep_trees", "seed"),
    save=lambda plan, folder: write_json(folder / "plan.json", plan.to_dict()),
    load=lambda folder: Plan.from_dict(read_json_bounded(folder / "plan.json")),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Budget:
    """What a training within a budget needs to know.

    Attributes:
        spending: the clock.
        names: full names of settings that are given, which the plan leaves alone.
        num_tests: rows of the test file, which will be read, too.
        keep: is given the linear model, with the settings, as soon as it is ready.
    """

    spending: Spending
    names: Collection[str] = ()
    num_tests: int = 0
    keep: Callable[[XrtModel, PipelineParams], None] = field(default=lambda model, params: None)


def fit_within(
    runner: StageRunner,
    rows: TrainingRows,
    linear: XrtModel,
    trees: Sequence[PlantedTree],
    compared: bool,
    budget: Budget,
) -> tuple[XrtModel, XrtModel | None, Verdict | None, HeldOutRows | None, Plan, BudgetReport]:
    """Finish the linear model, plan, and train the deep one where it fits.

    Args:
        runner: runs the stages.
        rows: the training rows; they have texts.
        linear: the linear model of all rows.
        trees: its label trees.
        compared: finish the deep model even where it does not ship.
        budget: the budget.

    Returns:
        The linear model, fused and calibrated; the deep one, or None; the verdict, None where no
        encoder was trained; the held-out rows; the plan; how the budget was used.
    """
    spending = budget.spending
    ready, held_out = fuse_linear(runner, rows, linear, trees)
    budget.keep(ready, runner.params)
    spending.begin("planning")
    plan = _plan(runner, rows, budget, ready)
    spending.facts["plan"] = plan.to_dict()
    logger.log(
        logging.INFO if plan.deep else logging.WARNING,
        "budget=%s: %s", spending.budget, plan.message,
    )  # fmt: skip
    if not plan.deep:
        report = _report(budget, plan)
        return ready, None, None, held_out, plan, report
    logger.info("the same without a budget: %s", plan.as_words())
    spending.begin("fine-tuning")

    from xrt.pipeline.deep import fit_deep
    from xrt.pipeline.encoding import MatcherOutputs

    seen: list[MatcherOutputs] = []

    def watch(matcher: MatcherOutputs) -> None:
        seen.append(matcher)
        spending.begin("rankers and fusion")

    _, deep, verdict, held = fit_deep(
        replace(runner, params=plan.applied(runner.params)), rows, linear, compared,
        _limit_of(plan), watch,
    )  # fmt: skip
    pace, validations = seen[0].pace, seen[0].validations[-1]
    if held_out is not None:  # the linear model of such a run is fused, that of `fit_deep` is not
        scores = {**held.scores, **held_out.scores}
        held = replace(held if verdict.ships_deep else held_out, scores=scores)
    report = _report(
        budget, plan, more_time(plan, spending.seconds, validations, pace),
        repeat_settings(plan, pace),
    )  # fmt: skip
    return ready, deep, verdict, held, plan, report


def _limit_of(plan: Plan) -> "TimeLimit":
    from xrt.encoder.pacing import TimeLimit

    planned = plan.expected["fine-tuning"]
    after = sum(plan.expected.values()) - planned
    return TimeLimit(plan.seconds, plan.most_epochs, planned, after)


def _report(budget: Budget, plan: Plan, more: str | None = None, repeat: str = "") -> BudgetReport:
    spending = budget.spending
    more = more_time(plan, spending.seconds) if more is None else more
    report = BudgetReport(
        budget=spending.budget, spent=spending.parts, plan=plan, more_time=more, repeat=repeat
    )
    spending.facts |= facts_of(report)
    spending.begin("tests and saving")
    return report


def finished(report: BudgetReport, spending: Spending) -> BudgetReport:
    """The report at the end of the run, with what was spent since.

    Args:
        report: the report after training.
        spending: the clock; its record is closed.

    Returns:
        The report.
    """
    spending.keep(finished=True)
    return replace(report, spent=spending.parts)


def _plan(runner: StageRunner, rows: TrainingRows, budget: Budget, ready: XrtModel) -> Plan:
    """The stage of the plan: made once, so that a run that was stopped goes on with it."""
    params, corpus, spending = runner.params, rows.corpus, budget.spending
    assert corpus.texts is not None
    texts = corpus.texts

    def make(settings: Settings, workspace: Workspace) -> Plan:
        from xrt.pipeline.budget.measuring import plan_for

        scoring = seconds_a_row(runner, rows, ready, spending.now) if budget.num_tests else 0.0
        times = replace(linear_times(runner, rows, budget.num_tests), scoring=scoring)
        return plan_for(
            params, texts, rows.labels_of, times,
            remaining=lambda: spending.remaining, seconds=spending.seconds,
            names=budget.names, now=spending.now,
        )  # fmt: skip

    from xrt.pipeline.encoding import encoder_identity

    assert params.encoder is not None
    identity, files = encoder_identity(params.encoder)
    given = sorted(kept_settings(params, budget.names))
    inputs: dict[str, Hash] = {**rows.inputs, "texts": lazy_hash(texts), **files}
    parameters = {
        "encoder": identity, "budget": spending.budget, "devices": asdict(params.trainer),
        "given": given,
    }  # fmt: skip
    return runner.run(PLAN, make, inputs, parameters=parameters).value
