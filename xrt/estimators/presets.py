"""Named settings of the linear model; conf/linear has the same for `xrt train`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "fast": MappingProxyType({"max_leaf_size": 200, "path_weight": 0.5}),
        "quality": MappingProxyType({"num_trees": 3, "max_leaf_size": 200, "path_weight": 0.5}),
    }
)
"""Arguments of XRLinear by name of the preset: `fast` is one tree, `quality` the mean of three."""
