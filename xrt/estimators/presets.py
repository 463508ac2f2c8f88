"""Named settings of the linear model; conf/linear has the same for `xrt train`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "auto": MappingProxyType({"choose": None}),
        "fast": MappingProxyType({"choose": ()}),
        "quality": MappingProxyType({"num_trees": 5, "threshold": 0.05, "choose": ()}),
    }
)
"""Arguments of XRLinear by name of the preset, beside its defaults: `auto` chooses on held-out rows
what is not given; `fast` is one tree, nothing but the defaults; `quality` is the mean of five that
keep smaller weights too."""
