"""What the settings that messages advise are called on the command line, a table for each command.

An error names a setting as Python has it (`label_column`); here it becomes the option of the
command at hand (`--label-columns NAME`, `dataset.label_columns=[NAME]`). Options are looked up in
the command's own parser, settings of `xrt train` in its dataclass: what does not exist there cannot
be advised. This module is read only when there is a message to write.
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from xrt.applications import Command, application_commands, owner_of
from xrt.cli.parsers import main_parser
from xrt.errors import python_option

Option = Callable[[str, str], str | None]
"""Writes a setting, from its name and value ('' for none); None where there is no such option."""

_NAMES: dict[str, dict[str, str | None]] = {
    "train": {
        "label_column": "dataset.label_columns",
        "label_names": "dataset.labels",
        "features": None,  # of `read_corpus`; in training the settings of TF-IDF are called so
        "min_score": None,
    },
    "predict": {"label_names": None},
    "explain": {},
    "evaluate": {"label_column": "label_columns"},
    "inspect": {},
    "compare": {},
    "sweep": {},
    "report": {"label_column": "label_columns"},
    "serve": {},
}
"""Names that differ from those of Python, by command; None: the command has nothing like it."""


def commands() -> tuple[str, ...]:
    """Full names of all commands, such as `predict` and `audit apply`.

    Returns:
        The names: those of xrt, then those of applications with their parts.
    """
    names = (name for one in application_commands() for name in (one.name, *one.parts))
    return *_NAMES, *names


def command_of(argv: Sequence[str]) -> str:
    """The command that these arguments call; '' for none.

    Args:
        argv: The words behind `xrt`.

    Returns:
        A full name, such as `predict` or `audit apply`; `train` where the first word is a setting.
    """
    if argv and "=" in argv[0] and not argv[0].startswith("-"):
        return "train"
    words = " ".join(argv[:2])
    names = commands()
    return words if words in names else argv[0] if argv and argv[0] in names else ""


def option_writer(argv: Sequence[str]) -> Option:
    """How the command of these arguments writes a setting.

    Args:
        argv: The words behind `xrt`.

    Returns:
        The writer; that of Python where the arguments name no command.
    """
    command = command_of(argv)
    if command == "train":
        return training_option
    if not command:
        return python_option
    return _writer_of(command, _unused_options(command, argv))


def training_option(name: str, value: str, without: Sequence[str] = ()) -> str | None:
    """A setting as `xrt train` takes it: `dataset.skip_bad_lines=true`, `encoder=none`.

    Args:
        name: A name of Python, a full name (`trainer.precision`) or a group (`encoder`).
        value: Its value; '' for none.
        without: Full names of settings that this run does not read.

    Returns:
        The text, or None where there is no such setting.
    """
    name = _NAMES["train"].get(name, name) or ""
    from xrt.config import conf_groups

    groups = conf_groups()
    if value and name in groups:
        return f"{name}={value}" if value in groups[name] else None
    fields = dict(_training_fields())
    ends = [full for full in fields if full == name or full.endswith(f".{name}")]
    best = next((full for full in ends if full in (name, f"dataset.{name}")), "")
    full = best or (ends[0] if len(ends) == 1 else "")
    if not full or full in without:
        return None
    is_list = any(get_origin(part) is list for part in (fields[full], *get_args(fields[full])))
    if is_list and not value.startswith("["):
        return f"{full}=[{value or 'NAME,...'}]"
    return f"{full}={value or full.rpartition('.')[2].upper()}"


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command other than `train`.

    Args:
        command: Full name of the command.

    Returns:
        The parser: the application's where the command is one of an application.

    Raises:
        KeyError: There is no such command.
    """
    owner = _owner_of(command)
    if owner is not None:
        return owner.parser(command)
    for action in main_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            parser: argparse.ArgumentParser = action.choices[command]
            return parser
    raise KeyError(command)


def _owner_of(command: str) -> Command | None:
    """The application's command that this one is, or is a part of."""
    return next((one for one in application_commands() if command in (one.name, *one.parts)), None)


def _writer_of(command: str, hidden: Sequence[str]) -> Option:
    owner = _owner_of(command)
    names = _NAMES[command] if owner is None else owner.option_names
    actions = {action.dest: action for action in parser_of(command)._actions}

    def write(name: str, value: str) -> str | None:
        dest = names.get(name, name)
        action = actions.get(dest or "")
        if action is None or not action.option_strings or action.dest in hidden:
            return None
        option = action.option_strings[-1]
        if action.nargs == 0:
            return option if value in ("", "true") else None
        if action.choices is not None:
            return f"{option} {value}" if value in action.choices else None
        return f"{option} {value or action.metavar or action.dest.upper()}"

    return write


def _unused_options(command: str, argv: Sequence[str]) -> tuple[str, ...]:
    """The options of a command that the model of an application, named in `argv`, does not take."""
    owner = next((one for one in map(owner_of, argv[1:]) if one is not None), None)
    return () if owner is None else owner.unused_options(command)


def _training_fields() -> Iterator[tuple[str, Any]]:
    from xrt.config import settings_type

    yield from _fields(settings_type(), "")


def _fields(params: type, prefix: str) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(params)
    for field in dataclasses.fields(params):
        if not field.init:
            continue
        parts = (hints[field.name], *get_args(hints[field.name]))
        groups = [part for part in parts if dataclasses.is_dataclass(part)]
        if groups:
            yield from _fields(groups[0], f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            yield f"{prefix}{field.name}", hints[field.name]
