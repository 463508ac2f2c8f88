"""The sentences of a report, the same on the page and in the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from xrt.metrics.standard_errors import SHOWN
from xrt.pipeline.report_content import HELD_OUT, TEST, RunReport
from xrt.report.text import counted, duration, percent, size

MEANINGS = {
    "P@1": "how often the first suggestion is right",
    "R@10": "true labels that are among the first ten suggestions",
    "PSP@5": "right suggestions among the first five, rare labels counting more",
}
"""What each of SHOWN means."""
_GUARDED = ("PSP@5", "macro-F1@5")
"""Figures that the verdict does not look at."""
LINEAR, DEEP = MODELS = ("linear", "deep")
"""The models of a run, as its report names them."""


def title_of(report: RunReport) -> str:
    """What was trained on what.

    Args:
        report: the report.

    Returns:
        The data, with the name of the run folder where that is another.
    """
    data, run = str(report.about.get("name") or "run"), str(report.about.get("run") or "")
    return data if run in ("", data) else f"{data}, run {run}"


def headline(report: RunReport) -> str:
    """Which model ships.

    Args:
        report: the report.

    Returns:
        A short sentence.
    """
    return f"The {report.shipped} model ships."


def reason(report: RunReport) -> str:
    """Why that model ships.

    Args:
        report: the report.

    Returns:
        One to three sentences; '' where nothing was compared.
    """
    verdict = report.content.get("verdict")
    if verdict:
        return _reason_of_verdict(verdict)
    plan = ((report.content.get("budget") or {}).get("plan") or {}).get("message")
    if plan:
        return f"No encoder was trained: {plan}."
    choices = report.content.get("choices") or {}
    chosen = f" Its settings were chosen on held-out rows: {choices['message']}." if choices else ""
    return (
        f"No encoder was trained (encoder=none), so there was nothing to compare it with.{chosen}"
    )


def _reason_of_verdict(verdict: Mapping[str, Any]) -> str:
    held_out = verdict["held_out"]
    linear, deep = ((held_out[name]["P@1"] + held_out[name]["nDCG@10"]) / 2 for name in MODELS)
    rows = counted(held_out["num_rows"], "held-out row")
    told = (
        f"On {rows} the deep model scores {100 * deep:.2f} % and the linear one "
        f"{100 * linear:.2f} % (mean of P@1 and nDCG@10)."
    )
    gain, error = verdict["gain"], verdict["standard_error"]
    if error is None:
        told += " One row tells nothing about a difference."
    elif gain >= error > 0:
        told += (
            f" The difference of {100 * gain:+.2f} is {gain / error:.1f} times its standard error."
        )
    else:
        told += (
            f" The difference of {100 * gain:+.2f} has a standard error of {100 * error:.2f}: the "
            "deep model must be ahead by at least one."
        )
    if verdict["ships_deep"] and not verdict["deep_wins"]:
        told += " The deep model does not win; it ships since always_deep is set."
    lower = [
        f"{name} ({percent(held_out[DEEP][name])} against {percent(held_out[LINEAR][name])})"
        for name in _GUARDED
        if round(held_out[DEEP][name], 4) < round(held_out[LINEAR][name], 4)
    ]
    if lower and verdict["ships_deep"]:
        told += f" The deep model is lower in {' and '.join(lower)}."
    return told


def facts(report: RunReport) -> list[tuple[str, str]]:
    """The run in a few numbers.

    Args:
        report: the report.

    Returns:
        Names with values; what is not known is left out.
    """
    about, content = report.about, report.content
    told: list[tuple[str, str]] = []
    for name, key in (("training rows", "rows"), ("labels", "labels")):
        if isinstance(about.get(key), int):
            told.append((name, f"{about[key]:,}"))
    for key, name in ((HELD_OUT, "held-out rows"), (TEST, "test rows")):
        number = _num_rows(report, key)
        if number:
            told.append((name, f"{number:,}"))
    if about.get("encoder"):
        told.append(("encoder", str(about["encoder"])))
    stages = content.get("stages") or []
    if stages:
        told.append(("time of all stages", duration(sum(line["own_seconds"] for line in stages))))
        peaks = [line["peak_bytes"] for line in stages if line["peak_bytes"]]
        if peaks:
            told.append(("highest memory", size(max(peaks))))
    if about.get("model_bytes"):
        told.append(("size of the model", size(about["model_bytes"])))
    return told


def _num_rows(report: RunReport, key: str) -> int | None:
    told = report.rows(key)
    if told is not None:
        return int(told["num_rows"])
    if key == HELD_OUT:
        verdict = report.content.get("verdict")
        return int(verdict["held_out"]["num_rows"]) if verdict else None
    sizes = [model.get("num_instances") for model in report.content["models"].values()]
    return sizes[0] if sizes else None


def figures(report: RunReport, key: str) -> dict[str, dict[str, tuple[float, float | None]]]:
    """SHOWN of each model on some rows, with standard errors where they are known.

    Args:
        report: the report.
        key: HELD_OUT or TEST.

    Returns:
        By model, the one that ships first: value and standard error by figure; empty where nothing
        is known.
    """
    told = report.rows(key)
    known: dict[str, dict[str, tuple[float, float | None]]] = {}
    if told is not None:
        for model, each in told["figures"].items():
            known[model] = {name: (at["value"], at["error"]) for name, at in each.items()}
    elif key == HELD_OUT and report.content.get("verdict"):
        held_out = report.content["verdict"]["held_out"]
        for model in MODELS:
            known[model] = {name: (held_out[model][name], None) for name in SHOWN}
    elif key == TEST:
        for model, each in report.content["models"].items():
            values: dict[str, tuple[float, float | None]] = {
                name: (each["metrics"][name], None) for name in SHOWN if name in each["metrics"]
            }
            if values and model in MODELS:
                known[model] = values
    return dict(sorted(known.items(), key=lambda item: item[0] != report.shipped))


def right_and_wrong(examples: Mapping[str, Any]) -> str:
    """How many rows are right.

    Args:
        examples: of a report.

    Returns:
        A sentence or two.
    """
    judged = examples["num_rows"] - examples["num_without_labels"]
    told = (
        f"Of {judged:,} {examples['rows']} the first suggestion is right in "
        f"{examples['num_first_right']:,}, and in {examples['num_right']:,} all true labels come "
        "before any wrong one."
    )
    if examples["num_without_labels"]:
        without = counted(examples["num_without_labels"], "further row")
        told += f" {without} without a true label."
    return told


def missed_where(told: Mapping[str, Any]) -> str:
    """On which rows labels were missed, and how many labels cannot be there.

    Args:
        told: of `look_at_rows`.

    Returns:
        A sentence or two.
    """
    never = told["never_seen"]
    where = f"On {told['num_rows']:,} {told['rows']}."
    if not never["labels"]:
        return where
    return (
        f"{where} Not among them: {counted(never['labels'], 'label')} that training never saw, "
        f"which can only be missed ({counted(never['pairs'], 'time')})."
    )


def trust(report: RunReport) -> str:
    """Whether scores are probabilities.

    Args:
        report: the report.

    Returns:
        A sentence; '' where nothing is known.
    """
    told = report.shown_rows
    measured = (told or {}).get("reliability")
    if told is not None and measured:
        return (
            "Scores are probabilities, fitted on held-out rows. Of the first five suggestions of "
            f"{counted(told['num_rows'], 'row')} they differ by "
            f"{percent(expected_error(measured))} from the share that is true, on average (ECE@5)."
        )
    if report.about and not report.about.get("calibrated"):
        return (
            "Scores are not probabilities: there were too few held-out rows to fit them. They rank."
        )
    return ""


def expected_error(reliability: Mapping[str, Any]) -> float:
    """Mean difference of score and share that is true, over suggestions.

    Args:
        reliability: bins, as `asdict` of `Reliability` gives them.

    Returns:
        A share of 1.
    """
    bins = zip(
        reliability["num_predicted"], reliability["mean_score"], reliability["precision"],
        strict=True,
    )  # fmt: skip
    gap = sum(number * abs(share - score) for number, score, share in bins)
    return float(gap / (sum(reliability["num_predicted"]) or 1))


def label_text(label: Mapping[str, Any]) -> str:
    """A label for people.

    Args:
        label: its `label` and, where there is one, its `name`.

    Returns:
        The name, or the id where there is none.
    """
    return str(label.get("name") or label["label"])


def stage_cells(report: RunReport) -> Iterator[tuple[str, float, int | None]]:
    """Time and memory of each stage.

    Args:
        report: the report.

    Yields:
        Name of the stage, its own seconds, and its highest memory, None where that is not known.
    """
    for line in report.content.get("stages") or []:
        yield str(line["stage"]), float(line["own_seconds"]), line["peak_bytes"]
