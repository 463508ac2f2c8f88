"""Errors of the server as RFC 9457 has them: `application/problem+json`.

The detail is the one line that the command line would print. What was sent is never repeated beyond
a short, escaped excerpt, so that no input can make the answer fail.
"""

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from xrt.errors import CapacityError, ConfigError, DataError, XrtError

MEDIA_TYPE = "application/problem+json"
MOST_CHARACTERS = 500
"""Characters of a detail."""
_PHRASES = {
    "missing": "is missing",
    "extra_forbidden": "no such key",
    "string_unicode": "a string that is not UTF-8",
    "string_type": "a string is needed",
    "string_too_short": "is too short",
    "string_too_long": "at most {max_length} characters are allowed",
    "list_type": "a list is needed",
    "dict_type": "an object is needed",
    "model_type": "an object is needed",
    "model_attributes_type": "an object is needed",
    "bool_type": "true or false is needed",
    "bool_parsing": "true or false is needed",
    "int_type": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_parsing_size": "the number is too large",
    "int_from_float": "a whole number is needed",
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
    "finite_number": "a finite number is needed",
    "greater_than_equal": "at least {ge} is needed",
    "less_than_equal": "at most {le} is allowed",
    "too_short": "at least {min_length} needed, {actual_length} given",
    "too_long": "at most {max_length} allowed, {actual_length} given",
    "literal_error": "{expected} is needed",
}

_OF_PYDANTIC = re.compile(
    r"body|query|path|str|int|float|bool|constrained-\w+|(?:literal|list|dict|function-\w+)\[.*",
    re.DOTALL,
)
"""Parts of a place that name a type, not a key."""


class ProblemContent(BaseModel):
    """What an error is told by (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["k: at least 1 is needed"])


class Problem(HTTPException):
    """An answer that is an error; raised anywhere below the application."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Make a problem.

        Args:
            status: The HTTP status, 400 and above.
            detail: One line: what happened, and what to do.
            headers: Further headers, such as `Retry-After`.
        """
        super().__init__(status, detail, dict(headers or {}))

    @classmethod
    def busy(cls, status: int, detail: str, retry_after: int = 1) -> "Problem":
        """A problem that goes away by itself.

        Args:
            status: 429 or 503.
            detail: One line.
            retry_after: Seconds after which to try again.

        Returns:
            The problem, with `Retry-After`.
        """
        return cls(status, detail, {"Retry-After": str(retry_after)})

    @classmethod
    def of(cls, error: XrtError) -> "Problem":
        """What an error of xrt is to a client.

        Args:
            error: The error.

        Returns:
            422 for what was sent, 507 for a full disk or memory, 500 for the rest.
        """
        if isinstance(error, DataError | ConfigError):
            return cls(422, error.message)
        return cls(507 if isinstance(error, CapacityError) else 500, error.message)


def problem_response(
    status: int, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer that tells a problem.

    Args:
        status: The HTTP status.
        detail: One line; it is cut after 500 characters.
        headers: Further headers.

    Returns:
        The response; its body is ASCII, whatever the detail holds.
    """
    one_line = " ".join(detail.split())
    if len(one_line) > MOST_CHARACTERS:
        one_line = f"{one_line[:MOST_CHARACTERS]} ..."
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": one_line,
    }
    return Response(json.dumps(content), status, headers, MEDIA_TYPE)


def describe_faults(faults: Sequence[Mapping[str, Any]]) -> str:
    """The first fault that pydantic reports, in one line, without what was sent.

    Args:
        faults: `ValidationError.errors()`, at least one.

    Returns:
        The place, and what is needed there.
    """
    fault = faults[0]
    phrase = _PHRASES.get(str(fault["type"]))
    try:
        text = str(fault["msg"]) if phrase is None else phrase.format(**fault.get("ctx", {}))
    except KeyError:
        text = str(fault["msg"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{_place(fault['loc'])}: {text}{more}"


def _place(location: Sequence[Any]) -> str:
    """`texts[3]`, from ("body", "texts", 3); keys are cut, since a client may choose them."""
    parts = [part for part in location if not _OF_PYDANTIC.fullmatch(str(part))]
    place = ""
    for part in parts[:6]:
        if isinstance(part, int):
            place += f"[{part}]"
        else:
            key = ascii(str(part)[:40])[1:-1]
            place += f".{key}" if place else key
    return place or "the body"


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses for the documentation of a route.

    Args:
        *statuses: The HTTP statuses of the errors that it may answer.

    Returns:
        The argument `responses` of a route.
    """
    retry = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    return {
        status: {
            "model": ProblemContent,
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {}},
            **({"headers": retry} if status in (429, 503) else {}),
        }
        for status in statuses
    }
