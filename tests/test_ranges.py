"""Ranges of settings: what they hold, what they say, and that the check reads them."""

import math
from dataclasses import dataclass
from typing import Annotated

import pytest

from xrt.errors import ConfigError
from xrt.ranges import (
    SHARE,
    SHARE_ABOVE_ZERO,
    SHARE_BELOW_ONE,
    above,
    at_least,
    between,
    check_ranges,
    ranges_of,
)


@dataclass(frozen=True)
class _Params:
    width: Annotated[int, at_least(1)] = 1
    rate: Annotated[float, above(0)] | None = None
    steps: Annotated[list[int], at_least(2)] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        check_ranges(self, "part")


@pytest.mark.parametrize(
    ("numbers", "inside", "outside", "text"),
    [
        (at_least(1), [1, 7], [0.5, 0, math.nan, math.inf], "at least 1"),
        (above(0), [1e-9, 2], [0, -1, math.nan, math.inf], "above 0"),
        (between(0.5, 3), [0.5, 3], [0.4, 3.1, math.nan], "0.5 to 3"),
        (SHARE, [0, 1], [-0.1, 1.1], "0 to 1"),
        (SHARE_BELOW_ONE, [0, 0.99], [1, -0.1], "at least 0 and below 1"),
        (SHARE_ABOVE_ZERO, [0.01, 1], [0, 1.1], "above 0 and at most 1"),
    ],
)
def test_a_range_holds_what_it_says(numbers, inside, outside, text):
    assert [numbers.holds(value) for value in inside] == [True] * len(inside)
    assert [numbers.holds(value) for value in outside] == [False] * len(outside)
    assert str(numbers) == text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, r"part\.width = 0: at least 1 is needed"),
        ({"rate": 0.0}, r"part\.rate = 0\.0: above 0 is needed"),
        ({"rate": math.nan}, r"part\.rate = nan: above 0 is needed"),
        ({"steps": [2, 1]}, r"part\.steps = \[2, 1\]: at least 2 is needed"),
    ],
)
def test_a_value_outside_is_refused_with_its_name(values, message):
    with pytest.raises(ConfigError, match=message):
        _Params(**values)


def test_null_and_fields_without_a_range_pass():
    _Params(width=3, rate=None, steps=None, name="x")
    assert list(ranges_of(_Params)) == ["width", "rate", "steps"]
