"""Settings of the matcher's loss; free of torch and Lightning."""

from dataclasses import dataclass
from enum import Enum

from xrt.errors import ConfigError


class MatcherLoss(str, Enum):
    """Loss of one node for one row, at logit z and y = +1 (right) or -1 (wrong)."""

    bce = "bce"  # log(1 + exp(-y z))
    squared_hinge = "squared_hinge"  # max(0, 1 - y z)^2
    asymmetric = "asymmetric"  # BCE that easy nodes have less say in; Ridnik et al. 2021


class RowReduction(str, Enum):
    """How the losses of a row's candidates become the row's loss."""

    sum = "sum"
    mean = "mean"  # over the row's own candidates, however many others have


class PositiveWeight(str, Enum):
    """Weight of a right node, where labels are sure."""

    one = "one"  # doubtful: the confidence of the surest of the row's labels below it
    num_labels = "num_labels"  # how many of the row's labels lie below it: sum of confidences


@dataclass(frozen=True, kw_only=True)
class LossParams:
    """Loss of the matcher: per candidate, summed over a row's candidates, averaged over rows."""

    kind: MatcherLoss = MatcherLoss.bce
    row_reduction: RowReduction = RowReduction.sum
    positive_weight: PositiveWeight = PositiveWeight.one
    negative_weight: float = 1.0
    """Weight of a wrong node."""
    gamma_positive: float = 0.0
    """`asymmetric`: a right node's BCE is weighted by (1 - p)^gamma, p its probability."""
    gamma_negative: float = 2.0
    """`asymmetric`: a wrong node's BCE is weighted by p^gamma, p its probability less `margin`."""
    margin: float = 0.05
    """`asymmetric`: wrong nodes below this probability have no loss."""

    def __post_init__(self) -> None:
        if self.negative_weight <= 0:
            raise ConfigError(f"loss.negative_weight = {self.negative_weight}: must be above 0")
        for name in ("gamma_positive", "gamma_negative"):
            value = getattr(self, name)
            if value != 0 and value < 1:  # between them the gradient has no bound
                raise ConfigError(f"loss.{name} = {value}: must be 0, or 1 or more")
        if not 0 <= self.margin < 1:
            raise ConfigError(f"loss.margin = {self.margin}: must be in [0, 1)")
