"""Query intent: from clicks and a catalogue to a training corpus of queries with soft labels."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrt.applications.query_intent.label import LabellingResult as LabellingResult
    from xrt.applications.query_intent.label import label_queries as label_queries
    from xrt.applications.query_intent.labelling_params import LabellingParams as LabellingParams

_HOMES = {
    "LabellingParams": "xrt.applications.query_intent.labelling_params",
    "LabellingResult": "xrt.applications.query_intent.label",
    "label_queries": "xrt.applications.query_intent.label",
}

__all__ = ["LabellingParams", "LabellingResult", "label_queries"]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
