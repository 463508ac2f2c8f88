"""report.html of an audit."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from xrt.applications.audit.suggestions.suggestion import ADD, REMOVE, SuggestedChange
from xrt.data.sources import plain_name
from xrt.report import Table, bar_chart, line_chart, write_report

SHOWN = 50


def write_page(
    path: Path, report: Mapping[str, Any], suggestions: Sequence[SuggestedChange]
) -> None:
    """Write the page: counts, the surest suggestions, and the further reports.

    Args:
        path: The file.
        report: What `report.json` holds.
        suggestions: All suggestions, the surest of each kind first.
    """
    tables = [_overview(report)]
    for kind, title in ((ADD, "Labels that may be missing"), (REMOVE, "Labels that may be wrong")):
        tables.append(_suggested(title, [s for s in suggestions if s.kind == kind]))
    tables.append(_rates(report["missing_rates"]))
    tables.append(_similar(report["similar_labels"]))
    tables += _conflicts(report["duplicate_rows"])
    if report.get("leakage"):
        tables.append(_leakage(report["leakage"]))
    if report.get("hierarchy"):
        tables.append(_hierarchy(report["hierarchy"]))
    if report.get("decisions"):
        tables.append(_decisions(report["decisions"]))
    write_report(path, "Label audit", tables, settings=report["settings"])


def _overview(report: Mapping[str, Any]) -> Table:
    corpus, labels, counts = report["corpus"], report["labels"], report["suggestions"]
    rows = [
        ["rows", corpus["rows"]],
        ["labels", corpus["labels"]],
        ["given labels of rows", corpus["pairs"]],
        ["suspected missing", counts["missing"]["found"]],
        ["suspected wrong", counts["wrong"]["found"]],
        ["given labels not judged, too rare elsewhere", report["not_judged"]["given"]],
        ["labels without name", labels["without_name"]],
        ["labels without rows", labels["unused"]["count"]],
        ["labels with one row", labels["of_one_row"]],
        ["names that several labels have", labels["same_name"]["count"]],
    ]
    note = " ".join([_about(corpus["file"]), *(f"Note: {note}." for note in corpus["notes"])])
    return Table(title="Overview", columns=["what", "count"], rows=rows, note=note)


def _about(file: str) -> str:
    """What was audited, when, and the command that comes next."""
    day = datetime.now(UTC).date().isoformat()
    return (
        f"Audit of {file or 'a corpus'} on {day}. Next: look through the suggestions, then make "
        f"the changes that you accept: xrt audit apply suggestions.jsonl --corpus "
        f"{file or 'FILE'} --out corrected{Path(plain_name(file)).suffix if file else '.jsonl'} "
        "--accept IDS (a file of ids, a least score, soft or all; name the same columns as here)."
    )


def _suggested(title: str, suggestions: Sequence[SuggestedChange]) -> Table:
    columns = ["row", "text", "label", "score", "probability", "neighbours", "words of the name"]
    rows = [
        [
            s.row, (s.text or "")[:120], s.name or s.label, s.sureness, s.probability,
            s.agreement, ", ".join(s.matched_terms),
        ]
        for s in suggestions[:SHOWN]
    ]  # fmt: skip
    scores = [s.sureness for s in suggestions]
    chart = ""
    if scores:
        ranks = np.arange(1, len(scores) + 1).tolist()
        chart = line_chart(f"{title}: score by rank", {"score": (ranks, scores)}, "rank", "score")
    note = f"The first {len(rows)} of {len(suggestions)} in suggestions.jsonl."
    return Table(title=title, columns=columns, rows=rows, note=note, chart=chart)


def _rates(rates: Sequence[Mapping[str, Any]]) -> Table:
    columns = list(rates[0]) if rates else ["rows_of_label"]
    measured = [rate for rate in rates if rate["measured_propensity"] is not None]
    chart = bar_chart(
        "Chance that a true label was given",
        [rate["rows_of_label"] for rate in measured],
        {
            "measured": [rate["measured_propensity"] for rate in measured],
            "formula of Jain et al.": [rate["jain_propensity"] for rate in measured],
        },
        x_label="rows of the label",
    )
    return Table(
        title="Missing labels by frequency",
        columns=[column.replace("_", " ") for column in columns],
        rows=[list(rate.values()) for rate in rates],
        note="Measured: of pairs that reach their label's threshold, the share that is given.",
        chart=chart,
    )


def _similar(pairs: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [
            pair["names"][0] or pair["labels"][0], pair["names"][1] or pair["labels"][1],
            *pair["rows"], pair["name_similarity"], pair["shared_rows"],
            *pair["cross_prediction"],
        ]
        for pair in pairs[:SHOWN]
    ]  # fmt: skip
    columns = [
        "label", "other label", "rows", "rows of other", "names alike", "rows shared",
        "predicts other", "predicted by other",
    ]  # fmt: skip
    return Table(title="Labels that are alike", columns=columns, rows=rows)


def _conflicts(duplicates: Mapping[str, Any]) -> list[Table]:
    tables = []
    for name in ("exact", "near"):
        part = duplicates[name]
        rows = [
            [*e["rows"], e["text"], ", ".join(e["only_first"]), ", ".join(e["only_second"])]
            for e in part["examples"][:SHOWN]
        ]
        note = (
            f"{part['pairs']} pairs, {part['with_other_labels']} with other labels, "
            f"{part['without_common_label']} without a label in common."
        )
        columns = ["row", "other row", "text", "only first", "only second"]
        title = f"{name.capitalize()} duplicates with other labels"
        tables.append(Table(title=title, columns=columns, rows=rows, note=note))
    return tables


def _leakage(leakage: Mapping[str, Any]) -> Table:
    rows = [[e["test_row"], e["row"], e["exact"], e["text"]] for e in leakage["examples"][:SHOWN]]
    note = (
        f"Of {leakage['test_rows']} test rows {leakage['exact']} stand in the corpus, "
        f"{leakage['near']} nearly."
    )
    return Table(
        title="Test rows in the corpus", columns=["test row", "row", "exact", "text"], rows=rows,
        note=note,
    )  # fmt: skip


def _hierarchy(hierarchy: Mapping[str, Any]) -> Table:
    rows = [
        [name.replace("_", " "), value["count"] if isinstance(value, Mapping) else value]
        for name, value in hierarchy.items()
    ]
    return Table(title="Taxonomy", columns=["what", "count"], rows=rows)


def _decisions(decisions: Mapping[str, Any]) -> Table:
    rows = [
        [kind, part["decisions"], part["accepted"], *(_weight(part, name) for name in _WEIGHTS)]
        for kind, part in decisions.items()
    ]
    columns = ["kind", "decisions", "accepted", *(f"weight: {name}" for name in _WEIGHTS)]
    return Table(title="Trust, learnt from decisions", columns=columns, rows=rows)


_WEIGHTS = ("score", "agreement", "name_in_text")


def _weight(part: Mapping[str, Any], name: str) -> float | None:
    return part["weights"][name] if part["learnt"] else None
