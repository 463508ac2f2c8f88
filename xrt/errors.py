"""Errors of seven kinds. A message is one line: what happened, where, both numbers, what to do.

A message that advises a setting does not write it out, because the setting has another name at each
door: `skip_bad_lines=True` in Python, `dataset.skip_bad_lines=true` in `xrt train`,
`--skip-bad-lines` in `xrt label`, and nothing at all in `xrt evaluate`. The error carries the
advice by the setting's name (`settings=`), and the door that shows the message writes it there, or
leaves it out. So the message itself must end with an action that every door has:

    raise DataError(
        f"{path}: line 3: 2 cells, 3 are needed; correct the line",
        settings={"skip_bad_lines": "to set bad lines aside"},
    )
"""

from collections.abc import Callable, Mapping

SWITCHES = {"skip_bad_lines": "true", "require_labels": "false", "force": "true"}
"""Values of settings where advice gives the name only."""
PRESETS = ("dataset", "encoder", "trainer", "training", "tree")
"""Groups of presets that advice names; the command line only has them."""


class XrtError(Exception):
    """Base of all errors that xrt raises on purpose; the command line prints it in one line.

    `str(error)` writes the advice for Python; `worded` writes it for another door.
    """

    def __init__(self, message: object = "", *, settings: Mapping[str, str] | None = None) -> None:
        """Make an error.

        Args:
            message: Cause and next action; the action is one that every door has.
            settings: Further advice: the name of a setting, or `name=value` (values as YAML has
                them: true, 32, csv), and what it is good for ("to set bad lines aside").
        """
        super().__init__(message)
        self.settings = dict(settings or {})

    @property
    def message(self) -> str:
        """The message without the advice about settings."""
        return super().__str__()

    def worded(self, option: Callable[[str, str], str | None]) -> str:
        """The message with its advice as one door writes it.

        Args:
            option: Gives the text of a setting from its name and value ('' for none), or None
                where the door has no such setting.

        Returns:
            One text; advice about settings that the door lacks is left out.
        """
        ways = []
        for setting, purpose in self.settings.items():
            name, _, value = setting.partition("=")
            text = option(name, value or SWITCHES.get(name, ""))
            if text is not None:
                ways.append(f"{text} {purpose}".strip())
        return f"{self.message} (or pass {'; or '.join(ways)})" if ways else self.message

    def __str__(self) -> str:
        return self.worded(python_option)


def python_option(name: str, value: str) -> str | None:
    """A setting as an argument of a Python function: `skip_bad_lines=True`, `format=...`.

    Args:
        name: Name of the setting, with or without the parts that it belongs to.
        value: Its value; '' for none.

    Returns:
        The text; None for a preset of the command line, such as `encoder=none`.
    """
    if name in PRESETS:
        return None
    words = {"true": "True", "false": "False", "null": "None", "": "..."}
    short = name.rpartition(".")[2]
    if value in words:
        return f"{short}={words[value]}"
    is_number = value.replace(".", "", 1).removeprefix("-").isdecimal()
    return f"{short}={value if is_number or value.startswith('[') else repr(value)}"


class DataError(XrtError, ValueError):
    """A corpus, matrix or label table that cannot be used as it is."""


class ConfigError(XrtError, ValueError):
    """A setting that is unknown, out of range or contradicts another."""


class ArtifactError(XrtError):
    """A saved model that is missing, truncated, altered, or of another format version."""


class NotFittedError(XrtError, ValueError, AttributeError):
    """A method that needs a fitted model was called before `fit` or `load`."""


class CapacityError(XrtError, MemoryError):
    """Memory or disk of the machine is too small."""


class ServerError(XrtError):
    """A server that cannot be reached, has no time, or answers what was not asked."""


class TrainingError(XrtError, RuntimeError):
    """Training cannot go on: the loss is not finite, or no step could be taken."""
