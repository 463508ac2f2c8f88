"""Writes the model of a run: its parts, its card, its manifest."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from xrt.data.corpus import Corpus
from xrt.encoder.params import EncoderParams
from xrt.fusion.candidate_recall import CandidateRecall
from xrt.metrics.comparison import Comparison
from xrt.metrics.report import RankingReport
from xrt.model import XrtModel
from xrt.model_card import ModelCard, render_model_card
from xrt.pipeline.choosing.choices import Choices
from xrt.pipeline.hooks import ApplicationReport, TrainingHooks
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.verdict import Verdict
from xrt.storage.artifact import Artifact, library_versions, write_artifact
from xrt.storage.atomic import write_json, write_text
from xrt.storage.hashing import plain


def save_model(
    model: XrtModel,
    folder: Path,
    trn: Corpus,
    reports: Mapping[str, RankingReport],
    params: PipelineParams,
    verdict: Verdict | None,
    tested: Comparison | None,
    hooks: TrainingHooks | None,
    application: ApplicationReport,
    choices: Choices | None = None,
    recalls: Mapping[str, CandidateRecall] | None = None,
) -> Artifact:
    """Write the model that ships, with its card and the manifest, whole or not at all.

    Args:
        model: the model that ships.
        folder: folder of the model.
        trn: the training corpus.
        reports: figures of each model on the test file, by the model's name.
        params: settings of the run.
        verdict: what the encoder added; None without one.
        tested: the same on the test file; None without one.
        hooks: hooks of an application; None without one.
        application: what the application reports.
        choices: the settings that were chosen; None where nothing was open to choice.
        recalls: recall of the true labels among the candidates, by a description of the rows.

    Returns:
        The model's folder with its manifest.
    """
    metrics = {name: report.to_dict()["metrics"] for name, report in reports.items()}
    training = {
        "num_rows": trn.num_instances,
        "num_labels": trn.num_labels,
    }

    card = replace(_card(model, trn, metrics, params), judged=application.text)
    metrics.update({name: dict(each) for name, each in application.metrics.items()})
    if verdict is not None:
        card = replace(card, verdict=verdict.message, added=verdict.added_on(tested))

    if recalls:
        card = replace(
            card,
            recalls={rows: (each.recall, each.per_row) for rows, each in recalls.items()},
        )
    tried = choices is not None and bool(choices.tried)
    if choices is not None and tried:
        card = replace(card, choices=(choices.message, *choices.as_words()))

    def write(target: Path) -> None:
        model.save(target)
        write_text(target / "README.md", render_model_card(card))
        if verdict is not None:
            write_json(target / "verdict.json", verdict.to_dict())
        if choices is not None and tried:
            write_json(target / "choices.json", choices.without_seconds().to_dict())
        if hooks is not None:
            hooks.write(target)

    configuration = {} if hooks is None else hooks.configuration()
    manifest = {
        "kind": model.kind,
        "metrics": metrics,
        "configuration": {**plain(_portable(params)), **configuration},
        "training": training,
        "tree": model.trees.describe(),
        **model.about_scores(),
        **({} if verdict is None else {"verdict": verdict.summary()}),
    }
    return write_artifact(folder, write, manifest)


def _portable(params: PipelineParams) -> dict[str, Any]:
    """The settings with file names instead of paths: a model should not tell where it was made."""
    dataset = params.dataset
    names = {
        field: None if path is None else Path(path).name
        for field, path in (
            ("trn", dataset.trn), ("tst", dataset.tst), ("labels", dataset.labels),
            ("filters", dataset.filters),
        )
    }  # fmt: skip
    settings = asdict(replace(params, dataset=replace(dataset, **names)))  # type: ignore[arg-type]
    tree = settings["tree"]
    tree["paths"] = None if tree["paths"] is None else Path(tree["paths"]).name
    if params.encoder is not None:
        settings["encoder"]["name"] = _encoder_name(params.encoder)
    return settings


def _encoder_name(encoder: EncoderParams) -> str:
    """The encoder's name; of a local folder its last part only."""
    return Path(encoder.name).name if Path(encoder.name).is_dir() else encoder.name


def _card(
    model: XrtModel,
    trn: Corpus,
    metrics: Mapping[str, Mapping[str, float]],
    params: PipelineParams,
) -> ModelCard:
    tree = model.trees.tree
    return ModelCard(
        name=params.dataset.name,
        kind=model.kind,
        data=params.dataset.name,
        num_instances=trn.num_instances,
        num_labels=trn.num_labels,
        num_features=model.num_features,
        tree_shape=tuple(tree.num_nodes(t) for t in range(tree.depth)),
        num_trees=len(model.trees.trees),
        metrics=metrics,
        evaluated_on="the test file, on which nothing was chosen",
        versions=library_versions(),
        date="",
        calibrated=model.calibration is not None,
        thresholds=model.about_scores()["thresholds"],
        encoder=(
            None
            if params.encoder is None or model.encoder is None
            else _encoder_name(params.encoder)
        ),
    )
