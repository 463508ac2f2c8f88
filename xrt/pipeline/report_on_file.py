"""The report of a saved model on a labelled file, for a model whose run is not at hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xrt.evaluate import KS, evaluate_scores, score_file, strike, tuned_threshold
from xrt.pipeline.looking_at_rows import LookedAtRows, look_at_rows
from xrt.pipeline.report_content import TEST, RunReport
from xrt.progress import Progress
from xrt.storage.hashing import plain


def report_on_file(
    report: RunReport,
    model_folder: str | Path,
    file: str | Path,
    progress: Progress | None = None,
    reading: Mapping[str, Any] | None = None,
) -> RunReport:
    """A report with the figures, the missed labels and the examples of other test rows.

    Args:
        report: of the run, or of the model.
        model_folder: the model.
        file: a labelled file.
        progress: told of the rows done.
        reading: arguments of `read_corpus` that are to differ from those of training.

    Returns:
        The report; figures of the model that did not ship, which are of the run's own test file,
        are not in it.

    Raises:
        ArtifactError: the model is damaged.
        DataError: the file cannot be used.
    """
    scored = score_file(model_folder, file, max(KS), progress, reading)
    model, corpus = scored.model, scored.corpus
    training = scored.train_counts_L, scored.num_train, scored.propensity
    judged = evaluate_scores(scored.scores_NL, corpus, *training, threshold=tuned_threshold(model))
    scores = {report.shipped: strike(scored.scores_NL, corpus.filters)}
    looked = LookedAtRows("test rows", corpus, scores)
    told, examples = look_at_rows(looked, report.shipped, *training, model.calibration is not None)
    content = {
        **report.content,
        "models": {report.shipped: plain(judged.to_dict())},
        "tested": None,
        "rows": {**(report.content.get("rows") or {}), TEST: plain(told)},
    }
    still_missing = tuple(line for line in report.missing if not line.startswith(("Ex", "Fig")))
    return RunReport(content, plain(examples), still_missing)
