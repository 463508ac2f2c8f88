"""An audit from a corpus to its folder of suggestions and reports."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.evidence.duplicate_rows import conflicting_rows, leakage
from xrt.applications.audit.evidence.evidence_stages import (
    AuditedRows,
    make_rows,
    score_rows,
    similar_rows,
)
from xrt.applications.audit.evidence.hierarchy import (
    hierarchy_report,
    paths_of_labels,
    unknown_labels,
)
from xrt.applications.audit.evidence.missing_rate import missing_rates
from xrt.applications.audit.evidence.similar_labels import similar_labels
from xrt.applications.audit.html_report import write_page
from xrt.applications.audit.suggestions.suggestion import (
    SuggestedChange,
    corpus_key,
    write_parquet,
    write_suggestions,
)
from xrt.applications.audit.suggestions.suspects import (
    AssessedPairs,
    assess_pairs,
    describe,
    suspected_missing,
    suspected_wrong,
)
from xrt.applications.audit.suggestions.trust import read_decisions, with_trust
from xrt.data.corpus import Corpus
from xrt.data.label_paths import read_label_paths
from xrt.progress import Progress
from xrt.sources.votes import Neighbours
from xrt.sparse import as_csr, binarize
from xrt.storage.atomic import write_json

logger = logging.getLogger(__name__)

SUGGESTIONS = "suggestions.jsonl"


def audit(
    corpus: Corpus,
    folder: str | Path,
    params: AuditParams | None = None,
    *,
    test: Corpus | None = None,
    paths: str | None = None,
    decisions: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Look for wrong and missing labels; write suggestions and reports into the folder.

    Long steps are stages of the folder and not repeated.

    Args:
        corpus: The corpus to audit.
        folder: Folder of the stages, the suggestions and the reports.
        params: Settings of the audit; None for the defaults.
        test: Test rows that are looked for in the corpus.
        paths: File with a taxonomy.
        decisions: File of what people decided about earlier suggestions.
        progress: Shows the long steps; None shows nothing.

    Returns:
        What `report.json` holds.

    Raises:
        DataError: The corpus, or one of the files, cannot be used.
        ConfigError: A setting is out of range.
    """
    params, folder = params or AuditParams(), Path(folder)
    corpus.require_trainable()
    label_paths = None if paths is None else read_label_paths(paths, corpus.labels)
    decisions_by_id = None if decisions is None else read_decisions(decisions)
    rows = make_rows(folder, corpus, progress)
    scores, fold_N = score_rows(folder, corpus, rows, params, progress)
    neighbours = similar_rows(folder, rows, params, progress)
    Y_NL = binarize(as_csr(corpus.Y, "Y"))
    assessed = assess_pairs(
        scores, rows.X_NF, Y_NL, rows.names_LF, neighbours, fold_N, params, progress
    )
    suggestions, counts = _suggestions(corpus, rows, neighbours, assessed, params)
    not_judged = _not_judged(assessed, params)
    about = _about(corpus, not_judged["given"], params.min_label_rows)
    report: dict[str, Any] = {"corpus": about, "settings": asdict(params)}
    report["suggestions"], report["not_judged"] = counts, not_judged
    if decisions_by_id is not None:
        suggestions, report["decisions"] = with_trust(suggestions, decisions_by_id)
    counts_L = np.bincount(Y_NL.indices, minlength=corpus.num_labels)
    report["missing_rates"] = missing_rates(assessed, counts_L, corpus.num_instances, params)
    report["similar_labels"] = similar_labels(corpus, assessed, params)
    report["duplicate_rows"] = conflicting_rows(
        corpus, rows.group_N, neighbours, params.near_duplicate
    )
    report["labels"] = _about_labels(corpus, counts_L)
    if test is not None:
        report["leakage"] = leakage(corpus, test, rows, params, progress)
    report["hierarchy"] = _hierarchy_findings(corpus, label_paths, paths)
    write_suggestions(folder / SUGGESTIONS, suggestions)
    write_parquet(folder / "suggestions.parquet", suggestions)
    write_json(folder / "report.json", report)
    write_page(folder / "report.html", report, suggestions)
    return report


def _suggestions(
    corpus: Corpus,
    rows: AuditedRows,
    neighbours: Neighbours,
    assessed: AssessedPairs,
    params: AuditParams,
) -> tuple[list[SuggestedChange], dict[str, Any]]:
    """Suggestions of both kinds; counts of suspects and of suggestions written, by kind."""
    key = corpus_key(corpus)
    suggestions: list[SuggestedChange] = []
    counts: dict[str, Any] = {}
    for suspects in (suspected_missing(assessed, params), suspected_wrong(assessed, params)):
        suggestions += describe(suspects, assessed, corpus, rows, neighbours, key)
        counts[suspects.kind] = {
            "found": suspects.num_suspected, "written": len(suspects.places_S),
        }  # fmt: skip
    return suggestions, counts


def _not_judged(assessed: AssessedPairs, params: AuditParams) -> dict[str, int]:
    """Pairs of labels that the judging model has seen too rarely: given ones, and likely ones."""
    rare_P = ~assessed.enough_rows(params.min_label_rows)
    given_P = assessed.pairs.given_P
    return {"given": int((rare_P & given_P).sum()), "likely": int((rare_P & ~given_P).sum())}


def _about(corpus: Corpus, num_not_judged: int, min_label_rows: int) -> dict[str, Any]:
    notes = []
    if corpus.texts is None:
        notes.append("rows of features: there is no evidence from the words of labels")
    elif not corpus.labels.num_named:
        notes.append("no label has a name: there is no evidence from the words of labels")
    without = int((np.diff(corpus.Y.indptr) == 0).sum())
    if without:
        notes.append(f"{without} rows have no label: they can only get suggestions to add")
    if num_not_judged:
        times = "no other row" if min_label_rows == 1 else f"fewer than {min_label_rows} other rows"
        notes.append(
            f"{num_not_judged} given labels stand in {times} that the judging model has seen: they "
            "are not judged"
        )
    for note in notes:
        logger.warning("%s", note)
    return {
        "file": Path(corpus.report.path).name, "key": corpus_key(corpus),
        "rows": corpus.num_instances, "labels": corpus.num_labels, "pairs": int(corpus.Y.nnz),
        "notes": notes,
    }  # fmt: skip


def _about_labels(corpus: Corpus, counts_L: np.ndarray) -> dict[str, Any]:
    """Labels without name, without rows, and names that several labels have."""
    ids, names = corpus.labels.ids, corpus.labels.names
    by_name: dict[str, list[str]] = {}
    for label, name in zip(ids, names, strict=True):
        if name:
            by_name.setdefault(name.casefold().strip(), []).append(label)
    twice = {name: labels for name, labels in by_name.items() if len(labels) > 1}
    return {
        "without_name": sum(not name for name in names),
        "unused": _with_examples([ids[i] for i in np.flatnonzero(counts_L == 0)]),
        "of_one_row": int((counts_L == 1).sum()),
        "same_name": {"count": len(twice), "examples": dict(list(twice.items())[:100])},
    }


def _hierarchy_findings(
    corpus: Corpus, ancestors: Sequence[tuple[str, ...]] | None, path: str | None
) -> dict[str, Any] | None:
    """What is odd by the taxonomy; None where the corpus has none."""
    ancestors_of = list(ancestors) if ancestors is not None else paths_of_labels(corpus)
    if ancestors_of is None:
        return None
    report = hierarchy_report(corpus, ancestors_of)
    if path is not None:
        unknown = unknown_labels(corpus, path)
        if unknown:
            logger.warning("%s: the corpus lacks %d of its labels", path, len(unknown))
        report["unknown_labels"] = _with_examples(unknown)
        report["labels_without_path"] = sum(not each for each in ancestors_of)
    return report


def _with_examples(labels: list[str]) -> dict[str, Any]:
    return {"count": len(labels), "examples": labels[:100]}
