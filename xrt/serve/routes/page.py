"""The page of `xrt serve`: HTML, scripts and styles from the package, nothing from elsewhere."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from fastapi import APIRouter, Request
from starlette.responses import Response

from xrt.serve.problems import Problem, problems

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""No script or style but the page's own files; no other page may frame it."""
PAGE = "index.html"
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


class _Asset(NamedTuple):
    content: bytes
    media_type: str
    tag: str


@cache
def page_assets() -> dict[str, _Asset]:
    """The files of the page.

    Returns:
        Content, media type and entity tag by name.
    """
    assets = {}
    for file in files("xrt.serve").joinpath("page").iterdir():
        media_type = _MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            content = file.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            assets[file.name] = _Asset(content, media_type, tag)
    return assets


def make_page_router() -> APIRouter:
    """The routes of the page; they need no key, for no data is in them.

    Returns:
        The router.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/", responses=problems(404))
    def page(request: Request) -> Response:
        """The page."""
        return _answer(PAGE, request)

    @router.get("/assets/{name}", responses=problems(404))
    def asset(name: str, request: Request) -> Response:
        """A script, a style or the icon of the page."""
        if name == PAGE or name not in page_assets():
            raise Problem(404, "the page has no file of this name")
        return _answer(name, request)

    return router


def _answer(name: str, request: Request) -> Response:
    """The file, or 304 where the browser has it."""
    asset = page_assets()[name]
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "ETag": asset.tag,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    tags = request.headers.get("if-none-match", "")
    if asset.tag in (tag.strip().removeprefix("W/") for tag in tags.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)
