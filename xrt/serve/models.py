"""Models that are served: opened, tried, described."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xrt.applications import owner_of
from xrt.applications.application import RowFiller
from xrt.data.labels import LabelTable
from xrt.errors import ConfigError
from xrt.evaluate import reading_of
from xrt.predict import Predictor

MOST_LABELS_TO_INDEX = 200_000
"""Labels whose ids are put into a dictionary before the first request asks for them."""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model under its name. `version` is the digest of its manifest; `filler` fills attributes,
    and is None for a model of labels.
    """

    name: str
    version: str
    predictor: Predictor
    filler: RowFiller | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> LabelTable:
        """The labels of the model."""
        return self.predictor.model.labels

    def warm_up(self) -> None:
        """Predict once in each way, so that no request waits for a kernel to be compiled."""
        self.predictor.predict("warm up")
        self.predictor.predict(["warm up", "and again"])
        self.predictor.explain("warm up", 1)
        if len(self.labels) <= MOST_LABELS_TO_INDEX:
            first = [self.labels.ids[0]]
            self.predictor.predict(["warm up"], 1, allowed=first)
            self.predictor.score(["warm up"], first)
        if self.filler is not None:
            self.filler.fill([{self.filler.fields[0]: "warm up"}])


def load_model(
    name: str, folder: Path, num_threads: int | None = None, compute: str = "auto"
) -> ServedModel:
    """Open a model; nothing is predicted yet.

    Args:
        name: Its name in addresses.
        folder: Its folder.
        num_threads: Threads that predict; None for the default.
        compute: How its encoder computes, as in `Predictor.load`.

    Returns:
        The model.

    Raises:
        ArtifactError: The folder is missing, damaged, or of another format version.
        ConfigError: The model takes rows of features instead of texts.
    """
    owner = owner_of(str(folder))
    filler = None if owner is None else owner.open_filler(folder, num_threads, compute)
    if filler is None:
        predictor = Predictor.load(folder, num_threads=num_threads, compute=compute)
    else:
        predictor = filler.predictor
    if predictor.model.features is None:
        raise ConfigError(
            f"{folder}: a model of rows of features, not of texts; the server takes texts: train "
            "one on texts"
        )
    assert predictor.artifact is not None
    version = predictor.artifact.digest
    return ServedModel(name, version, predictor, filler, _describe(name, predictor, filler))


def _describe(name: str, predictor: Predictor, filler: RowFiller | None) -> dict[str, Any]:
    """What `/v1/models` tells of a model."""
    model, artifact = predictor.model, predictor.artifact
    assert artifact is not None
    calibration = model.calibration
    of_attributes: dict[str, Sequence[str]] = {}
    if filler is not None:
        of_attributes = {"fields": list(filler.fields), "attributes": list(filler.attributes)}
    return {
        "name": name,
        "version": artifact.digest,
        "kind": "labels" if filler is None else "attributes",
        "labels": len(model.labels),
        "texts": True,
        "calibrated": calibration is not None,
        "thresholds": {} if calibration is None else dict(calibration.thresholds),
        "metrics": artifact.manifest["metrics"],
        "reading": reading_of(artifact.manifest),
        **of_attributes,
    }
