"""Numbers as people write them into a catalogue: `1,299.00 EUR`, `1.299,00 €`, `$12`, `1 299`.

The first number of the text counts, whatever stands around it. Its marks are read so:

- both `.` and `,`: the later one is the decimal mark, the other one groups (`1.299,00` = 1299);
- one of them several times: it groups (`1.299.000`, `12,34,567`), if groups of two or three digits
  end in one of three; else there is no number (`1.2.3`, `12,30,45`);
- one comma with three digits after it groups (`1,299` = 1299), unless a lone 0 or more than three
  digits stand before it (`0,125` = 0.125); any other single comma is a decimal mark (`12,5`);
- one point is always a decimal mark (`1.299` = 1.299: programs write numbers so);
- a blank or an apostrophe groups where exactly three digits follow (`1 299`, `1'299.50`), so that
  `12 300` is 12300 and `2 x 100` is 2.
"""

import math
import re
from itertools import pairwise

_BLANKS = " \u00a0\u2009\u202f'’"
_NUMBER = re.compile(
    rf"(?<![\w.,])([-+−]?)((?:\d+(?:[.,{_BLANKS}]\d+)*)|[.,]\d+)(e[-+]?\d{{1,3}}\b)?", re.IGNORECASE
)
_ANYWHERE = re.compile(rf"()(\d+(?:[.,{_BLANKS}]\d+)*)()")
_BLANK = re.compile(f"[{_BLANKS}]")
_PLAIN = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
_AROUND = re.compile(r"[^\d]{0,5}[\d][^a-z]*[a-z€$£¥₹/. ]{0,8}", re.IGNORECASE)


def parse_number(text: str) -> float | None:
    """The number in a text by the rules above; None where there is none. Never raises.

    Args:
        text: A cell; anything but text has no number.

    Returns:
        The number, or None.
    """
    if not isinstance(text, str):
        return None
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return _finite(text)
    match = _NUMBER.search(text) or _ANYWHERE.search(text)
    if match is None:
        return None
    sign, digits, exponent = match.groups()
    plain = _without_grouping(_first_number(digits))
    if plain is None:
        return None
    return _finite(("-" if sign in ("-", "−") else "") + plain + (exponent or ""))


def is_number_cell(text: str) -> bool:
    """Whether a cell is a number with at most a currency, sign or unit beside it.

    Args:
        text: A cell; blanks around it do not count.

    Returns:
        False, too, where no number can be read.
    """
    text = text.strip()
    is_plain = _PLAIN.fullmatch(text) or _AROUND.fullmatch(text)
    return is_plain is not None and parse_number(text) is not None


def _first_number(digits: str) -> str:
    """Without what follows a blank that does not group; grouping blanks are removed."""
    parts = _BLANK.split(digits)
    number = parts[0]
    for before, part in pairwise(parts):
        whole = re.split("[.,]", part)[0]
        if len(whole) != 3 or not before.isdigit() or len(before) > 3:
            break
        number += part
    return number


def _without_grouping(number: str) -> str | None:
    """The number with a point as decimal mark and no other mark, or None."""
    marks = [sign for sign in number if sign in ".,"]
    if not marks:
        return number
    if len(set(marks)) == 2:
        decimal = marks[-1]
        if marks.count(decimal) > 1:
            return None
        whole, _, fraction = number.rpartition(decimal)
        groups = re.split("[.,]", whole)
        return "".join(groups) + "." + fraction if _are_groups(groups) else None
    groups = number.split(marks[0])
    if len(marks) > 1:
        return "".join(groups) if _are_groups(groups) else None
    whole, fraction = groups
    if marks[0] == "," and len(fraction) == 3 and 0 < len(whole) <= 3 and whole != "0":
        return whole + fraction
    return f"{whole or '0'}.{fraction}"


def _are_groups(groups: list[str]) -> bool:
    inner = all(len(group) in (2, 3) for group in groups[1:])
    return bool(groups[0]) and len(groups[0]) <= 3 and inner and len(groups[-1]) == 3


def _finite(number: str) -> float | None:
    try:
        value = float(number)
    except ValueError:  # digits of several scripts in one number
        return None
    return value if math.isfinite(value) else None
