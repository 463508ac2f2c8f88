"""The values that `xrt sweep` tries, written as hydra's sweepers take them.

a,b,c  choice(a,b,c)          one of these
range(2,10,2)                 2, 4, 6, 8
interval(0.1,0.9)             a number between them; whole where both are written so
tag(log,interval(1e-5,1e-3))  the same, evenly over the logarithm
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from xrt.errors import ConfigError

_CALL = re.compile(r"(choice|range|interval|tag)\((.*)\)")
_WHOLE = re.compile(r"[+-]?\d+")


class Choice(NamedTuple):
    """One of some values, as they are written."""

    values: tuple[str, ...]


class Interval(NamedTuple):
    """A number from `low` to `high`."""

    low: float
    high: float
    is_whole: bool
    is_log: bool


Values = Choice | Interval


def split_space(words: Sequence[str]) -> tuple[list[str], dict[str, Values]]:
    """Settings that are the same for all trials, and those that are searched.

    Args:
        words: `key=value` and `group=choice`.

    Returns:
        The words of the former, and the values of the latter by name.

    Raises:
        ConfigError: a word is no setting, or its values cannot be read.
    """
    fixed, space = [], {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or word.startswith("-"):
            raise ConfigError(f"{word}: not a setting; write key=value")
        values = _values(name, value)
        if values is None:
            fixed.append(word)
        else:
            space[name] = values
    return fixed, space


def _values(name: str, value: str) -> Values | None:
    """What is to be tried; None for a single value."""
    call = _CALL.fullmatch(value.strip())
    if call is None:
        is_list = "," in value and not re.match(r"\s*[\[{'\"]", value) and "(" not in value
        return _choice(name, value, value.split(",")) if is_list else None
    kind, parts = call[1], [part.strip() for part in call[2].split(",")]
    if kind == "choice":
        return _choice(name, value, parts)
    if kind == "range":
        if not all(map(_WHOLE.fullmatch, parts)) or len(parts) not in (1, 2, 3):
            raise ConfigError(f"{name}={value}: write range(FIRST,END,STEP) in whole numbers")
        return _choice(name, value, [str(number) for number in range(*map(int, parts))])
    is_log = kind == "tag"
    inner = re.fullmatch(r"log\s*,\s*interval\((.*)\)", call[2].strip()) if is_log else None
    ends = inner[1].split(",") if inner is not None else parts
    try:
        low, high = (float(end) for end in ends)
    except ValueError:
        raise ConfigError(
            f"{name}={value}: write interval(LOW,HIGH) or tag(log,interval(LOW,HIGH))"
        ) from None
    if not low < high or (is_log and low <= 0):
        raise ConfigError(f"{name}={value}: LOW must be below HIGH, and above 0 for a logarithm")
    return Interval(low, high, all(_WHOLE.fullmatch(end.strip()) for end in ends), is_log)


def _choice(name: str, value: str, values: Sequence[str]) -> Choice:
    values = [one.strip() for one in values]
    if len(set(values)) < len(values) or not values or "" in values:
        raise ConfigError(f"{name}={value}: give each value once, and none that is empty")
    return Choice(tuple(values))


def first_words(space: dict[str, Values]) -> list[str]:
    """The settings of one trial, to check that they can be composed.

    Args:
        space: the values by name.

    Returns:
        A word for each name.
    """
    return [f"{name}={first_value(values)}" for name, values in space.items()]


def grid_of(space: dict[str, Values]) -> list[dict[str, str | int]]:
    """All trials that there are, for values that can be counted.

    Args:
        space: the values by name.

    Returns:
        The values of each trial by name; the last setting changes fastest.

    Raises:
        ConfigError: a setting has any number of an interval.
    """
    lists: list[list[str | int]] = []
    for name, values in space.items():
        if isinstance(values, Choice):
            lists.append(list(values.values))
        elif values.is_whole:
            lists.append(list(range(int(values.low), int(values.high) + 1)))
        else:
            raise ConfigError(
                f"{name}: an interval of numbers has no grid; list the values, or leave --sampler "
                "grid out"
            )
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*lists)]


def first_value(values: Values) -> str:
    """A value that may be tried, as it is written.

    Args:
        values: those of a setting.

    Returns:
        The first, or the lowest.
    """
    if isinstance(values, Choice):
        return values.values[0]
    return str(int(values.low)) if values.is_whole else repr(values.low)
