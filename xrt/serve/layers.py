"""What stands between the network and the routes, from the outside in.

`Watch` counts and logs each request, and answers what nobody else did. `Door` refuses who has no
key, and who comes while the queue is full, before the body is read. `BodyLimit` bounds the body and
the time it takes.
"""

import asyncio
import hmac
import ipaddress
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xrt.serve.logs import log_fault, log_request
from xrt.serve.model_thread import queue_is_full
from xrt.serve.problems import Problem, problem_response
from xrt.serve.state import CLIENT_HAS_GONE, ServerState

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OPEN = re.compile(r"/(?:health/(?:live|ready)|assets/[^/]+)?")
_WORK = re.compile(
    r"/v1/(?:models/[^/]+/(predict|score|explain|fill)|projects/[^/]+/(suggest|suggest-batch))"
)
NO_ROUTE = "(none)"
_QUIET = ("/health/live", "/health/ready", "/metrics")
"""Routes that are asked all day; only what is wrong with them is logged."""
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Headers of every answer that does not set them itself."""


class Watch:
    """Gives each request an id and a deadline, counts it, logs it, and turns faults into 500."""

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.monotonic()
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        scope["xrt.deadline"] = started + self.state.options.deadline
        scope["xrt.notes"] = {}
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            log_fault(request_id, error, self.state.options.log_texts)
            if not status:
                response = problem_response(
                    500, f"a fault of xrt; the server's log has it under {request_id}"
                )
                await response(scope, receive, send_with_headers)
        finally:
            self._count(scope, status or CLIENT_HAS_GONE, time.monotonic() - started, request_id)

    def _count(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = route_of(scope)
        method = scope["method"] if route != NO_ROUTE else "OTHER"
        metrics = self.state.metrics
        metrics.requests.labels(method, route, str(status)).inc()
        metrics.seconds.labels(route).observe(seconds)
        if status != 200 or route not in _QUIET:
            log_request(method, route, status, seconds, request_id, scope["xrt.notes"])


def route_of(scope: Scope) -> str:
    """The template of the route of a request, such as `/v1/models/{name}/predict`.

    Args:
        scope: The scope, after the routes have seen it.

    Returns:
        The template; `(none)` where no route fits.
    """
    path = getattr(scope.get("route"), "path", None)
    if path is None and (match := _WORK.fullmatch(_path_of(scope))):
        path = (
            f"/v1/models/{{name}}/{match[1]}" if match[1] else f"/v1/projects/{{name}}/{match[2]}"
        )
    return path or NO_ROUTE


def _path_of(scope: Scope) -> str:
    """The path without the prefix under which a proxy shows the server."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root else path


class Door:
    """Lets in who may come in, and only as many as the queue takes."""

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self.app, self.state = app, state
        key = state.options.key
        self._authorization = None if key is None else f"Bearer {key}".encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        problem = self._refusal(scope) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
            return
        response = problem_response(problem.status_code, problem.detail, problem.headers)
        await response(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        path, headers = _path_of(scope), dict(scope["headers"])
        if self._authorization is None and not _names_this_machine(headers.get(b"host", b"")):
            self._count("host")
            return Problem(
                403, "a server without a key answers only under the name of this machine, such as "
                "localhost; start it with --key-file",
            )  # fmt: skip
        if self._authorization is not None and not _OPEN.fullmatch(path):
            sent = headers.get(b"authorization", b"")
            if not hmac.compare_digest(sent, self._authorization):
                self._count("key")
                return Problem(
                    401, "the key is missing or wrong; send Authorization: Bearer KEY",
                    {"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        if scope["method"] == "POST" and _WORK.fullmatch(path):
            return self._overload()
        return None

    def _overload(self) -> Problem | None:
        thread = self.state.thread
        if thread.is_full:
            self._count("queue")
            return queue_is_full(thread.queue_length)
        return None

    def _count(self, reason: str) -> None:
        self.state.metrics.refusals.labels(reason).inc()


def _names_this_machine(host: bytes) -> bool:
    """Whether a Host header is a name of loopback, so that no web page can have made it."""
    name = host.decode("latin-1").lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.endswith(".localhost")


class BodyLimit:
    """Refuses bodies that are too long or too slow."""

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose declared length is too large, else hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.state.options.max_body
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > most:
            self.state.metrics.refusals.labels("size").inc()
            response = problem_response(413, _too_large(most), {"Connection": "close"})
            await response(scope, receive, send)
            return
        num_bytes, whole = 0, False

        async def receive_within_limits() -> Message:
            nonlocal num_bytes, whole
            if whole:
                return await receive()
            left = scope["xrt.deadline"] - time.monotonic()
            try:
                async with asyncio.timeout(max(left, 0.001)):
                    message = await receive()
            except TimeoutError:
                self.state.metrics.refusals.labels("slow").inc()
                raise Problem(
                    408, "the body did not arrive within the deadline", {"Connection": "close"}
                ) from None
            num_bytes += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if num_bytes > most:
                self.state.metrics.refusals.labels("size").inc()
                raise Problem(413, _too_large(most), {"Connection": "close"})
            return message

        await self.app(scope, receive_within_limits, send)


def _too_large(most: int) -> str:
    return f"the body has more than {most:,} bytes; send fewer or shorter texts"
