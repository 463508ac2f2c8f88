"""Query intent: from clicks and a catalogue to a training corpus of queries with soft labels."""

from xrt.applications.query_intent.label import LabellingResult, label_queries
from xrt.applications.query_intent.params import LabellingParams

__all__ = ["LabellingParams", "LabellingResult", "label_queries"]
