"""What every stage of training needs: the settings, the cache that runs it, who watches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from xrt.encoder.launcher import Group
from xrt.metrics.judgement import Judgement
from xrt.pipeline.neutral import neutral_values
from xrt.pipeline.params import PipelineParams
from xrt.progress import Progress
from xrt.sources.base import CANDIDATES
from xrt.storage.stages import (
    Hash,
    Make,
    MemoryCache,
    Output,
    Settings,
    Stage,
    StageCache,
    StageCost,
    StageOutput,
)


@dataclass(frozen=True, eq=False)
class StageRunner:
    """Runs stages with the settings of one training.

    Attributes:
        params: the settings.
        cache: runs the stages, or has their outputs.
        progress: is told how far a stage is.
        candidates: labels that each source names for a row.
        judgements: what held-out rows say of learnt steps; each adds its own.
        costs: what each stage so far took when it was made, by its name.
        callbacks: callbacks of Lightning's for the fine-tuning, beside those of the settings.
        loggers: the same of loggers.
        group: the processes that fine-tune together; None where the run starts its own.
    """

    params: PipelineParams
    cache: StageCache = field(default_factory=MemoryCache)
    progress: Progress | None = None
    candidates: int = CANDIDATES
    judgements: list[Judgement] = field(default_factory=list)
    costs: dict[str, StageCost] = field(default_factory=dict)
    callbacks: tuple[Any, ...] = ()
    loggers: tuple[Any, ...] = ()
    group: Group | None = None

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage so far, by its name."""
        return {name: cost.seconds for name, cost in self.costs.items()}

    @property
    def num_threads(self) -> int | None:
        """Threads of the linear stages; None takes all."""
        return self.params.num_threads or None

    def run(
        self,
        stage: Stage[Output],
        make: Make[Output],
        inputs: Mapping[str, Hash],
        name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> StageOutput[Output]:
        """Return the output of a stage, which is made where the cache does not have it.

        Args:
            stage: says which settings it reads.
            make: makes the output from these settings and a workspace.
            inputs: hashes of all other things that `make` uses.
            name: instead of the stage's own, for a stage that runs more than once.
            parameters: plain values that are no settings, or stand for one.

        Returns:
            The output, and its hash as an input of later stages.
        """
        values = {setting: setting_of(self.params, setting) for setting in stage.reads}
        others = parameters or {}
        settings = Settings({**values, **others}, neutral_values(stage.reads, others))
        output = self.cache.run(stage, make, settings, inputs, name)
        self.costs[name or stage.name] = output.cost
        return output


def setting_of(params: PipelineParams, name: str) -> Any:
    """The value of a setting, or a part, by its full name: `ranker`, `dataset.propensity`.

    Args:
        params: the settings.
        name: full name of a setting or a part: `ranker`, `dataset.propensity`.

    Returns:
        The value.
    """
    return reduce(getattr, name.split("."), params)
