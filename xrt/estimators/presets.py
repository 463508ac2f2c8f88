"""Named settings of the linear model; conf/linear has the same for `xrt train`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from xrt.features.tfidf_params import WORDS_OF_TWO, TfidfParams

FAST = MappingProxyType(
    {
        "num_trees": 1,
        "shape": "halves",
        "path_weight": 0.5,
        "features": TfidfParams(sublinear_tf=False, token_pattern=WORDS_OF_TWO),
        "choose": (),
    }
)
"""What presets were measured with before other data than tibkat were looked at."""
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "auto": MappingProxyType({"choose": None}),
        "default": MappingProxyType({"choose": ()}),
        "fast": FAST,
        "quality": MappingProxyType({**FAST, "num_trees": 5, "threshold": 0.05}),
    }
)
"""Arguments of XRLinear by name of the preset, beside its defaults: `auto`, what XRLinear() is,
chooses on held-out rows what is not given; `default` takes what is best on most data; `fast` is one
tree of balanced halves on counted words; `quality` is the mean of five that keep smaller weights
too."""
