"""Durations as people write them: `90s`, `10m`, `1h30m`."""

import re

from xrt.errors import ConfigError

_PARTS = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def seconds_of(text: str, name: str = "budget") -> float:
    """The seconds that a text says.

    Args:
        text: hours, minutes and seconds, each with its unit: `90s`, `10m`, `1h30m`, `1.5h`.
        name: of the setting, for messages.

    Returns:
        Seconds, above 0.

    Raises:
        ConfigError: a unit is missing, or it is no duration above 0.
    """
    found = _PARTS.fullmatch(str(text).strip().lower())
    if found is not None and any(found.groups()):
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        total = 3600 * hours + 60 * minutes + seconds
        if total > 0:
            return total
    if _NUMBER.fullmatch(str(text).strip()):
        number = str(text).strip()
        if float(number) > 0:
            raise ConfigError(
                f"{name} = {number}: the unit is missing; write {name}={number}m for minutes, "
                f"{number}h for hours, {number}s for seconds"
            )
    raise ConfigError(
        f"{name} = {text!r}: a time above 0 is needed; write it as {name}=10m, 90s or 1h30m"
    )


def duration_text(seconds: float) -> str:
    """A duration as `seconds_of` reads it, in whole minutes where it is long.

    Args:
        seconds: the duration.

    Returns:
        Such as `90s`, `10m`, `1h30m`.
    """
    if seconds < 120:
        return f"{max(1, round(seconds))}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}m"
    return f"{minutes // 60}h{minutes % 60}m" if minutes % 60 else f"{minutes // 60}h"
