"""What a run chose for itself, and all that it tried."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from xrt.errors import ArtifactError
from xrt.metrics.judgement import CRITERION, Judgement
from xrt.pipeline.choosing.trial import FIGURES
from xrt.pipeline.params import PipelineParams
from xrt.tree.clustering import tree_shape

Values = Mapping[str, Any]
"""Settings by their full names, with values that JSON can hold."""
_THRESHOLD = "ranker.threshold"
PLAIN = "as they stand"
"""Name of the settings that everything is compared with: those that were given, and defaults."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Settings that were tried on some rows.

    Attributes:
        name: for people.
        values: the settings that differ from those that stand.
        num_rows: rows that were trained on.
        one_tree: with one tree and without fusion, in the place of all that the settings say.
        figures: FIGURES on the held-out rows, 0 to 1; empty where the try failed.
        gain: of the criterion over the settings that stand, on the same rows.
        standard_error: of `gain`.
        work: what it took, in units that are the same on every machine.
        seconds: what it took here.
        fault: why it failed, in one line; empty where it did not.
    """

    name: str
    values: Values
    num_rows: int
    one_tree: bool = False
    figures: Mapping[str, float] = field(default_factory=dict)
    gain: float = 0.0
    standard_error: float = 0.0
    work: float = 0.0
    seconds: float = 0.0
    fault: str = ""

    @property
    def round(self) -> tuple[int, bool]:
        """What tries that are compared have in common."""
        return self.num_rows, self.one_tree

    @property
    def told_rows(self) -> str:
        """What it was trained on, in words."""
        return f"trained on {self.num_rows:,} rows{', one tree' if self.one_tree else ''}"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What was chosen on held-out training rows.

    Attributes:
        values: the chosen settings that differ from those that stand; empty where these are best.
        aspects: what was open to choice.
        num_held_out: rows that it was judged on.
        tried: all tries, in their order.
        message: what was found, in one sentence.
        complete: False where it was stopped before the end.
    """

    values: Values = field(default_factory=dict)
    aspects: tuple[str, ...] = ()
    num_held_out: int = 0
    tried: tuple[Tried, ...] = ()
    message: str = ""
    complete: bool = True

    def applied_to(self, params: PipelineParams) -> PipelineParams:
        """Settings with what was chosen; nothing is left to choose in them.

        Args:
            params: the settings that stood.

        Returns:
            The settings to train with.
        """
        return replace(with_values(params, self.values), choose=())

    @property
    def judgement(self) -> Judgement | None:
        """The chosen settings, or the best of those that were not, beside those that stand, on the
        most rows; None where nothing was compared.
        """
        done = [tried for tried in self.tried if tried.figures]
        if not done:
            return None
        last = [tried for tried in done if tried.round == done[-1].round]
        plain = next((tried for tried in last if not tried.values), None)
        others = [tried for tried in last if tried.values]
        if self.values:
            others = [tried for tried in others if tried.values == self.values]
        if not others or plain is None:
            return None
        best = max(others, key=lambda tried: tried.gain)
        return Judgement(
            name="chosen settings" if self.values else f"chosen settings ({best.name})",
            plain_name="settings that stand", figure=CRITERION,
            plain=plain.figures["criterion"], learnt=best.figures["criterion"],
            error=best.standard_error, ships=bool(self.values),
            note=best.told_rows,
        )  # fmt: skip

    @property
    def judgements(self) -> list[Judgement]:
        """`judgement`, and what tries said of dropping small weights, which makes models small: it
        ships unless keeping them was chosen.
        """
        judged = [] if self.judgement is None else [self.judgement]
        kept = [one for one in self.tried if one.figures and set(one.values) == {_THRESHOLD}]
        for tried in kept[-1:]:
            (stands,) = (
                one for one in self.tried
                if one.figures and not one.values and one.round == tried.round
            )  # fmt: skip
            step = Judgement(
                name="small weights dropped", plain_name=tried.name, figure=CRITERION,
                plain=tried.figures["criterion"], learnt=stands.figures["criterion"],
                error=tried.standard_error, ships=_THRESHOLD not in self.values,
                note=tried.told_rows,
            )  # fmt: skip
            judged.append(step)
        return judged

    @property
    def seconds(self) -> float:
        """What all tries took here."""
        return sum(tried.seconds for tried in self.tried)

    def without_seconds(self) -> Self:
        """The same without what tries took, which differs from run to run, so that models of the
        same seed have the same bytes.

        Returns:
            Choices whose tries took 0 seconds.
        """
        return replace(self, tried=tuple(replace(tried, seconds=0.0) for tried in self.tried))

    def as_words(self) -> list[str]:
        """The chosen settings as words of a command line.

        Returns:
            `name=value` each.
        """
        return [f"{name}={_word(value)}" for name, value in self.values.items()]

    def rows(self) -> list[list[Any]]:
        """The tries as rows of a table under COLUMNS.

        Returns:
            A row each; figures in percent.
        """
        return [
            [
                f"{tried.num_rows:,}" + (", one tree" if tried.one_tree else ""),
                tried.name,
                *(f"{100 * tried.figures[name]:.2f}" if tried.figures else "-" for name in FIGURES),
                f"{100 * tried.gain:+.2f} ± {100 * tried.standard_error:.2f}"
                if tried.figures
                else tried.fault,
                f"{tried.seconds:.1f}" if tried.seconds else "-",
            ]
            for tried in self.tried
        ]

    def to_text(self) -> str:
        """The table of the tries, and what was found.

        Returns:
            Several lines, without a line end behind the last.
        """
        if not self.tried:
            return self.message
        table = [list(COLUMNS), *self.rows()]
        widths = [max(len(str(row[i])) for row in table) for i in range(len(COLUMNS))]
        lines = [
            "  ".join(
                str(cell).ljust(width) if i == 1 else str(cell).rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        return "\n".join([*lines, self.message])

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Returns:
            Plain values.
        """
        return {
            **asdict(self),
            "aspects": list(self.aspects),
            "tried": [asdict(t) for t in self.tried],
        }

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """What `to_dict` gave.

        Args:
            content: plain values.

        Returns:
            The choices.

        Raises:
            ArtifactError: something is missing or of another kind.
        """
        try:
            tried = tuple(Tried(**each) for each in content["tried"])
            numbers = [n for t in tried for n in (t.gain, t.standard_error, *t.figures.values())]
            if not all(math.isfinite(number) for number in numbers):
                raise ValueError("a figure is not finite")
            return cls(**{**content, "aspects": tuple(content["aspects"]), "tried": tried})
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise ArtifactError(f"choices.json is damaged ({err!r}); train again") from err


COLUMNS = ("rows", "settings", "criterion", *FIGURES[1:], "gain", "seconds")
"""Heads of `Choices.rows`."""


def with_values(params: PipelineParams, values: Values) -> PipelineParams:
    """Settings with other values for some of them.

    Args:
        params: the settings.
        values: by full name.

    Returns:
        The settings.

    Raises:
        ConfigError: a value is out of range.
    """
    parts: dict[str, dict[str, Any]] = {}
    top: dict[str, Any] = {}
    for name, value in values.items():
        part, dot, field_name = name.partition(".")
        if dot:
            parts.setdefault(part, {})[field_name] = value
        else:
            top[name] = value
    for part, own in parts.items():
        if part == "tree" and "shape" in own:
            own["shape"] = tree_shape(own["shape"])
        top[part] = replace(getattr(params, part), **own)
    return replace(params, **top)


def values_that_differ(params: PipelineParams, values: Values) -> dict[str, Any]:
    """Those of some values that differ from what stands.

    Args:
        params: the settings that stand.
        values: by full name.

    Returns:
        The others left out.
    """
    changed = with_values(params, values)
    return {
        name: value for name, value in values.items() if _at(changed, name) != _at(params, name)
    }


def _at(params: PipelineParams, name: str) -> Any:
    value: Any = params
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(_word(each) for each in value)}]"
    return str(value)
