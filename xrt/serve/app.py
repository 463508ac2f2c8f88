"""The application: routes, layers, and how errors are told."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from xrt import __version__
from xrt.errors import XrtError
from xrt.serve.layers import BodyLimit, Door, Watch
from xrt.serve.problems import MEDIA_TYPE, Problem, describe_faults, problem_response
from xrt.serve.routes import annif, models, service
from xrt.serve.state import ServerState

DESCRIPTION = """\
Saved models of xrt behind HTTP: texts in, labels out. Errors are `application/problem+json`; their
`detail` is one line. A full queue is 429, with `Retry-After`.
"""


def make_app(state: ServerState, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The application of one server process.

    Args:
        state: Its state; models may be loaded later.
        routers: Further routes.

    Returns:
        The application.
    """
    app = FastAPI(
        title="xrt serve",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # Swagger's page comes from a CDN
        redoc_url=None,
        root_path=state.options.root_path,
        redirect_slashes=False,
    )
    app.state.server = state
    for router in (models.router, annif.router, service.router, *routers):
        app.include_router(router)
    if state.options.allow_reload:
        app.include_router(service.reload_router)
    app.add_exception_handler(HTTPException, _tell_http_exception)
    app.add_exception_handler(RequestValidationError, _tell_bad_request)
    app.add_exception_handler(XrtError, _tell_error)
    app.add_middleware(BodyLimit, state=state)
    app.add_middleware(Door, state=state)
    if state.options.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(state.options.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
            expose_headers=["Retry-After", "X-Model-Version", "X-Request-Id", "Server-Timing"],
        )
    app.add_middleware(Watch, state=state)
    app.openapi = lambda: _document(app, state.options.key is not None)  # type: ignore[method-assign]
    return app


async def _tell_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = "no such address; /openapi.json lists all"
    if error.status_code == 400 and not isinstance(error, Problem):
        detail = "the body cannot be read; send it as UTF-8, in the form that its type says"
    return problem_response(error.status_code, detail, error.headers)


async def _tell_bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if faults[0]["type"] == "json_invalid":
        cause = str(faults[0].get("ctx", {}).get("error", "malformed"))
        place = faults[0]["loc"][-1]
        return problem_response(400, f"the body is no JSON: {cause} at character {place}")
    return problem_response(422, describe_faults(faults))


async def _tell_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, XrtError)
    problem = Problem.of(error)
    return problem_response(problem.status_code, problem.detail)


def _document(app: FastAPI, with_key: bool) -> dict[str, Any]:
    """The OpenAPI document: errors under their own media type, and the key."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    for operations in schema["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if status >= "400" and "application/json" in content:
                    content[MEDIA_TYPE] = content.pop("application/json")
    if with_key:
        schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["key"] = {"type": "http", "scheme": "bearer"}
        schema["security"] = [{"key": []}]
    app.openapi_schema = schema
    return schema
