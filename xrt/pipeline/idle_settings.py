"""Settings that were given by hand and have no effect in the run at hand: refused, not ignored."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from xrt.errors import ConfigError
from xrt.pipeline.params import PipelineParams


class _Rule(NamedTuple):
    names: tuple[str, ...]
    """Full names, or a part with its dot at the end."""
    is_idle: Callable[[PipelineParams], bool]
    message: str


_RULES = (
    _Rule(
        (
            "matcher.", "matcher_tree.", "matcher_features", "trainer.",
            "embedding_neighbours.", "embedding_weight", "frozen_weight", "num_deep_trees",
            "always_deep", "budget",
        ),
        lambda params: params.encoder is None,
        "has no effect without an encoder; choose one, as in encoder=minilm, or leave it out",
    ),
    _Rule(
        ("fused",),
        lambda params: params.encoder is not None and not params.fused,
        "has no effect with an encoder, for which rows are held out in any case; leave it out, or "
        "choose encoder=none",
    ),
    _Rule(
        ("validation_rows",),
        lambda params: params.encoder is None and not params.fused,
        "has no effect with fused=false, which holds no rows out; leave one of them out",
    ),
    _Rule(
        ("dataset.num_rows",),
        lambda params: params.dataset.trn is not None,
        "is the size of the demo catalogue, but dataset.trn names a file; leave one of them out",
    ),
    _Rule(
        ("dataset.filters",),
        lambda params: params.dataset.tst is None and params.dataset.trn is not None,
        "has no effect without a test file; name it (dataset.tst=FILE), or leave it out",
    ),
)  # fmt: skip


def refuse_idle_settings(params: PipelineParams, names: Iterable[str]) -> None:
    """Check that what was asked for is what happens.

    Args:
        params: The settings of a run.
        names: Full names of those given by hand; presets and defaults may well be idle.

    Raises:
        ConfigError: Some of them have no effect; the message names each.
    """
    faults = []
    for rule in _RULES:
        given = [name for name in names if _is_among(name, rule.names)]
        if given and rule.is_idle(params):
            faults.append(f"{', '.join(given)}: {rule.message}")
    if faults:
        raise ConfigError("; ".join(faults))


def _is_among(name: str, known: tuple[str, ...]) -> bool:
    return any(name == one or (one.endswith(".") and name.startswith(one)) for one in known)
