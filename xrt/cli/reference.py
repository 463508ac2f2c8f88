"""What `xrt train` takes: each setting with its value, what it may be, and what it means.

The meaning is the text below a field in its parameter dataclass, the range is declared at the field
(`xrt.ranges`), and so `xrt train --help` and docs/settings.md say what the code says.
"""

import ast
import dataclasses
import functools
import inspect
import itertools
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from xrt.ranges import ranges_of

_WIDTH = 100
_KINDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting. `name`: in full, such as `matcher.num_epochs`; `allowed`: what it may be."""

    name: str
    default: Any
    allowed: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Part:
    """Settings that stand together; `name` is '' for those of the run as a whole."""

    name: str
    meaning: str
    settings: tuple[Setting, ...]


def parts_of(params: type, name: str = "") -> Iterator[Part]:
    """The settings of a parameter dataclass, part by part, those of the whole first.

    Args:
        params: The dataclass; its fields that are dataclasses are parts of their own.
        name: The part that the dataclass is; '' for the whole.

    Yields:
        A part and then the parts in it. Fields that nobody can set are left out.
    """
    hints, meanings, ranges = get_type_hints(params), field_docstrings(params), ranges_of(params)
    settings: list[Setting] = []
    parts: list[tuple[str, type, str]] = []
    for field in dataclasses.fields(params):
        full = f"{name}.{field.name}" if name else field.name
        meaning = meanings.get(field.name, "")
        if not field.init:
            continue
        if (part := _dataclass_in(hints[field.name])) is not None:
            parts.append((full, part, meaning))
            continue
        numbers = ranges.get(field.name)
        allowed = _allowed(hints[field.name], "" if numbers is None else str(numbers))
        settings.append(Setting(full, _default_of(field), allowed, meaning))
    yield Part(name, _first_paragraph(params) if name else "", tuple(settings))
    for full, part, meaning in parts:
        first, *below = parts_of(part, full)
        yield dataclasses.replace(first, meaning=meaning or first.meaning)
        yield from below


def field_docstrings(params: type) -> dict[str, str]:
    """The texts below the fields of a dataclass, and of the classes it inherits from.

    Args:
        params: The dataclass.

    Returns:
        Field name -> text in one line; fields without one are left out, and all where there are no
        sources.
    """
    texts: dict[str, str] = {}
    for base in reversed(params.__mro__):
        texts |= _docstrings_in(base.__module__).get(base.__name__, {})
    return texts


def with_values(parts: Sequence[Part], values: Mapping[str, Any]) -> list[Part]:
    """The parts with the values of a composed configuration.

    Args:
        parts: Of `parts_of`.
        values: The configuration as nested mappings, before interpolation.

    Returns:
        The parts; a setting in a part that is null keeps the default of its dataclass.
    """
    return [
        dataclasses.replace(
            part,
            settings=tuple(
                dataclasses.replace(each, default=_looked_up(values, each.name, each.default))
                for each in part.settings
            ),
        )
        for part in parts
    ]


def reference(words: Sequence[str]) -> tuple[list[Part], dict[str, list[str]]]:
    """All settings with the values that these words give them, and the groups of settings.

    Args:
        words: `key=value` and `group=choice`, as hydra takes them.

    Returns:
        The parts, those of the run as a whole first, and the choices of each group.

    Raises:
        HydraException: A word is no setting (one of `xrt.config.COMPOSITION_ERRORS`).
    """
    from xrt.config import OwnSettings, conf_groups, settings_type, values_of

    values = values_of(list(words))
    whole, *own_parts = parts_of(OwnSettings)
    first, *parts = parts_of(settings_type())
    first = dataclasses.replace(first, settings=(*whole.settings, *first.settings))
    groups = {group: choices for group, choices in conf_groups().items() if group != "hydra"}
    return with_values([first, *parts, *own_parts], values), groups


def to_text(parts: Sequence[Part], groups: Mapping[str, Sequence[str]]) -> str:
    """The reference for a terminal.

    Args:
        parts: Of `with_values`.
        groups: The choices of each group of settings.

    Returns:
        Lines of at most 100 characters, with a newline at the end.
    """
    lines = ["xrt train: settings are given as key=value and group=choice.", ""]
    lines += ["Groups; a choice is a file of settings:", ""]
    for group, choices in groups.items():
        lines += _wrapped(f"{group}: {', '.join(choices)}", "  ", "      ")
    lines += ["", "Settings, as they are without further words [and what they may be]:"]
    for part in parts:
        lines += ["", *_wrapped(f"{part.name}: {part.meaning}".rstrip(": "), "", "  ")]
        for each in part.settings:
            lines.append(f"  {each.name} = {_shown(each.default)}  [{each.allowed}]")
            lines += _wrapped(each.meaning, "      ", "      ")
    lines += ["", "xrt train key=value ... --cfg job prints the settings of a run as YAML."]
    return "\n".join(lines) + "\n"


def to_markdown(parts: Sequence[Part], groups: Mapping[str, Sequence[str]]) -> str:
    """The reference as a page of the documentation.

    Args:
        parts: Of `with_values`.
        groups: The choices of each group of settings.

    Returns:
        Markdown with a table for each part.
    """
    lines = [
        "# Settings", "",
        "All settings of `xrt train`, as `xrt train --help` prints them; this page is written by",
        "`python scripts/write_settings.py`. The default is that of `xrt train` without further",
        "words. In Python the same names are the fields of `PipelineParams`.", "",
        "## Groups", "",
        "`group=choice` takes a file of settings; `key=value` after it changes one of them.", "",
        "| Group | Choices |", "|---|---|",
    ]  # fmt: skip
    lines += [f"| `{group}` | {', '.join(choices)} |" for group, choices in groups.items()]
    for part in parts:
        if not part.settings:
            continue
        title = f"`{part.name}`" if part.name else "The run as a whole"
        lines += ["", f"## {title}", ""]
        lines += [part.meaning, ""] if part.meaning else []
        lines += ["| Setting | Default | May be | Meaning |", "|---|---|---|---|"]
        for each in part.settings:
            cells = (f"`{each.name}`", f"`{_shown(each.default)}`", each.allowed, each.meaning)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


@functools.cache
def _docstrings_in(module: str) -> dict[str, dict[str, str]]:
    """Class -> field -> the text below the field, for the classes of a module."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return {}
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):  # an installation without sources
        return {}
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_texts_below(node.body)) for node in classes}


def _texts_below(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            yield field.target.id, " ".join(below.value.value.split())


def _allowed(annotation: Any, numbers: str) -> str:
    """What values a setting takes, in words."""
    kinds = [kind for kind in _kinds_in(annotation) if kind is not types.NoneType]
    words = [_kind(kind, numbers) for kind in kinds]
    if len(kinds) < len(_kinds_in(annotation)):
        words.append("null")
    return ", or ".join(words)


def _kind(kind: Any, numbers: str) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(str(member.value) for member in kind)
    if get_origin(kind) is dict:
        return "mapping"
    if get_origin(kind) in (list, tuple):
        kinds = [part for part in get_args(kind) if part is not ...]
        return f"list of {_plural(kinds[0])}" + (f", each {numbers}" if numbers else "")
    word = _KINDS.get(kind, "text")
    return f"{word}, {numbers}" if numbers and kind in (int, float) else word


def _plural(kind: Any) -> str:
    return _KINDS.get(kind, "text") + "s"


def _kinds_in(annotation: Any) -> tuple[Any, ...]:
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _dataclass_in(annotation: Any) -> Any:
    return next((kind for kind in _kinds_in(annotation) if dataclasses.is_dataclass(kind)), None)


def _default_of(field: "dataclasses.Field[Any]") -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return "???"


def _looked_up(values: Any, name: str, default: Any) -> Any:
    for part in name.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return default
        values = values[part]
    return values


def _shown(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(each) for each in value)}]"
    return str(value) if value != "" else "''"


def _first_paragraph(params: type) -> str:
    return " ".join((inspect.getdoc(params) or "").split("\n\n")[0].split())


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=others,
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip
