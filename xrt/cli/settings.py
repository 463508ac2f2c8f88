"""Settings of `xrt train` as they are typed, made ready for hydra.

Hydra has a grammar of its own for what stands behind `=`, in which a path with `é`, `(`, `'`, `#`
or `=` is a mistake, `007` a number and `a,b` a sweep. A setting that is a text, or a list of texts,
is taken literally here and quoted for hydra; names are looked up before hydra sees them.
"""

import dataclasses
import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from xrt.config import conf_groups, no_such_setting, settings_type
from xrt.encoder.params import PRECISION_NAMES, TrainerParams
from xrt.encoder.trainer_arguments import OPEN, SET_BY_XRT
from xrt.errors import ConfigError

SHORT_NAMES = {"data.path": "dataset.trn"}
_OPEN_PART = "trainer.lightning"
"""A part whose names are those of Lightning's arguments; `trainer.NAME` is short for one."""
_CALLS = ("callbacks", "logger")
"""Names of that part whose values are lists of classes, with or without arguments."""
_OWN_TEXTS = ("name", "paths.data", "paths.runs", "paths.run", "paths.stages")
_SWITCHES = {
    "--help": 0, "-h": 0, "--hydra-help": 0, "--version": 0, "--cfg": 1, "-c": 1, "--resolve": 0,
    "--package": 1, "-p": 1, "--run": 0, "-r": 0, "--multirun": 0, "-m": 0, "--info": 1, "-i": 1,
    "--config-dir": 1, "-cd": 1,
}  # fmt: skip
"""Hydra's options that mean something here, and how many words follow each."""
_CHOICES = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
_LONG = {"-c": "--cfg", "-i": "--info", "-cd": "--config-dir"}
_NOT_TEXT = ("null", "~", "???")
_SWEEP = re.compile(r"[,()]")
_FUNCTION = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag)\(")


def ready_for_hydra(words: Sequence[str]) -> list[str]:
    """The words behind `xrt train` as hydra takes them; what is ready stays as it is.

    Args:
        words: Settings (`key=value`, `group=choice`) and hydra's options.

    Returns:
        As many words, the options first.

    Raises:
        ConfigError: A word is no setting, or names none.
    """
    ready: list[str] = []
    options: list[str] = []
    remaining_words = iter(words)
    sweeps = any(word in ("-m", "--multirun") for word in words)
    texts = dict(_text_settings())
    for word in remaining_words:
        if word.startswith("-"):
            options += _option(word, remaining_words)
        else:
            ready.append(_setting(word, sweeps, texts))
    if "--resolve" in options and not {"--cfg", "--help", "-h"} & set(options):
        raise ConfigError("--resolve: goes with --cfg job; add it, or leave --resolve out")
    return options + ready  # hydra's parser takes no options between settings


def names_of(words: Sequence[str]) -> list[str]:
    """The full names of the settings among the words behind `xrt train`.

    Args:
        words: The words behind `xrt train`; those without a `=` and options are left out.

    Returns:
        The names, in the order of the words; short names are written in full.
    """
    names = [word.partition("=")[0].lstrip("+") for word in words if "=" in word]
    return [_full_name(name) for name in names if not name.startswith("-")]


def _full_name(name: str) -> str:
    """The name itself, or what it is short for."""
    part, _, argument = name.partition(".")
    if part == "trainer" and argument in (OPEN | SET_BY_XRT.keys()) - _own_names():
        return f"{_OPEN_PART}.{argument}"
    return SHORT_NAMES.get(name, name)


def _own_names() -> set[str]:
    return {field.name for field in dataclasses.fields(TrainerParams)}


def _option(word: str, remaining_words: Iterator[str]) -> list[str]:
    name, equals, value = word.partition("=")
    if name not in _SWITCHES or (equals and not _SWITCHES[name]):
        raise ConfigError(f"{word}: not an option of xrt train; settings are written key=value")
    if not _SWITCHES[name]:
        return [word]
    value = value if equals else next(remaining_words, "")
    if not value or value.startswith("-"):
        raise ConfigError(f"{name}: needs a value; write {name} VALUE")
    name = _LONG.get(name, name)
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ConfigError(f"{name} {value}: no such part; give one of {', '.join(_CHOICES[name])}")
    if name == "--config-dir" and not Path(value).is_dir():
        raise ConfigError(f"{name} {value}: no such folder")
    return [name, value]


def _setting(word: str, sweeps: bool, texts: dict[str, bool]) -> str:
    """One setting as hydra takes it."""
    name, equals, value = word.partition("=")
    if word.startswith("~"):
        raise ConfigError(f"{word}: a setting cannot be removed; give it another value")
    if not equals:
        raise ConfigError(f"{word}: not a setting; write key=value")
    name = _full_name(name.lstrip("+"))
    if name == "hydra" or name.startswith(("hydra.", "hydra/")):
        return word
    if "@" in name or not name or "\0" in word:
        raise ConfigError(f"{word!r}: not a setting; write key=value")
    if name in _groups():
        return f"{name}={_choice(name, value, sweeps)}"
    _require_known(name)
    if name == _OPEN_PART:
        return f"++{word}"
    if name.startswith(f"{_OPEN_PART}."):
        return f"++{name}={_open_value(name, value, sweeps)}"
    if name == "trainer.precision":
        value = PRECISION_NAMES.get(value, value)
    if name not in texts or value in _NOT_TEXT or (sweeps and _FUNCTION.match(value)):
        return f"{name}={value}"
    if sweeps and "," in value:
        return f"{name}={value if texts[name] else ','.join(map(_quoted, _items(value)))}"
    if texts[name]:
        return f"{name}={_quoted_list(name, value)}"
    return f"{name}={_quoted(value)}"


def _open_value(name: str, value: str, sweeps: bool) -> str:
    """The value of an argument of Lightning's: a list of classes is quoted, others are hydra's."""
    if name.rpartition(".")[2] not in _CALLS or value in _NOT_TEXT or "${" in value:
        return value
    if sweeps and _FUNCTION.match(value):
        return value
    in_brackets = value.startswith("[") and value.endswith("]")
    calls = (match[0].strip() for match in _CALL.finditer(value[1:-1] if in_brackets else value))
    return f"[{','.join(_quoted(call) for call in calls if call)}]"


_INNER = r"[^()'\"]|'[^']*'|\"[^\"]*\""
_CALL = re.compile(rf"(?:[^,()'\"]|'[^']*'|\"[^\"]*\"|\((?:{_INNER}|\((?:{_INNER})*\))*\))+")
"""A part of a list between its commas, those in parentheses left out."""


def _choice(group: str, value: str, sweeps: bool) -> str:
    """A choice of a group: the name of one of its files. Unknown names are left to hydra, which
    looks in the folders of `--config-dir`, too.
    """
    choices = conf_groups()[group]
    if value == "null" and group in ("experiment", "debug"):
        return value
    form = r"[A-Za-z_][\w.-]*" + (r"(,[A-Za-z_][\w.-]*)*" if sweeps else "")
    if value in ("null", "true", "false") or not re.fullmatch(form, value):
        if sweeps and _SWEEP.search(value):
            return value
        raise ConfigError(f"{group}={value}: no such choice; there are {', '.join(choices)}")
    return value


def _groups() -> set[str]:
    return set(conf_groups()) - {"hydra"}


def _require_known(name: str) -> None:
    """Raise ConfigError where there is no such setting."""
    if name in _OWN_TEXTS:
        return
    params: Any = settings_type()
    parent, parts = "", name.split(".")
    for number, part in enumerate(parts):
        fields = [field.name for field in dataclasses.fields(params) if field.init]
        if part not in fields:
            raise ConfigError(no_such_setting(part, parent))
        kind = get_type_hints(params)[part]
        params = _dataclass_of(kind)
        if params is None:
            if number + 1 < len(parts) and get_origin(kind) is not dict:
                whole = ".".join(parts[: number + 1])
                raise ConfigError(f"{name}: no such setting; {whole} has no parts")
            return
        parent = ".".join(parts[: number + 1])
    raise ConfigError(f"{name}: has several settings; write {name}.NAME=value for one of them")


def _text_settings() -> Iterator[tuple[str, bool]]:
    """The full names of settings that are texts, and whether they are lists of texts."""
    yield from ((name, False) for name in _OWN_TEXTS)
    yield from _texts_of(settings_type(), "")


def _texts_of(params: type, prefix: str) -> Iterator[tuple[str, bool]]:
    hints = get_type_hints(params)
    for field in dataclasses.fields(params):
        group = _dataclass_of(hints[field.name])
        if group is not None:
            yield from _texts_of(group, f"{prefix}{field.name}.")
            continue
        kinds = {part for part in _choices_of(hints[field.name]) if part is not types.NoneType}
        if kinds in ({str}, {list[str]}):
            yield f"{prefix}{field.name}", kinds == {list[str]}


def _choices_of(annotation: Any) -> tuple[Any, ...]:
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _dataclass_of(annotation: Any) -> Any:
    for part in _choices_of(annotation):
        if dataclasses.is_dataclass(part):
            return part
    return None


def _quoted(text: str) -> str:
    """A text in hydra's quotes; one that is quoted already, and one with `${...}`, as it is."""
    if _is_quoted(text) or ("${" in text and re.search("['\"]", text)):
        return text
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + "\\'", text)
    escaped = re.sub(r"\\+$", lambda match: match[0] * 2, escaped)
    return f"'{escaped}'"


def _is_quoted(text: str) -> bool:
    return bool(re.fullmatch(r"'([^'\\]|\\.)*'|\"([^\"\\]|\\.)*\"", text, re.DOTALL))


def _quoted_list(name: str, value: str) -> str:
    """A list of texts in hydra's notation, each of them quoted."""
    if "${" in value:
        return value
    if not (value.startswith("[") and value.endswith("]")):
        raise ConfigError(f"{name}={value}: a list is needed; write {name}=[{value or 'NAME'}]")
    return f"[{','.join(_quoted(item) for item in _items(value[1:-1]))}]"


def _items(text: str) -> list[str]:
    """The parts of a list between its commas, quoted ones whole; blanks around them are cut."""
    if not text.strip():
        return []
    item = r"\s*(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\s*(?=,|$)|[^,]*"
    items, at = [], 0
    while True:
        match = re.compile(item, re.DOTALL).match(text, at)
        assert match is not None
        items.append(match[0].strip())
        at = match.end() + 1
        if at > len(text):
            return items
