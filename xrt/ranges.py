"""Ranges of settings: written once at the field, checked when its dataclass is made, and printed
by `xrt train --help` and in the reference.

    beam_size: Annotated[int, at_least(1)] = 10
"""

import dataclasses
import functools
import math
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from xrt.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; the ends belong to it unless `above` or `below` says not."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is finite and lies in the range.

        Args:
            value: the number.

        Returns:
            False for NaN and infinities, too.
        """
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return bool(over and under and math.isfinite(value))

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {_number(self.low)}" if self.above else f"at least {_number(self.low)}"
        if not (self.above or self.below):
            return f"{_number(self.low)} to {_number(self.high)}"
        low = f"above {_number(self.low)}" if self.above else f"at least {_number(self.low)}"
        high = f"below {_number(self.high)}" if self.below else f"at most {_number(self.high)}"
        return f"{low} and {high}"


def at_least(low: float) -> Range:
    """Finite numbers from a bound on.

    Args:
        low: the least number allowed.

    Returns:
        The range.
    """
    return Range(low)


def above(low: float) -> Range:
    """Finite numbers above a bound.

    Args:
        low: the bound, itself not allowed.

    Returns:
        The range.
    """
    return Range(low, above=True)


def between(low: float, high: float) -> Range:
    """Numbers between two bounds.

    Args:
        low: the least number allowed.
        high: the greatest number allowed.

    Returns:
        The range.
    """
    return Range(low, high)


SHARE = between(0, 1)
"""A share, 0 and 1 included."""

SHARE_BELOW_ONE = Range(0, 1, below=True)
"""A share, 1 left out."""

SHARE_ABOVE_ZERO = Range(0, 1, above=True)
"""A share, 0 left out."""


@functools.cache
def ranges_of(params: type) -> dict[str, Range]:
    """The ranges that a dataclass declares.

    Args:
        params: the dataclass.

    Returns:
        The range of each field that has one, in the order of the fields.
    """
    hints = get_type_hints(params, include_extras=True)
    declared = {field.name: _range_in(hints[field.name]) for field in dataclasses.fields(params)}
    return {name: numbers for name, numbers in declared.items() if numbers is not None}


def check_ranges(params: Any, part: str = "") -> None:
    """Check the fields of a dataclass against the ranges they declare; null is always allowed.

    Args:
        params: an instance; of a list every entry is checked.
        part: the full name of the settings that the fields belong to, such as `tree`.

    Raises:
        ConfigError: A value lies outside; the message names the field, the value and the range.
    """
    for name, numbers in ranges_of(params.__class__).items():
        value = getattr(params, name)
        for each in value if isinstance(value, list | tuple) else (value,):
            if each is not None and not numbers.holds(each):
                full = f"{part}.{name}" if part else name
                raise ConfigError(f"{full} = {value}: {numbers} is needed")


def _range_in(annotation: Any) -> Range | None:
    """The range in `Annotated[T, range]`, or in a part of a union."""
    if get_origin(annotation) is Annotated:
        return next((part for part in get_args(annotation)[1:] if isinstance(part, Range)), None)
    parts = (_range_in(part) for part in get_args(annotation))
    return next((part for part in parts if part is not None), None)


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
