"""Named settings of the linear model; conf/linear has the same for `xrt train`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "fast": MappingProxyType({}),
        "quality": MappingProxyType({"num_trees": 5, "threshold": 0.05}),
    }
)
"""Arguments of XRLinear by name of the preset, beside its defaults: `fast` is one tree, nothing but
the defaults; `quality` is the mean of five that keep smaller weights too."""
