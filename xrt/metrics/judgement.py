"""A learnt step beside its plain alternative, on the same held-out rows: which of them ships."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from xrt.metrics.tables import align

CRITERION = "(P@1 + nDCG@10) / 2"
COLUMNS = ("step", "plain alternative", "figure", "plain", "learnt", "standard error", "ships")
JUDGED = "What was judged on held-out rows"
NOTE = (
    "The learnt step ships where it is better than the plain alternative on the same held-out "
    "rows, by the rule of the step; the standard error is that of the difference."
)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What held-out rows say of a step.

    Attributes:
        name: the step.
        plain_name: its plain alternative.
        figure: what is measured of both.
        plain: the figure of the plain alternative, of 1.
        learnt: the figure of the learnt step, of 1.
        error: standard error of the difference; None where there is none.
        ships: whether the learnt step ships, else the plain alternative.
        note: why, where the figures alone do not say it.
    """

    name: str
    plain_name: str
    figure: str
    plain: float
    learnt: float
    error: float | None
    ships: bool
    note: str = ""

    @property
    def cells(self) -> list[Any]:
        """The cells of its line in a table, as `COLUMNS` names them; figures in percent."""
        ships = "learnt" if self.ships else "plain"
        if self.note:
            ships += f" ({self.note})"
        figures = [100 * self.plain, 100 * self.learnt]
        error = None if self.error is None else 100 * self.error
        return [self.name, self.plain_name, self.figure, *figures, error, ships]

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Returns:
            Plain values by name.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Args:
            content: what `to_dict` gave.

        Returns:
            The judgement.
        """
        return cls(**content)


def is_better(gain: float, error: float | None) -> bool:
    """The rule of steps that rank: above the plain alternative by at least one standard error.

    Args:
        gain: the mean difference.
        error: its standard error; None where there is none.

    Returns:
        False without a standard error.
    """
    return error is not None and gain > 0 and gain >= error


def judgement_table(judgements: Sequence[Judgement]) -> str:
    """The judgements as a table of text.

    Args:
        judgements: at least one.

    Returns:
        Several lines.
    """
    rows = [list(COLUMNS)]
    for judgement in judgements:
        cells = judgement.cells
        figures = ["-" if cell is None else f"{cell:.2f}" for cell in cells[3:6]]
        rows.append([*cells[:3], *figures, cells[6]])
    return align(rows)
