"""What bodies may be."""

from email.message import Message

from starlette.requests import Request

from xrt.serve.problems import Problem

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def require_json(request: Request) -> None:
    """A dependency of routes that take JSON.

    Args:
        request: The request.

    Raises:
        Problem: 415: the content type is another one.
    """
    kind = _content_type(request)
    if kind != "application/json":
        raise Problem(415, "send JSON, with the header Content-Type: application/json")


def require_form(request: Request) -> None:
    """A dependency of routes that take a form.

    Args:
        request: The request.

    Raises:
        Problem: 415: the content type is another one.
    """
    if _content_type(request) not in _FORMS:
        raise Problem(
            415, "send a form, with the header Content-Type: application/x-www-form-urlencoded"
        )


def _content_type(request: Request) -> str:
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    return message.get_content_type() if message["content-type"] else ""
