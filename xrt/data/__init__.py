"""Texts with labels: the corpus, readers and writers of its formats, splits, the demo catalogue."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xrt.data.corpus import Corpus, LabelTable, ReadReport, read_label_table
from xrt.data.formats import CorpusFormat, read_corpus, write_corpus

if TYPE_CHECKING:
    from xrt.data.splits import validation_split as validation_split
    from xrt.demo.catalogue import demo_catalogue as demo_catalogue
    from xrt.demo.catalogue import write_demo as write_demo

_HOMES = {
    "demo_catalogue": "xrt.demo.catalogue",
    "validation_split": "xrt.data.splits",
    "write_demo": "xrt.demo.catalogue",
}

__all__ = [
    "Corpus",
    "CorpusFormat",
    "LabelTable",
    "ReadReport",
    "demo_catalogue",
    "read_corpus",
    "read_label_table",
    "validation_split",
    "write_corpus",
    "write_demo",
]


def __getattr__(name: str) -> Any:
    """Import what needs numba (splits) or the vocabulary (demo) at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'xrt.data' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
