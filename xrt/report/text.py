"""Values as text of a report: what would be unseen is shown, numbers and times read as people
write them.
"""

import math
import re
from typing import Any

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and signs that turn the direction of the text around them."""
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean_text(value: Any, length: int) -> str:
    """A value as text of a page; what would be unseen or turn other text shows as U+FFFD.

    Args:
        value: anything.
        length: characters at most; a longer text ends in an ellipsis.

    Returns:
        The text; it is not escaped.
    """
    text = _SURROGATES.sub("\ufffd", _UNSEEN.sub("\ufffd", str(value)))
    return text if len(text) <= length else text[: length - 1] + "…"


def percent(value: float, error: float | None = None) -> str:
    """A share in percent, with its standard error where there is one.

    Args:
        value: the share, of 1.
        error: its standard error, of 1.

    Returns:
        Such as `97.3 % ± 0.4`.
    """
    shown = f"{100 * value:.1f} %"
    return shown if error is None else f"{shown} ± {100 * error:.1f}"


def duration(seconds: float) -> str:
    """A time for people.

    Args:
        seconds: the time.

    Returns:
        Such as `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def size(num_bytes: float) -> str:
    """An amount of memory for people.

    Args:
        num_bytes: bytes.

    Returns:
        Such as `840 MB`, `1.4 GB`, in powers of ten.
    """
    if num_bytes >= 1e9:
        return f"{num_bytes / 1e9:.1f} GB"
    return f"{math.ceil(num_bytes / 1e6)} MB"


def counted(number: int, one: str, several: str = "") -> str:
    """A number with its noun.

    Args:
        number: the number.
        one: the noun for 1.
        several: the noun for others; by default with an s.

    Returns:
        Such as `1 row`, `1,200 rows`.
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"
