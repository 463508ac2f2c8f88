"""Answers of the server."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from xrt.serve.model_thread import Job
from xrt.serve.models import ServedModel


def json_response(content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Plain values as JSON.

    Args:
        content: Values that JSON has; no NaN.
        headers: Further headers.

    Returns:
        The response.
    """
    data = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(data.encode("utf-8", "replace"), 200, headers, "application/json")


def answer(model: ServedModel, job: Job, content: Mapping[str, Any]) -> Response:
    """What a model computed, with its name and version.

    Args:
        model: The model.
        job: The job, done.
        content: The rest of the answer.

    Returns:
        The response; its headers tell the version and the times.
    """
    whole = {"model": model.name, "version": model.version, **content}
    return json_response(whole, headers_of(model, job))


def headers_of(model: ServedModel, job: Job) -> dict[str, str]:
    """The headers of an answer that a model computed.

    Args:
        model: The model.
        job: The job, done.

    Returns:
        The version of the model, and the milliseconds in queue and model.
    """
    queue, spent = job.seconds_in_queue * 1000, job.seconds_in_model * 1000
    return {
        "X-Model-Version": model.version,
        "Server-Timing": f"queue;dur={queue:.2f}, model;dur={spent:.2f}",
    }
