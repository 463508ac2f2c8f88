"""One training run: corpora in, a saved model and a report out."""

import contextlib
import logging
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.encoder.launcher import Group, Rank
from xrt.errors import ConfigError
from xrt.evaluate import KS, evaluate_scores, predict_corpus, strike, tuned_threshold
from xrt.fusion.candidate_recall import CandidateRecall, recall_text
from xrt.fusion.candidates import Candidates
from xrt.metrics.comparison import SHOWN, Comparison, compare
from xrt.metrics.judgement import JUDGED, Judgement, judgement_table
from xrt.metrics.report import RankingReport, compare_table
from xrt.model import XrtModel
from xrt.pipeline.budget.fitting import Budget, finished
from xrt.pipeline.budget.report import BudgetReport
from xrt.pipeline.budget.spending import RECORD, Spending
from xrt.pipeline.choosing.choices import Choices
from xrt.pipeline.corpora import load_corpora
from xrt.pipeline.estimate.machine import Machine
from xrt.pipeline.estimate.stages import estimate, refuse_if_too_small
from xrt.pipeline.following import LeadingCache, joined
from xrt.pipeline.hooks import ApplicationReport, TrainingHooks
from xrt.pipeline.looking_at_rows import LookedAtRows, look_at_rows
from xrt.pipeline.outcome import held_out_figure, test_figure, write_outcome
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.report_content import HELD_OUT, TEST, stage_lines
from xrt.pipeline.report_page import about_run, write_run_report
from xrt.pipeline.rows import require_texts
from xrt.pipeline.saving import save_model
from xrt.pipeline.trainer import Fitted, Trainer
from xrt.pipeline.verdict import NEXT_STEPS, Verdict
from xrt.progress import Progress
from xrt.sources.base import CANDIDATES
from xrt.sparse import as_csr
from xrt.storage.artifact import refuse_to_overwrite
from xrt.storage.atomic import write_json
from xrt.storage.memory_watch import watch_memory
from xrt.storage.stage_store import StageStore
from xrt.storage.stages import FolderCache, StageCache, StageCost, run_lock

logger = logging.getLogger(__name__)

LINEAR_MODEL = "linear-model"
"""Folder of the linear model of a run with a budget, beside that of the model that ships."""


@dataclass(frozen=True, eq=False)
class TrainOutcome:
    """Where the model lies, and what it scored on the test file (empty without one).

    `verdict` says whether the deep model is better than the linear one, `tested` compares both on
    the test file; None without an encoder, or a test file.
    """

    model_folder: Path
    report_path: Path
    reports: Mapping[str, RankingReport]
    verdict: Verdict | None = None
    tested: Comparison | None = None
    application: ApplicationReport = field(default_factory=ApplicationReport)
    """What the application adds, where the run is for one."""
    digest: str = ""
    """The SHA-256 of the model's manifest: what `expect` and `--expect` take."""
    objective: float | None = None
    """What a search over settings maximises: the mean of P@1 and nDCG@10, in [0, 1], of the model
    that ships on held-out rows; None where no row was held out."""
    choices: Choices | None = None
    """The settings that were chosen; None where nothing was open to choice."""
    judgements: tuple[Judgement, ...] = ()
    """Each learnt step beside its plain alternative on held-out rows, and which of them ships."""
    budget: BudgetReport | None = None
    """What a budget was spent on; None without one."""
    recalls: Mapping[str, CandidateRecall] = field(default_factory=dict)
    """How many of the true labels the sources of the model that ships name, by a description of the
    rows: held-out ones, and those of the test file where several sources answer."""

    def to_text(self) -> str:
        """The models side by side, what the encoder added, and the next step.

        Returns:
            Several lines, without a line end behind the last.
        """
        lines = [compare_table(dict(self.reports))] if self.reports else []
        if self.verdict is not None:
            for rows, added in self.verdict.added_on(self.tested).items():
                lines += ["", f"{SHOWN} on {rows}, by training frequency of the label"]
                lines.append(added.to_text())
            lines += ["", f"verdict: {self.verdict.message}"]
            if not self.verdict.ships_deep:
                lines.append(f"next:    {NEXT_STEPS}")
        if self.budget is not None:
            lines += ["", self.budget.to_text()]
        lines += ["", self.application.text, ""] if self.application.text else []
        if self.judgements:
            lines += ["", f"{JUDGED} (percent)", judgement_table(self.judgements), ""]
        if self.recalls:
            lines += ["", recall_text(self.recalls), ""]
        if self.choices is not None:
            lines.append(f"chosen:  {' '.join(self.choices.as_words()) or self.choices.message}")
        lines.append(f"model:   {self.model_folder}")
        lines.append(f"digest:  {self.digest}")
        lines.append(f"report:  {self.report_path}")
        lines.append(f"try it:  {self.application.command.format(model=self.model_folder)}")
        return "\n".join(lines)


def train(
    params: PipelineParams,
    run_folder: str | Path,
    progress: Progress | None = None,
    hooks: TrainingHooks | None = None,
    names: Collection[str] = (),
    stages: Path | None = None,
    rank: Rank | None = None,
) -> TrainOutcome:
    """Train what the settings say and save it under `run_folder`/model.

    Stages that are up to date are skipped; a run that was stopped goes on where it was.

    Args:
        params: settings of the run.
        run_folder: folder of the stages, the model and the report.
        progress: shows the stages; None shows nothing.
        hooks: what an application reads, learns and measures beyond the model; None without one.
        names: full names of the settings that are given: a budget leaves them as they are.
        stages: folder in which runs share finished stages; None: each keeps its own.
        rank: of the first of several processes that a launcher has started; None for one process.

    Returns:
        Where the model lies, and what it scored.

    Raises:
        XrtError: another process trains in the run folder.
        ArtifactError: the folder of the model is something else.
        DataError: a file cannot be used, or there is nothing to learn.
        ConfigError: settings do not fit each other or the files.
        CapacityError: memory or disk is far too small, and `force` is not set.
        TrainingError: the encoder could not be trained.
        SystemExit: with 143, after SIGTERM.
    """
    folder = Path(run_folder)
    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(folder), _group_of(rank, params, folder) as group:
        refuse_to_overwrite(folder / "model")
        spending = None
        if params.budget is not None and params.encoder is not None:
            refuse_to_overwrite(folder / LINEAR_MODEL)
            spending = Spending(params, folder / RECORD)
        params, trn, tst = _corpora(params, folder, hooks)
        candidates = CANDIDATES if hooks is None else hooks.candidates(trn)
        budget = None
        if spending is not None:
            num_tests = 0 if tst is None else tst.num_instances
            keep = partial(_keep_linear, folder=folder / LINEAR_MODEL, trn=trn)
            budget = Budget(spending, names, num_tests, keep)
        cache: StageCache = FolderCache(folder, None if stages is None else StageStore(stages))
        if group is not None:
            cache = LeadingCache(cache, group)
        trainer = Trainer(params, cache, progress, candidates, budget, group=group)
        trainer.check(trn)
        _check_capacity(params, trn, folder)
        fitted = trainer.fit(trn, compared=tst is not None)
        choices = fitted.choices
        params = params if choices is None else choices.applied_to(params)
        models = {"linear": fitted.linear}
        if fitted.deep is not None:
            models["deep"] = fitted.deep
        costs = trainer.runner.costs
        if hooks is not None:
            hooks.learn(trn, fitted.held_out_scores(candidates))
        recalls: dict[str, CandidateRecall] = {}
        if (held := fitted.held_out) is not None:
            of_held = f"{len(held.rows):,} held-out training rows"
            recalls[of_held] = held.recall_of(fitted.model, trn)
        shipped = "linear" if fitted.model is fitted.linear else "deep"
        with _measured(costs, "test rows", tst is not None):
            reports, tested, scores, seen = _evaluate(models, trn, tst, params, progress, hooks)
        if tst is not None and shipped in seen:
            recalls[f"{tst.num_instances:,} test rows"] = seen[shipped]
        application = ApplicationReport()
        if hooks is not None:
            application = hooks.judge(fitted.model, tst, scores.get(shipped))
        verdict = fitted.verdict
        if fitted.plan is not None:
            params = fitted.plan.applied(params)
        with _measured(costs, "model"):
            artifact = save_model(
                fitted.model, folder / "model", trn, reports, params, verdict, tested, hooks,
                application, choices, recalls,
            )  # fmt: skip
        figures = {
            "held_out": held_out_figure(fitted, trn),
            "test": test_figure(tst, scores.get(shipped)),
        }
        write_outcome(folder, params, artifact, figures, stage_lines(costs))
        judgements = (*fitted.judgements, *application.judgements)
        used = fitted.budget
        if spending is not None and used is not None:
            used = finished(used, spending)
        slices = {} if fitted.held_out is None else fitted.held_out.slices
        rows, examples = _look(fitted, trn, tst, scores, shipped, params)
        about = about_run(folder, params, fitted.model, artifact, shipped, trn.num_instances)
        page = write_run_report(
            folder, params, reports, verdict, tested, application, choices, judgements, recalls,
            used, slices, fitted.model.about_indexes(), about, rows, examples, costs,
        )  # fmt: skip
    return TrainOutcome(
        folder / "model",
        page,
        reports,
        verdict,
        tested,
        application,
        artifact.digest,
        fitted.objective,
        choices,
        judgements,
        used,
        recalls,
    )


def _group_of(
    rank: Rank | None, params: PipelineParams, folder: Path
) -> contextlib.AbstractContextManager[Group | None]:
    """The processes that a launcher has started; None without one."""
    if rank is None and params.trainer.num_nodes > 1:
        raise ConfigError(
            f"trainer.num_nodes = {params.trainer.num_nodes}: this process is alone; start xrt on "
            "each machine by torchrun or srun (docs/training.md)"
        )
    return contextlib.nullcontext() if rank is None else joined(rank, params, folder)


def _keep_linear(model: XrtModel, params: PipelineParams, *, folder: Path, trn: Corpus) -> None:
    """The linear model as a folder that can be used while the deep one is trained."""
    save_model(model, folder, trn, {}, params, None, None, None, ApplicationReport())
    logger.info("the linear model is ready: %s", folder)


def _corpora(
    params: PipelineParams, folder: Path, hooks: TrainingHooks | None
) -> tuple[PipelineParams, Corpus, Corpus | None]:
    if hooks is not None:
        return hooks.corpora(params, folder)
    return params, *load_corpora(params.dataset, folder, params.seed)


def estimate_run(
    params: PipelineParams,
    run_folder: str | Path,
    hooks: TrainingHooks | None = None,
    names: Collection[str] = (),
) -> str:
    """What the run would take, as a table, with a line for each limit it comes near; with a budget
    also what it would be spent on.

    Nothing is kept: the demo catalogue is generated elsewhere.

    Args:
        params: settings of the run.
        run_folder: folder of the run, for the free space of its disk.
        hooks: hooks of an application, which read the corpora; None without one.
        names: full names of the settings that are given: a budget leaves them as they are.

    Returns:
        Several lines.

    Raises:
        DataError: a file cannot be used.
        ConfigError: an encoder is set, and the file has rows of features; or the encoder cannot be
            had.
    """
    with tempfile.TemporaryDirectory(prefix="xrt-estimate-") as scratch:
        params, trn, tst = _corpora(params, Path(scratch), hooks)
    require_texts(params, trn)
    lines = []
    if params.budget is not None and params.encoder is not None:
        from xrt.pipeline.budget.prospect import prospect

        plan = prospect(params, trn, names, 0 if tst is None else tst.num_instances)
        lines = [f"budget={params.budget}: {plan.message}"]
        params = plan.applied(params) if plan.deep else replace(params, encoder=None)
    told = estimate(params, trn)
    limits = refuse_if_too_small(told, Machine.here(Path(run_folder)), force=True)
    return "\n".join([told.to_text(), *lines, *(f"warning: {limit}" for limit in limits)])


def _check_capacity(params: PipelineParams, corpus: Corpus, folder: Path) -> None:
    """Memory and disk that will be needed, beside what there is, before anything is done.

    Raises CapacityError when the machine is far too small and `force` is not set.
    """
    needed = estimate(params, corpus, probe=False)
    write_json(folder / "estimate.json", needed.to_dict())
    for warning in refuse_if_too_small(needed, Machine.here(folder), params.force):
        logger.warning("%s", warning)


def _evaluate(
    models: Mapping[str, XrtModel],
    trn: Corpus,
    tst: Corpus | None,
    params: PipelineParams,
    progress: Progress | None,
    hooks: TrainingHooks | None = None,
) -> tuple[
    dict[str, RankingReport],
    Comparison | None,
    dict[str, sp.csr_array],
    dict[str, CandidateRecall],
]:
    """Every model on the test file, on the same rows with the same code; where there are two, both
    side by side; the scores; and the recall of candidates of models of several sources.
    """
    if tst is None:
        return {}, None, {}, {}
    k = max(KS) if hooks is None else hooks.candidates(trn)
    training = label_counts(trn), trn.num_instances, params.dataset.propensity
    reports, kept, scores, recalls = {}, [], {}, {}
    for name, model in models.items():
        parts: list[CandidateRecall] = []

        def measure(candidates: Candidates, low: int, parts: Any = parts) -> None:
            Y_true = as_csr(tst.Y[low : low + candidates.num_rows])
            parts.append(CandidateRecall.of(candidates, Y_true))

        scores_NL = predict_corpus(
            model, tst, k, num_threads=params.num_threads or None, progress=progress,
            watch=measure,
        )  # fmt: skip
        if parts:
            recalls[name] = CandidateRecall.joined(parts)
        scores[name] = scores_NL
        threshold = tuned_threshold(model)
        reports[name] = evaluate_scores(scores_NL, tst, *training, threshold=threshold)
        kept.append(strike(scores_NL, tst.filters))
    tested = compare(tst.Y, kept[0], kept[1], *training) if len(kept) > 1 else None
    return reports, tested, scores, recalls


def _look(
    fitted: Fitted,
    trn: Corpus,
    tst: Corpus | None,
    scores: Mapping[str, sp.csr_array],
    shipped: str,
    params: PipelineParams,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any] | None]:
    """What the report tells of single rows, held out and of the test file, and examples of the
    latter where there are any.
    """
    told, examples = {}, None
    propensity, calibrated = params.dataset.propensity, fitted.model.calibration is not None
    held = fitted.held_out
    if held is not None and shipped in held.scores:
        others = np.setdiff1d(np.arange(trn.num_instances), held.rows)
        counts_L = np.bincount(as_csr(trn.Y[others]).indices, minlength=trn.num_labels)
        looked = LookedAtRows("held-out training rows", trn.subset(held.rows), held.scores)
        told[HELD_OUT], examples = look_at_rows(
            looked, shipped, counts_L, len(others), propensity, calibrated
        )
    if tst is not None and shipped in scores:
        struck = {name: strike(each, tst.filters) for name, each in scores.items()}
        looked = LookedAtRows("test rows", tst, struck)
        told[TEST], examples = look_at_rows(
            looked, shipped, label_counts(trn), trn.num_instances, propensity, calibrated
        )
    return told, examples


@contextlib.contextmanager
def _measured(costs: dict[str, StageCost], name: str, is_made: bool = True) -> Iterator[None]:
    """Note the time and the memory of a step that is no stage.

    Args:
        costs: takes the note.
        name: of the step.
        is_made: False where there is nothing to note.

    Yields:
        None, once.
    """
    started = time.monotonic()
    with watch_memory() as peak:
        yield
    if is_made:
        costs[name] = StageCost(round(time.monotonic() - started, 3), peak.num_bytes)


def label_counts(corpus: Corpus) -> np.ndarray:
    """Rows of each label.

    Args:
        corpus: the corpus.

    Returns:
        int64 (L,).
    """
    return np.bincount(corpus.Y.indices, minlength=corpus.num_labels)
