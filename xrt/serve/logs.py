"""Lines of the log: one for each request, without what was sent.

A line names the route, not the address, because queries are text of users, too. Texts are logged
only where the server was told so.
"""

import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

LOGGER = logging.getLogger("xrt.serve")


class JsonLines(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The object in one line.

        Args:
            record: The record.

        Returns:
            The line.
        """
        values = getattr(record, "values", None)
        return json.dumps(
            {
                "time": _time(record),
                "level": record.levelname.lower(),
                **({"message": record.getMessage()} if values is None else values),
            }
        )


class PlainLines(logging.Formatter):
    """A record as a line to read."""

    def format(self, record: logging.LogRecord) -> str:
        """The line.

        Args:
            record: The record.

        Returns:
            The line.
        """
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return f"{_time(record)} {level}{record.getMessage()}"


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def set_up_logs(format: str) -> None:
    """Send the log of the server to standard error.

    Args:
        format: `plain` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if format == "json" else PlainLines())
    for name, level in (("xrt.serve", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def log_request(
    method: str,
    route: str,
    status: int,
    seconds: float,
    request_id: str,
    notes: Mapping[str, Any],
) -> None:
    """Write the line of a request.

    Args:
        method: Its method.
        route: The template of its route.
        status: What it was answered.
        seconds: How long that took.
        request_id: Its id.
        notes: What its handler had to say, such as the model.
    """
    milliseconds = round(seconds * 1000, 1)
    told = "".join(f" {name}={_plain(value)}" for name, value in notes.items())
    LOGGER.info(
        "%s %s %d %.1f ms%s %s",
        method, route, status, milliseconds, told, request_id,
        extra={
            "values": {
                "method": method, "route": route, "status": status, "ms": milliseconds,
                "id": request_id, **notes,
            }
        },
    )  # fmt: skip


def _plain(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str | list | dict) else str(value)


def log_fault(request_id: str, error: BaseException, with_message: bool) -> None:
    """Write where an error came from; its message may hold what was sent.

    Args:
        request_id: The id of the request.
        error: The error.
        with_message: Whether texts may be logged.
    """
    frames = "".join(traceback.format_tb(error.__traceback__))
    message = f": {error}" if with_message else ""
    LOGGER.error("%s: %s%s\n%s", request_id, type(error).__name__, message, frames)
