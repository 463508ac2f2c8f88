"""Routes of models: what they suggest, what they score, why, and what they are."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from xrt.predict import Suggestion
from xrt.search.constraints import columns_of, constraint_of
from xrt.serve.answers import answer, json_response
from xrt.serve.bodies import require_json
from xrt.serve.models import ServedModel
from xrt.serve.problems import Problem, problems
from xrt.serve.schemas import (
    MOST_EXPLAINED,
    ExplainRequest,
    ExplainResponse,
    FillRequest,
    FillResponse,
    ModelInfo,
    ModelList,
    PredictRequest,
    PredictResponse,
    ScoreRequest,
    ScoreResponse,
)
from xrt.serve.state import ServerState, note, server_of
from xrt.serve.tasks import ExplainTask, FillTask, PredictTask, ScoreTask

router = APIRouter(tags=["models"])
ModelName = Annotated[str, Path(description="The name of a model.", examples=["products"])]
WORK_PROBLEMS = problems(400, 401, 404, 408, 413, 415, 422, 429, 503, 504)
_WORK: dict[str, Any] = {"dependencies": [Depends(require_json)]}


@router.get("/v1/models", responses={200: {"model": ModelList}, **problems(401, 503)})
async def list_models(request: Request) -> Response:
    """The models that are served."""
    models = server_of(request).models.values()
    return json_response({"models": [dict(model.info) for model in models]})


@router.get(
    "/v1/models/{name}", responses={200: {"model": ModelInfo}, **problems(401, 404, 422, 503)}
)
async def show_model(request: Request, name: ModelName) -> Response:
    """One model: its version, labels, thresholds and metrics."""
    model = server_of(request).model(name)
    return json_response(dict(model.info), {"X-Model-Version": model.version})


@router.post(
    "/v1/models/{name}/predict",
    responses={200: {"model": PredictResponse}, **WORK_PROBLEMS},
    **_WORK,
)
async def predict(request: Request, name: ModelName, body: PredictRequest) -> Response:
    """The best labels of each text, best first."""
    state = server_of(request)
    model = labels_model(state, name)
    if body.explain and len(body.texts) > MOST_EXPLAINED:
        raise Problem(
            422, f"explain: {len(body.texts)} texts; at most {MOST_EXPLAINED} are explained at once"
        )
    task = PredictTask(
        model=model,
        texts=body.texts,
        k=body.k,
        min_score=model.predictor.threshold(body.min_score),
        allowed=None if body.allowed is None else tuple(body.allowed),
        forbidden=None if body.forbidden is None else tuple(body.forbidden),
        tail=body.tail,
        explain=body.explain,
    )
    if task.allowed is not None or task.forbidden is not None:
        await asyncio.to_thread(constraint_of, model.labels, 1, task.allowed, task.forbidden)
    _note_texts(state, request, body.texts)
    job = await state.compute(request, task)
    prediction = job.future.result()
    rows = prediction.suggestions
    state.metrics.count_texts(name, (row[0].score if row else None for row in rows))
    results: list[dict[str, Any]] = [{"suggestions": [_plain(one) for one in row]} for row in rows]
    for result, explanation in zip(results, prediction.explanations or (), strict=False):
        result["explanation"] = explanation
    return answer(model, job, {"results": results})


@router.post(
    "/v1/models/{name}/score",
    responses={200: {"model": ScoreResponse}, **WORK_PROBLEMS},
    **_WORK,
)
async def score(request: Request, name: ModelName, body: ScoreRequest) -> Response:
    """The scores of given labels for each text, however they rank."""
    state = server_of(request)
    model = labels_model(state, name)
    await asyncio.to_thread(columns_of, model.labels, body.labels, "score")
    _note_texts(state, request, body.texts)
    job = await state.compute(request, ScoreTask(model, body.texts, tuple(body.labels)))
    return answer(model, job, {"scores": job.future.result()})


@router.post(
    "/v1/models/{name}/explain",
    responses={200: {"model": ExplainResponse}, **WORK_PROBLEMS},
    **_WORK,
)
async def explain(request: Request, name: ModelName, body: ExplainRequest) -> Response:
    """Why a text gets its labels, or what the model makes of given ones."""
    state = server_of(request)
    model = labels_model(state, name)
    labels = None if body.labels is None else tuple(body.labels)
    if labels is not None:
        await asyncio.to_thread(columns_of, model.labels, labels, "explain")
    _note_texts(state, request, [body.text])
    job = await state.compute(request, ExplainTask(model, body.text, body.k, labels))
    return answer(model, job, {"explanation": job.future.result()})


@router.post(
    "/v1/models/{name}/fill",
    responses={200: {"model": FillResponse}, **WORK_PROBLEMS},
    **_WORK,
)
async def fill(request: Request, name: ModelName, body: FillRequest) -> Response:
    """The value of each attribute of each item; for models of attributes."""
    state = server_of(request)
    model = state.model(name)
    filler = model.filler
    if filler is None:
        raise Problem(
            422, f"{name} is a model of labels, not of attributes; send texts to its /predict"
        )
    fields = set(filler.fields)
    if not any(fields & set(item) for item in body.items):
        raise Problem(
            422, f"no item has a column that the model reads; it reads {', '.join(filler.fields)}"
        )
    _note_texts(state, request, body.items)
    job = await state.compute(request, FillTask(model, filler, body.items))
    results = [
        {
            attribute: {"value": value.name or None, "score": value.score}
            for attribute, value in values.items()
        }
        for values in job.future.result()
    ]
    return answer(model, job, {"results": results})


def labels_model(state: ServerState, name: str) -> ServedModel:
    """A model that suggests labels.

    Args:
        state: The state of the server.
        name: The name of the model.

    Returns:
        The model.

    Raises:
        Problem: 404: there is none; 422: it is one of attributes.
    """
    model = state.model(name)
    if model.filler is not None:
        raise Problem(
            422, f"{name} is a model of attributes, not of labels; send items to its /fill"
        )
    return model


def _plain(suggestion: Suggestion) -> dict[str, Any]:
    return {"label": suggestion.label, "name": suggestion.name, "score": suggestion.score}


def _note_texts(state: ServerState, request: Request, texts: Sequence[Any]) -> None:
    """Count texts in the log, and write them there where the server was told to."""
    note(request, texts=list(texts) if state.options.log_texts else len(texts))
