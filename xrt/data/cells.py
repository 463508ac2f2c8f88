"""One clean-up of what files hold, for every door: a label or name as text, an id as text.

Two labels that look alike must be one label, whichever file they came from and whatever program
wrote it.
"""

import re
import unicodedata
from decimal import Decimal
from typing import Any

from xrt.data.options import BadLine
from xrt.inputs import without_surrogates

REPLACEMENT = "\ufffd"
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]+"
)
_JOINERS = re.compile("[\u200c\u200d]+")
_JOINED_KINDS = ("Lo", "Mn", "Mc", "So", "Sk")


def clean_label(text: str) -> str:
    """A label, name or column name without what the eye cannot see.

    The text is in Unicode's form NFC, has no control, format or zero-width sign, no outer blanks,
    and one blank for each inner run of blanks, tabs and line ends. A joiner stays between letters
    of a script that needs it, and in emoji. Half a surrogate pair becomes U+FFFD. Cleaning twice
    changes nothing more.

    Args:
        text: The text as it stands in a file.

    Returns:
        The clean text, perhaps empty.
    """
    if text.isascii():
        if not text.isprintable():
            text = _UNSEEN.sub("", text)
        elif "  " not in text:
            return text.strip()
        return " ".join(text.split())
    text = without_surrogates(_UNSEEN.sub("", text))
    text = unicodedata.normalize("NFC", text)
    return " ".join(_JOINERS.sub(_needed_joiner, text).split())


def id_text(value: Any) -> str:
    """An id as text, whether a file gives it as text, as a number or as bytes.

    A column of whole numbers with one empty cell is a column of floats in many programs, so 392.0
    is the id "392". Text is cleaned as `clean_label` does and otherwise stays: "392.0" is "392.0".

    Args:
        value: Text, bytes, a number (also of numpy), true or false, a date, or nothing.

    Returns:
        The id; "" for None and NaN.

    Raises:
        BadLine: the value is a list, an object or another thing with parts, or bytes that are not
            UTF-8.
    """
    if type(value) is str:
        return clean_label(value)
    if type(value) is int:
        return str(value)
    if isinstance(value, bytes):
        try:
            return clean_label(value.decode("utf-8"))
        except UnicodeDecodeError:
            raise BadLine("bytes that are not UTF-8; give text") from None
    if not isinstance(value, str | int | float | Decimal) and hasattr(value, "item"):
        value = value.item()  # a scalar of numpy
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | dict | set):
        kind = "an object" if isinstance(value, dict) else "a list"
        raise BadLine(f"{kind} where an id is needed; give text or a whole number")
    if isinstance(value, float | Decimal) and _is_whole(value):
        return str(int(value))
    return clean_label(str(value))


def _is_whole(value: float | Decimal) -> bool:
    number = float(value)
    return abs(number) < 1e300 and value == int(value)


def _needed_joiner(match: re.Match[str]) -> str:
    """The joiner where the signs on both sides are of a kind that it changes, else nothing."""
    before = match.string[: match.start()][-1:]
    after = match.string[match.end() :][:1]
    needed = all(side and unicodedata.category(side) in _JOINED_KINDS for side in (before, after))
    return match.group()[0] if needed else ""
