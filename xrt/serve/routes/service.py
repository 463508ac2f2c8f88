"""Routes for those who run the server: health, metrics, reloading."""

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from xrt.serve.answers import json_response
from xrt.serve.bodies import require_json
from xrt.serve.metrics import MEDIA_TYPE
from xrt.serve.problems import Problem, problems
from xrt.serve.schemas import HealthResponse, ReloadRequest, ReloadResponse
from xrt.serve.state import server_of

router = APIRouter(tags=["service"])
reload_router = APIRouter(tags=["service"])


@router.get("/health/live", responses={200: {"model": HealthResponse}})
async def live() -> Response:
    """Whether the process answers at all; no model is asked."""
    return json_response({"status": "alive"})


@router.get("/health/ready", responses={200: {"model": HealthResponse}, **problems(503)})
async def ready(request: Request) -> Response:
    """Whether requests should be sent here: not while models load, or the server ends."""
    if fault := server_of(request).fault():
        raise Problem.busy(503, fault)
    return json_response({"status": "ready"})


@router.get(
    "/metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(401)},
)
async def metrics(request: Request) -> Response:
    """What the server counts, of all workers, as Prometheus reads it."""
    return Response(server_of(request).metrics.render(), media_type=MEDIA_TYPE)


@reload_router.post(
    "/-/reload",
    dependencies=[Depends(require_json)],
    responses={
        200: {"model": ReloadResponse},
        **problems(400, 401, 404, 408, 409, 413, 415, 422, 503),
    },
)
async def reload(request: Request, body: ReloadRequest) -> Response:
    """Load models from their folders anew, try them, and serve them from then on; in all workers,
    or in none where one cannot be opened.
    """
    state = server_of(request)
    if body.name is not None:
        state.model(body.name)
    assert state.reloader is not None
    versions = await state.reloader.reload(body.name)
    return json_response(
        {"models": [{"name": name, "version": version} for name, version in versions.items()]}
    )
