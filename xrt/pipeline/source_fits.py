"""Fits the sources of a model: every one that there is, unless the settings leave it out."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from xrt.fusion.fusion import Fusion
from xrt.model import XrtModel
from xrt.sources.base import Source, Training
from xrt.sources.registry import SOURCES, by_name


def fit_sources(
    training: Training,
    fitted: Mapping[str, Source] | None = None,
    names: Collection[str] | None = None,
) -> dict[str, Source]:
    """Fit sources on the same rows, one after the other.

    Args:
        training: rows, labels and settings; without embeddings, sources that use them are left out.
        fitted: sources that there are already.
        names: which sources to fit; None for all.

    Returns:
        The sources by name, those `fitted` included.
    """
    sources = dict(fitted or {})
    for name, kind in SOURCES.items():
        usable = training.rows.blocks is not None or not kind.uses_embeddings
        if name not in sources and usable and (names is None or name in names):
            source = kind.fit(training)
            if source is not None:
                sources[name] = source
    return by_name(sources.values())


def with_sources(model: XrtModel, sources: Mapping[str, Source]) -> XrtModel:
    """The model with these sources, each of weight 1 until fusion is fitted.

    Args:
        model: the model.
        sources: the sources, by name.

    Returns:
        A new model; the one given stays as it is.
    """
    return replace(model, sources=sources, fusion=Fusion(dict.fromkeys(sources, 1.0)))
