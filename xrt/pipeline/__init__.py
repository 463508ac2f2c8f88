"""Training from corpus to saved model, stage by stage; each stage's outputs are files.

Names are imported when they are used first: the linear pipeline alone does not load torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrt.pipeline.estimate.costs import Estimate as Estimate
    from xrt.pipeline.following import follow as follow
    from xrt.pipeline.params import DatasetParams as DatasetParams
    from xrt.pipeline.params import PipelineParams as PipelineParams
    from xrt.pipeline.run import TrainOutcome as TrainOutcome
    from xrt.pipeline.run import estimate_run as estimate_run
    from xrt.pipeline.run import train as train

_HOMES = {
    "DatasetParams": "xrt.pipeline.params",
    "PipelineParams": "xrt.pipeline.params",
    "Estimate": "xrt.pipeline.estimate.costs",
    "follow": "xrt.pipeline.following",
    "estimate_run": "xrt.pipeline.run",
    "TrainOutcome": "xrt.pipeline.run",
    "train": "xrt.pipeline.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
