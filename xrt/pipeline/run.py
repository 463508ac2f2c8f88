"""One training run: corpora in, a saved model and a report out."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.encoder.resolve import require_encoder
from xrt.evaluate import KS, evaluate_scores, predict_corpus, strike, tuned_threshold
from xrt.metrics.comparison import SHOWN, Comparison, compare
from xrt.metrics.report import RankingReport, compare_table
from xrt.model import XrtModel
from xrt.pipeline.assemble import fit_deep, fit_linear, require_texts
from xrt.pipeline.corpora import load_corpora
from xrt.pipeline.estimate.machine import Machine
from xrt.pipeline.estimate.stages import estimate, refuse_if_too_small
from xrt.pipeline.fit import StageRunner
from xrt.pipeline.fusing import held_out_scores
from xrt.pipeline.hooks import ApplicationReport, TrainingHooks
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.report_page import write_run_report
from xrt.pipeline.saving import save_model
from xrt.pipeline.verdict import NEXT_STEPS, Verdict, require_held_out
from xrt.progress import Progress
from xrt.sources.base import CANDIDATES
from xrt.storage.artifact import refuse_to_overwrite
from xrt.storage.atomic import write_json
from xrt.storage.stages import run_lock

logger = logging.getLogger(__name__)


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

    def to_text(self) -> str:
        """The models side by side, what the encoder added, and the next step."""
        lines = [compare_table(dict(self.reports))] if self.reports else []
        if self.verdict is not None:
            for rows, added in self.verdict.added_on(self.tested).items():
                lines += ["", f"{SHOWN} on {rows}, by training frequency of the label"]
                lines.append(added.to_text())
            lines += ["", f"verdict: {self.verdict.message}"]
            if not self.verdict.ships_deep:
                lines.append(f"next:    {NEXT_STEPS}")
        lines += ["", self.application.text, ""] if self.application.text else []
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
) -> TrainOutcome:
    """Train what the settings say and save it under `run_folder`/model; `hooks` are
    an application's: what it reads, learns and measures beyond that.

    Stages that are up to date are skipped; a run that was stopped goes on where it was.
    Raises DataError, ConfigError or TrainingError; SystemExit(143) after SIGTERM.
    """
    folder = Path(run_folder)
    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(folder):
        refuse_to_overwrite(folder / "model")
        params, trn, tst = _corpora(params, folder, hooks)
        require_texts(params, trn)
        require_held_out(params, trn)
        _try_encoder(params, trn, folder)
        _check_capacity(params, trn, folder)
        candidates = CANDIDATES if hooks is None else hooks.candidates(trn)
        runner = StageRunner(folder, params, progress, candidates)
        linear, rows = fit_linear(runner, trn)
        best, models, verdict = linear, {"linear": linear}, None
        if params.encoder is not None:
            found = fit_deep(runner, trn, linear, rows, compared=tst is not None)
            best, models, verdict = found.linear, {"linear": found.linear}, found.verdict
            if found.deep is not None:
                models["deep"] = found.deep
                best = found.deep if verdict.ships_deep else found.linear
        if hooks is not None:
            hooks.learn(trn, held_out_scores(runner, trn, best))
        reports, tested, scores = _evaluate(models, trn, tst, params, progress, hooks)
        application = ApplicationReport()
        if hooks is not None:
            shipped = "deep" if best is models.get("deep") else "linear"
            application = hooks.judge(best, tst, scores.get(shipped))
        saved = save_model(
            best, folder / "model", trn, reports, params, verdict, tested, hooks, application
        )
        page = write_run_report(folder, params, reports, verdict, tested, application)
    return TrainOutcome(folder / "model", page, reports, verdict, tested, application, saved.digest)


def _corpora(
    params: PipelineParams, folder: Path, hooks: TrainingHooks | None
) -> tuple[PipelineParams, Corpus, Corpus | None]:
    if hooks is not None:
        return hooks.corpora(params, folder)
    return params, *load_corpora(params.dataset, folder, params.seed)


def estimate_run(
    params: PipelineParams, run_folder: str | Path, hooks: TrainingHooks | None = None
) -> str:
    """What the run would take, as a table, with a line for each limit it comes near.

    Nothing is kept: the demo catalogue is generated elsewhere. Raises DataError for an unusable
    file.
    """
    with tempfile.TemporaryDirectory(prefix="xrt-estimate-") as scratch:
        params, trn, _ = _corpora(params, Path(scratch), hooks)
    require_texts(params, trn)
    told = estimate(params, trn)
    limits = refuse_if_too_small(told, Machine.here(Path(run_folder)), force=True)
    return "\n".join([told.to_text(), *(f"warning: {limit}" for limit in limits)])


def _try_encoder(params: PipelineParams, corpus: Corpus, folder: Path) -> None:
    """Raises ConfigError where the encoder cannot be read, trained or saved as the settings say;
    the run folder remembers one that can.
    """
    if params.encoder is not None:
        require_encoder(
            params.encoder, trainer=params.trainer,
            texts=corpus.texts or (), record=folder / "encoder-tried.txt",
        )  # fmt: skip


def _check_capacity(params: PipelineParams, corpus: Corpus, folder: Path) -> None:
    """Memory and disk that will be needed, beside what there is, before anything is done.

    Raises CapacityError when the machine is far too small and `force` is not set.
    """
    needed = estimate(params, corpus, probe=False)
    write_json(folder / "estimate.json", needed.to_dict())
    for warning in refuse_if_too_small(needed, Machine.here(folder), params.force):
        logger.warning("%s", warning)


def fit_model(
    params: PipelineParams,
    corpus: Corpus,
    run_folder: str | Path,
    progress: Progress | None = None,
) -> XrtModel:
    """Train on a corpus in memory and give the model that would ship; stages are kept in
    `run_folder`. Nothing is evaluated or saved.
    """
    return fit_judged(params, corpus, run_folder, progress)[0]


def fit_judged(
    params: PipelineParams,
    corpus: Corpus,
    run_folder: str | Path,
    progress: Progress | None = None,
) -> tuple[XrtModel, Verdict | None]:
    """`fit_model`, and the verdict on the deep model; None without an encoder.

    Raises DataError, ConfigError or TrainingError.
    """
    corpus.require_trainable()
    require_texts(params, corpus)
    require_held_out(params, corpus)
    folder = Path(run_folder)
    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(folder):
        _try_encoder(params, corpus, folder)
        runner = StageRunner(folder, params, progress)
        model, rows = fit_linear(runner, corpus)
        if params.encoder is None:
            return model, None
        found = fit_deep(runner, corpus, model, rows, compared=False)
        return found.linear if found.deep is None else found.deep, found.verdict


def _evaluate(
    models: Mapping[str, XrtModel],
    trn: Corpus,
    tst: Corpus | None,
    params: PipelineParams,
    progress: Progress | None,
    hooks: TrainingHooks | None = None,
) -> tuple[dict[str, RankingReport], Comparison | None, dict[str, sp.csr_array]]:
    """Every model on the test file, on the same rows with the same code; where there are two, both
    side by side; and the scores.
    """
    if tst is None:
        return {}, None, {}
    k = max(KS) if hooks is None else hooks.candidates(trn)
    training = label_counts(trn), trn.num_instances, params.dataset.propensity
    reports, kept, scores = {}, [], {}
    for name, model in models.items():
        scores_NL = predict_corpus(
            model, tst, k, num_threads=params.num_threads or None, progress=progress
        )
        scores[name] = scores_NL
        threshold = tuned_threshold(model)
        reports[name] = evaluate_scores(scores_NL, tst, *training, threshold=threshold)
        kept.append(strike(scores_NL, tst.filters))
    tested = compare(tst.Y, kept[0], kept[1], *training) if len(kept) > 1 else None
    return reports, tested, scores


def label_counts(corpus: Corpus) -> np.ndarray:
    """Rows of each label: int64 (L,)."""
    return np.bincount(corpus.Y.indices, minlength=corpus.num_labels)
