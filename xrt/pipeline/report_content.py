"""What a report tells: the content of a run folder's report.json, with its examples.

Everything on the page and in the terminal is taken from here, so that it is the same as in the
files. A report of an earlier version, or of a model alone, has less; `missing` says what.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xrt.errors import ArtifactError, DataError
from xrt.storage.reading import read_json_bounded
from xrt.storage.stages import StageCost

REPORT, EXAMPLES, PAGE = "report.json", "examples.json", "report.html"
HELD_OUT, TEST = "held_out", "test"
MODEL = "model"
"""Folder of the model in a run folder."""
LOSS_POINTS = 100

_STAGE_TITLES = {
    "features": "TF-IDF of the texts",
    "choices": "settings tried on held-out rows",
    "path-weight": "weight of the path through the tree",
    "label-names": "names of the labels as rows",
    "matcher-features": "TF-IDF of words, for the matcher's tree",
    "matcher-tree": "label tree of the matcher",
    "matcher": "encoder fine-tuned, texts encoded",
    "verdict": "deep model against linear model",
    "linear-fusion": "sources fused and calibrated",
    "fusion": "sources fused and calibrated",
    "budget-plan": "plan of the budget",
    "row-groups": "rows that stay together",
    "block-weights": "lengths of TF-IDF and embedding beside each other",
    "frozen": "texts encoded without fine-tuning",
    "ranker-tree": "label trees of the hybrid rankers",
    "ranker": "hybrid rankers, on TF-IDF and embeddings",
    "linear": "rankers of the label trees",
    "tree": "label trees",
    "test rows": "predictions on the test file",
    "model": "model saved",
}
_TRIAL = ("fit-", "trial-")


@dataclass(frozen=True)
class RunReport:
    """What is known of a run, or of a model.

    Attributes:
        content: of report.json.
        examples: of examples.json; None where there are none.
        missing: what the report lacks, and how to get it, a sentence each.
    """

    content: Mapping[str, Any]
    examples: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = field(default=())

    @classmethod
    def of_run(cls, content: Mapping[str, Any], examples: Mapping[str, Any] | None) -> "RunReport":
        """The report of a run, which says itself what it lacks.

        Args:
            content: of report.json.
            examples: of examples.json; None where there are none.

        Returns:
            The report.
        """
        return cls(content, examples, tuple(_missing(cls(content, examples))))

    @property
    def about(self) -> Mapping[str, Any]:
        """What was trained."""
        about: Mapping[str, Any] = self.content.get("about") or {}
        return about

    @property
    def shipped(self) -> str:
        """Name of the model that ships: `linear` or `deep`."""
        verdict = self.content.get("verdict")
        if verdict:
            return "deep" if verdict["ships_deep"] else "linear"
        return str(
            self.about.get("shipped") or next(iter(self.content.get("models") or {}), "linear")
        )

    def rows(self, name: str) -> Mapping[str, Any] | None:
        """What single rows tell.

        Args:
            name: HELD_OUT or TEST.

        Returns:
            What `look_at_rows` gave; None where it is not known.
        """
        told: Mapping[str, Any] | None = (self.content.get("rows") or {}).get(name)
        return told

    @property
    def shown_rows(self) -> Mapping[str, Any] | None:
        """The rows whose mistakes are shown: those of the test file where there is one."""
        return self.rows(TEST) or self.rows(HELD_OUT)


def stage_lines(costs: Mapping[str, StageCost]) -> list[dict[str, Any]]:
    """What each stage took, for report.json.

    A stage's own seconds are those without the stages that it ran itself, where these have lines of
    their own.

    Args:
        costs: by name of the stage.

    Returns:
        A line each, in the order in which they were made.
    """
    lines = []
    for name, cost in costs.items():
        inner = sum(seconds for other, seconds in cost.nested.items() if other in costs)
        lines.append(
            {
                "stage": name, "seconds": cost.seconds,
                "own_seconds": round(max(0.0, cost.seconds - inner), 3),
                "peak_bytes": cost.peak_bytes,
            }
        )  # fmt: skip
    return lines


def stage_title(name: str) -> str:
    """What a stage does, for people.

    Args:
        name: of the stage.

    Returns:
        A few words; '' for a name that is not known.
    """
    inner = name
    for prefix in _TRIAL:
        inner = inner.removeprefix(prefix)
    title = _STAGE_TITLES.get(re.sub(r"-[0-9]+$", "", inner), "")
    return f"{title}, without the held-out rows" if title and inner != name else title


def learning_of(folder: Path) -> dict[str, Any] | None:
    """The matcher's losses and validations, from the stage in a run folder.

    Args:
        folder: the run folder.

    Returns:
        `losses`, for each level `steps` and means of the loss over the steps before, and
        `validations`; None where no encoder was trained here.
    """
    path = folder / "stages" / "matcher" / "losses.json"
    if not path.is_file():
        return None
    losses = [_thinned(level) for level in read_json_bounded(path)]
    return {
        "losses": losses,
        "validations": read_json_bounded(path.with_name("validations.json")),
    }


def _thinned(losses: list[float]) -> dict[str, list[float]]:
    """Means over LOSS_POINTS spans of the steps, or of each step where there are fewer."""
    number = min(LOSS_POINTS, len(losses))
    ends = [(i + 1) * len(losses) // number for i in range(number)]
    starts = [0, *ends[:-1]]
    means = [sum(losses[a:b]) / (b - a) for a, b in zip(starts, ends, strict=True)]
    return {"steps": [float(end) for end in ends], "loss": means}


def read_report(path: str | Path) -> tuple[RunReport, Path]:
    """The report of a run folder, or of a saved model.

    A model that lies in the folder of its run has the run's report.

    Args:
        path: the folder.

    Returns:
        The report, and where its page belongs.

    Raises:
        DataError: there is neither a run nor a model in the folder.
        ArtifactError: files in it are damaged.
    """
    folder = Path(path)
    if (folder / REPORT).is_file():
        return _of_run(folder), folder / PAGE
    if (folder / "manifest.json").is_file():
        run = folder.resolve().parent
        if folder.resolve().name == MODEL and (run / REPORT).is_file():
            report = _of_run(run)
            digest = report.about.get("digest")
            if digest is None or digest == _digest_of(folder):
                return report, run / PAGE
        return _of_model(folder), folder.parent / f"{folder.name}.{PAGE}"
    if (folder / "stages").is_dir():
        raise DataError(
            f"{folder}: this run has no {REPORT} yet; let the training end, or start it again: it "
            "goes on where it was"
        )
    what = "no such folder" if not folder.exists() else f"neither {REPORT} nor manifest.json"
    raise DataError(f"{folder}: {what}; give the folder of a run (runs/NAME) or of a model")


def _digest_of(folder: Path) -> str:
    from xrt.storage.artifact import open_artifact

    return open_artifact(folder, verify="sizes").digest


def _of_run(folder: Path) -> RunReport:
    content = read_json_bounded(folder / REPORT)
    if not isinstance(content, dict) or not isinstance(content.get("models"), dict):
        raise DataError(
            f"{folder / REPORT}: not the report of a training run; an audit has a page of its own "
            f"({folder / PAGE})"
        )
    examples = None
    if (folder / EXAMPLES).is_file():
        examples = read_json_bounded(folder / EXAMPLES)
        if not isinstance(examples, dict):
            raise ArtifactError(f"{folder / EXAMPLES}: damaged; delete it, or train again")
    if "learning" not in content and (learning := learning_of(folder)) is not None:
        content = {**content, "learning": learning}
    if "about" not in content and (folder / MODEL / "manifest.json").is_file():
        known = _of_model(folder / MODEL).content
        content = {**content, "about": known["about"], "settings": known["settings"]}
    return RunReport.of_run(content, examples)


def _of_model(folder: Path) -> RunReport:
    from xrt.storage.artifact import open_artifact

    artifact = open_artifact(folder, verify="sizes")
    manifest = artifact.manifest
    settings = manifest.get("configuration") or {}
    training = manifest.get("training") or {}
    verdict = folder / "verdict.json"
    choices = folder / "choices.json"
    dataset = settings.get("dataset") or {}
    kind = str(manifest.get("kind", ""))
    about = {
        "name": dataset.get("name") or folder.name,
        "shipped": "deep" if kind == "transformer" else "linear",
        "rows": training.get("num_rows"), "labels": training.get("num_labels"),
        "encoder": (settings.get("encoder") or {}).get("name"),
        "calibrated": manifest.get("calibrated", False),
        "thresholds": manifest.get("thresholds") or {},
        "digest": artifact.digest, "xrt": (manifest.get("versions") or {}).get("xrt"),
    }  # fmt: skip
    content = {
        "about": about,
        "models": {
            name: {"metrics": metrics} for name, metrics in (manifest.get("metrics") or {}).items()
        },
        "verdict": read_json_bounded(verdict) if verdict.is_file() else None,
        **({"choices": read_json_bounded(choices)} if choices.is_file() else {}),
        "settings": settings,
    }
    missing = (
        "Examples, the labels that are missed most, learning curves, time and memory: these lie in "
        f"the run folder, not in the model. Give the run folder, or a labelled file: "
        f"xrt report {folder} --test FILE.",
    )
    return RunReport(content, None, missing)


def _missing(report: RunReport) -> list[str]:
    """What a run's report lacks."""
    content = report.content
    found = []
    if not content.get("rows"):
        found.append(
            "Examples, the labels that are missed most, standard errors: this run was made by an "
            "earlier version. Train again with the same settings: stages that are finished are not "
            "run again."
        )
    elif report.rows(HELD_OUT) is None:
        found.append(
            "Single held-out rows: none could be held out, or the fusion of this run was made by "
            "an earlier version. In the second case delete the folders fusion and linear-fusion in "
            "its folder stages, and train again."
        )
    if content.get("rows") and report.examples is None:
        found.append(f"Examples: {EXAMPLES} is not in the run folder.")
    if not content.get("models"):
        found.append(
            "Figures on rows on which nothing was chosen: the run had no test file. Give one with "
            "dataset.tst=FILE, or look at one now: xrt report MODEL --test FILE."
        )
    if not content.get("stages"):
        found.append("Time and memory of the stages: this run was made by an earlier version.")
    return found
