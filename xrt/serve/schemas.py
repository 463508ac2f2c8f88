"""Bodies of requests and answers, as the documentation of the server shows them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from xrt.inputs import without_surrogates

MOST_TEXTS = 256
MOST_EXPLAINED = 8
MOST_LABELS = 1000


def _repaired(value: Any) -> Any:
    return without_surrogates(value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_repaired)]
"""A string; halves of surrogate pairs become U+FFFD, as on the command line."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
MinScore = Finite | Literal["micro-F1", "macro-F1"]
Cell = Text | bool | int | Finite | None
Count = Annotated[int, Field(ge=1, le=MOST_LABELS)]


class Body(BaseModel):
    """Base of bodies of requests: types are not converted, and unknown keys are refused."""

    model_config = ConfigDict(strict=True, extra="forbid")


class PredictRequest(Body):
    """Texts, and which labels are wanted."""

    texts: Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]
    k: Count = Field(5, description="Labels of a text, at most.")
    min_score: MinScore = Field(
        0.0,
        description="Labels that score below it are left out; or the name of a threshold that was "
        "tuned in training.",
    )
    allowed: list[str] | None = Field(None, description="Ids: no other label is suggested.")
    forbidden: list[str] | None = Field(None, description="Ids that are never suggested.")
    tail: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, description="Above 0: rare labels rank higher."
    )
    explain: bool = Field(False, description=f"Why; for at most {MOST_EXPLAINED} texts.")

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"texts": ["usb-c charger 65w"], "k": 3}]}
    )


class ScoreRequest(Body):
    """Texts, and the labels whose scores are wanted."""

    texts: Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]
    labels: Annotated[list[str], Field(min_length=1, max_length=MOST_LABELS)]

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"texts": ["usb-c charger 65w"], "labels": ["4711"]}]}
    )


class ExplainRequest(Body):
    """A text, and which of its labels are to be explained."""

    text: Text
    k: Annotated[int, Field(ge=1, le=50)] = Field(5, description="The best labels, so many.")
    labels: Annotated[list[str], Field(min_length=1, max_length=50)] | None = Field(
        None, description="Ids to explain instead, suggested or not."
    )

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "usb-c charger 65w"}]})


class FillRequest(Body):
    """Rows of a catalogue, each an object from column to cell."""

    items: Annotated[list[dict[str, Cell]], Field(min_length=1, max_length=MOST_TEXTS)]

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [{"title": "tavola stoneware bowl 24 cm"}]}]}
    )


class ReloadRequest(Body):
    """Which model is to be loaded anew."""

    name: str | None = Field(None, description="A model; without it, all.")


class SuggestedLabel(BaseModel):
    """A label; `score` is a probability where the model is calibrated."""

    label: str
    name: str
    score: float


class TextResult(BaseModel):
    """The suggestions for a text, best first."""

    suggestions: list[SuggestedLabel]
    explanation: dict[str, Any] | None = Field(None, description="Only where asked for.")


class PredictResponse(BaseModel):
    """Suggestions, a list for each text, in the order of the request."""

    model: str
    version: str
    results: list[TextResult]


class ScoreResponse(BaseModel):
    """For each text the score of each label."""

    model: str
    version: str
    scores: list[list[float]]


class ExplainResponse(BaseModel):
    """Why a text gets its labels."""

    model: str
    version: str
    explanation: dict[str, Any]


class FilledValue(BaseModel):
    """A value of an attribute, null for none, and its probability."""

    value: str | None
    score: float


class FillResponse(BaseModel):
    """For each item the value of each attribute."""

    model: str
    version: str
    results: list[dict[str, FilledValue]]


class ModelInfo(BaseModel):
    """A model. `version` is the hash of its manifest, `labels` their number, `reading` how its
    training file was read: format and columns, where they were named.
    """

    name: str
    version: str
    kind: Literal["labels", "attributes"]
    labels: int
    texts: bool
    calibrated: bool
    thresholds: dict[str, float]
    metrics: dict[str, Any]
    reading: dict[str, Any]
    fields: list[str] | None = None
    attributes: list[str] | None = None


class ModelList(BaseModel):
    """All models that are served."""

    models: list[ModelInfo]


class ModelVersion(BaseModel):
    """A model and its version."""

    name: str
    version: str


class ReloadResponse(BaseModel):
    """The models that were loaded."""

    models: list[ModelVersion]


class HealthResponse(BaseModel):
    """How the server is."""

    status: str
