"""The shape of Annif's API, so that whoever speaks to Annif can speak to xrt.

A model is a project, its label ids are URIs. What is called as in Annif means the same.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from xrt.predict import Suggestion
from xrt.serve.answers import headers_of, json_response
from xrt.serve.bodies import require_form, require_json
from xrt.serve.models import ServedModel
from xrt.serve.problems import Problem, problems
from xrt.serve.routes.models import WORK_PROBLEMS, labels_model
from xrt.serve.schemas import MOST_LABELS, Body, Text
from xrt.serve.state import ServerState, note, server_of
from xrt.serve.tasks import PredictTask
from xrt.storage.artifact import MANIFEST

router = APIRouter(tags=["Annif's shape"])
MOST_DOCUMENTS = 32
ProjectId = Annotated[str, Path(description="The name of a model.", examples=["products"])]
Limit = Annotated[int, Field(ge=0, le=MOST_LABELS, description="Subjects of a text, at most.")]
Threshold = Annotated[
    float, Field(ge=0, le=1, allow_inf_nan=False, description="Lower scores are left out.")
]


class Backend(BaseModel):
    """What makes the suggestions."""

    backend_id: str


class Project(BaseModel):
    """A model, as Annif describes projects."""

    project_id: str
    name: str
    language: str
    backend: Backend
    vocab: dict[str, Any] | None
    vocab_language: str | None
    is_trained: bool
    modification_time: datetime


class ProjectList(BaseModel):
    """All models that suggest labels."""

    projects: list[Project]


class Subject(BaseModel):
    """A suggested label."""

    uri: str
    label: str
    notation: str | None
    score: float


class SubjectList(BaseModel):
    """Suggestions, best first."""

    results: list[Subject]


class DocumentResult(SubjectList):
    """The suggestions for one document of several."""

    document_id: str | None


class Document(Body):
    """A text."""

    text: Text
    document_id: Text | None = None
    metadata: dict[str, Any] | None = None


class Documents(Body):
    """Texts, at most 32."""

    documents: Annotated[list[Document], Field(max_length=MOST_DOCUMENTS)]

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"documents": [{"text": "a text", "document_id": "1"}]}]}
    )


class SuggestForm(BaseModel):
    """A text. Further fields, such as Annif's `metadata_title`, are taken and not used."""

    text: Text = ""  # an empty field is a missing one to FastAPI; the route tells them apart
    limit: Limit = 10
    threshold: Threshold = 0.0

    model_config = ConfigDict(
        json_schema_extra={"required": ["text"], "examples": [{"text": "a text", "limit": 5}]}
    )


@router.get("/v1/projects", responses={200: {"model": ProjectList}, **problems(401, 503)})
async def list_projects(request: Request) -> Response:
    """The models that suggest labels, as projects."""
    models = server_of(request).models.values()
    projects = [_project(model) for model in models if model.filler is None]
    return json_response({"projects": projects})


@router.get(
    "/v1/projects/{name}", responses={200: {"model": Project}, **problems(401, 404, 422, 503)}
)
async def show_project(request: Request, name: ProjectId) -> Response:
    """A model as a project."""
    return json_response(_project(labels_model(server_of(request), name)))


@router.post(
    "/v1/projects/{name}/suggest",
    dependencies=[Depends(require_form)],
    responses={200: {"model": SubjectList}, **WORK_PROBLEMS},
    openapi_extra={"requestBody": {"required": True}},
)
async def suggest(
    request: Request,
    name: ProjectId,
    form: Annotated[SuggestForm, Form()],
) -> Response:
    """Subjects for one text."""
    state = server_of(request)
    model = labels_model(state, name)
    if not form.text and "text" not in await request.form():
        raise Problem(422, "text: is missing")
    rows, headers = await _suggest(state, request, model, [form.text], form.limit, form.threshold)
    return json_response({"results": rows[0]}, headers)


@router.post(
    "/v1/projects/{name}/suggest-batch",
    dependencies=[Depends(require_json)],
    responses={200: {"model": list[DocumentResult]}, **WORK_PROBLEMS},
)
async def suggest_batch(
    request: Request,
    name: ProjectId,
    body: Documents,
    limit: Annotated[Limit, Query()] = 10,
    threshold: Annotated[Threshold, Query()] = 0.0,
) -> Response:
    """Subjects for each of several texts."""
    state = server_of(request)
    model = labels_model(state, name)
    texts = [document.text for document in body.documents]
    rows, headers = await _suggest(state, request, model, texts, limit, threshold)
    results = [
        {"document_id": document.document_id, "results": row}
        for document, row in zip(body.documents, rows, strict=True)
    ]
    return json_response(results, headers)


async def _suggest(
    state: ServerState,
    request: Request,
    model: ServedModel,
    texts: list[str],
    limit: int,
    threshold: float,
) -> tuple[list[list[dict[str, Any]]], dict[str, str]]:
    """The subjects of each text, and the headers of the answer."""
    note(request, texts=texts if state.options.log_texts else len(texts))
    if not texts or not limit:
        return [[] for _ in texts], {"X-Model-Version": model.version}
    job = await state.compute(request, PredictTask(model, texts, limit, threshold))
    rows = job.future.result().suggestions
    state.metrics.count_texts(model.name, (row[0].score if row else None for row in rows))
    return [[_subject(one) for one in row] for row in rows], headers_of(model, job)


def _subject(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "uri": suggestion.label,
        "label": suggestion.name or suggestion.label,
        "notation": None,
        "score": suggestion.score,
    }


def _project(model: ServedModel) -> dict[str, Any]:
    artifact = model.predictor.artifact
    assert artifact is not None
    try:
        seconds = (artifact.folder / MANIFEST).stat().st_mtime
    except OSError as err:
        raise Problem(503, "the folder of the model is gone") from err
    return {
        "project_id": model.name,
        "name": model.name,
        "language": "en",
        "backend": {"backend_id": "xrt"},
        "vocab": None,
        "vocab_language": None,
        "is_trained": True,
        "modification_time": datetime.fromtimestamp(seconds, UTC).isoformat(),
    }
