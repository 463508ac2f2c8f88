"""No message advises an option, setting or preset that does not exist where it is read.

All texts of the package are walked: an option of the command line (`--x`) is written only by the
command that has it, a full setting (`tree.paths`) exists in the schema, `name=value` is written
only where Python alone is spoken to, and `settings=` names what at least one door has.
"""

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import pytest

from tests import ROOT
from xrt.cli.doors import _training_fields, commands, option_writer, parser_of
from xrt.cli.settings import ready_for_hydra
from xrt.config import conf_groups, settings_type
from xrt.data.formats import read_corpus
from xrt.encoder.trainer_arguments import OPEN
from xrt.errors import XrtError

PACKAGE = ROOT / "xrt"
DOORS_OF = {
    "cli/explanation.py": ("explain",),
    "cli/inspection.py": ("evaluate", "inspect"),
    "cli/prediction.py": ("predict",),
    "cli/report.py": ("report",),
    "cli/serving.py": ("serve",),
    "cli/space.py": ("sweep",),
    "cli/sweep.py": ("sweep",),
    "cli/text_input.py": ("predict",),
    "cli/settings.py": ("train",),
    "cli/train.py": ("train",),
    "applications/attributes/commands.py": ("predict", "evaluate"),
    "applications/audit/commands.py": ("audit", "audit apply"),
    "applications/query_intent/commands.py": ("label",),
    "applications/query_intent/report.py": ("label",),
    "applications/query_intent/catalogue.py": ("label",),
    "applications/audit/html_report.py": ("audit", "audit apply"),
}
"""Files whose texts are read at one door, and the commands of that door."""
EVERY_DOOR = ("cli/parsers.py", "cli/ending.py", "cli/doors.py", "errors.py", "model_card.py")
PYTHON_ONLY = ("estimators/", "metrics/", "inputs.py", "sparse.py", "pipeline/warm_start.py",
               "model_card.py", "storage/artifact.py")  # fmt: skip
"""Files whose texts are read by callers from Python."""
LOGGED = (
    "applications/attributes/catalogue_training.py",
    "applications/attributes/decoding/way.py",
)
"""Files whose texts `xrt train` logs."""
NO_MESSAGES = ("report/", "explain/wording.py", "jit.py")
SCHEMA_FILES = ("cli/train.py", "cli/settings.py", "config.py", "pipeline/idle_settings.py")


class Text(NamedTuple):
    """A text of the package: where it stands, and what; `{}` for what is filled in."""

    file: str
    line: int
    text: str


def _documentation(tree: ast.AST) -> set[int]:
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def _in_help(tree: ast.AST) -> set[int]:
    """Texts of `--help`, which argparse writes beside the options themselves."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    adding = [call for call in calls if getattr(call.func, "attr", "") == "add_argument"]
    return {id(part) for call in adding for part in ast.walk(call)}


@cache
def texts() -> tuple[Text, ...]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if file.startswith(NO_MESSAGES):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        out = _documentation(tree) | _in_help(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                out |= {id(part) for part in ast.walk(node) if part is not node}
        for node in ast.walk(tree):
            if id(node) in out:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "{}" for p in node.values]
                found.append(Text(file, node.lineno, "".join(map(str, parts))))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(Text(file, node.lineno, node.value))
    return tuple(text for text in found if " " in text.text.strip())


def matches(pattern: str) -> Iterator[tuple[Text, str]]:
    for text in texts():
        for match in re.finditer(pattern, text.text):
            yield text, match[0]


@cache
def options_of(command: str) -> frozenset[str]:
    if command == "train":
        from xrt.cli.settings import _SWITCHES

        return frozenset(_SWITCHES)
    return frozenset(
        option for action in parser_of(command)._actions for option in action.option_strings
    )


@cache
def schema_names() -> frozenset[str]:
    """Full names of all settings, and those of the parts that hold them."""
    names = {name for name, _ in _training_fields()} | {"paths.runs", "paths.data", "paths.run"}
    names |= {f"trainer.{middle}{name}" for middle in ("", "lightning.") for name in OPEN}
    for name in list(names):
        while "." in name:
            name = name.rpartition(".")[0]
            names.add(name)
    return frozenset(names)


@cache
def groups() -> dict[str, frozenset[str]]:
    return {group: frozenset(files) for group, files in conf_groups().items()}


def test_the_walk_sees_messages():
    assert len(texts()) > 500
    assert any("no such file" in text.text for text in texts())


def test_options_are_written_only_by_the_command_that_has_them():
    wrong = []
    for text, option in matches(r"(?<![\w/-])--[a-z][a-z-]+"):
        if text.file in EVERY_DOOR or re.search(r"xrt [a-z]+|pip install", text.text):
            continue  # whole commands are looked at below
        commands = ("serve",) if text.file.startswith("serve/") else DOORS_OF.get(text.file, ())
        if not any(option in options_of(command) for command in commands):
            wrong.append(f"{text.file}:{text.line}: {option} in {text.text!r}")
    assert not wrong, "\n".join(wrong)


def test_whole_commands_exist():
    wrong, num_seen = [], 0
    for text, line in matches(r"\bxrt (train|predict|audit apply|label|evaluate)( [^\n;()`]*)?"):
        words = line.split()[1:]
        command = "audit apply" if words[:2] == ["audit", "apply"] else words[0]
        num_seen += 1
        for option in re.findall(r"--[a-z][a-z-]+", line):
            if option not in options_of(command):
                wrong.append(f"{text.file}:{text.line}: {option} of xrt {command}")
        if command == "train":
            settings = [word.rstrip(",.:") for word in words[1:] if "=" in word and "{" not in word]
            settings = [word for word in settings if word.partition("=")[0].islower()]
            try:
                ready_for_hydra([w for w in settings if w not in ("key=value", "group=choice")])
            except XrtError as error:
                if "experiment=NAME" not in line and "5,10,20" not in line:
                    wrong.append(f"{text.file}:{text.line}: {error}")
    assert num_seen > 3
    assert not wrong, "\n".join(wrong)


def test_full_names_of_settings_are_in_the_schema():
    """`tree.paths`, `matcher.steps=40`, `encoder.lora_rank`."""
    sections = "|".join(field.name for field in dataclasses.fields(settings_type()))
    wrong = []
    for text, name in matches(rf"(?<![\w./{{}}-])(?:{sections})(?:\.[a-z_]+)+\b(?![/(.]|-)"):
        if name not in schema_names() and not re.search(r"\.(json|npy|tsv|txt|pt|ckpt)$", name):
            wrong.append(f"{text.file}:{text.line}: {name} in {text.text!r}")
    assert not wrong, "\n".join(wrong)


def test_values_of_settings_are_written_where_they_can_be_typed():
    """`skip_bad_lines=True` means nothing on the command line, `encoder=none` nothing in Python."""
    wrong = []
    for text, setting in matches(r"(?<![\w.{}<`-])[a-z_]+=(?:[\w{'\"\[]|(?=[ ,;]))[\w.'\"}]*"):
        name, _, value = setting.partition("=")
        is_preset = value in groups().get(name, ()) or (name in groups() and value in ("", "{}"))
        if text.file.startswith((*PYTHON_ONLY, *EVERY_DOOR, *SCHEMA_FILES)) or "<" in text.text:
            continue
        if text.text.startswith(("queue;dur=", "text/")):  # headers of HTTP
            continue
        if "xrt train" in text.text or (is_preset and text.file.startswith(TRAINING_ONLY)):
            continue
        if name in schema_names() and text.file.startswith(TRAINING_ONLY):
            continue
        if text.file.startswith(("cli/", "demo/", *LOGGED)):
            continue
        if re.search(rf"\w+\([^()]*{re.escape(setting)}", text.text):
            continue  # the argument of a logger or callback, in Python's notation
        wrong.append(f"{text.file}:{text.line}: {setting} in {text.text!r}")
    assert not wrong, "\n".join(wrong)


TRAINING_ONLY = ("pipeline/", "former_settings.py", "encoder/trainer_arguments.py",
                 "encoder/resolve.py", "encoder/params.py",
                 "tree/", "search/",
                 "applications/attributes/application.py",
                 "applications/attributes/catalogue_settings.py",
                 "applications/attributes/settings.py",
                 "applications/attributes/decoding/way.py")  # fmt: skip
"""Files whose texts are read in `xrt train`, where presets and full settings can be typed."""


def _advised() -> Iterator[tuple[str, str]]:
    """Every setting named in `settings=`, with its place; what is filled in is left out."""
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            is_advice = isinstance(node, ast.keyword) and node.arg == "settings"
            is_table = isinstance(node, ast.Assign) and any(
                getattr(target, "id", "").endswith("ADVICE") for target in node.targets
            )
            if not (is_advice or is_table) or not isinstance(node.value, ast.Dict):
                continue
            for key in node.value.keys:
                if isinstance(key, ast.Constant):
                    yield str(key.value), f"{file}:{node.value.lineno}"
                elif isinstance(key, ast.JoinedStr) and isinstance(key.values[0], ast.Constant):
                    yield str(key.values[0].value), f"{file}:{node.value.lineno}"


def _python_names() -> set[str]:
    from xrt.applications.audit.audit_params import AuditParams
    from xrt.applications.query_intent.catalogue import read_catalogue
    from xrt.applications.query_intent.label import label_queries
    from xrt.estimators import XRLinear, XRTransformer
    from xrt.predict import Predictor

    doors = (read_corpus, XRLinear.__init__, XRTransformer.__init__, Predictor.predict,
             Predictor.load, read_catalogue, label_queries, AuditParams)  # fmt: skip
    return {name for door in doors for name in inspect.signature(door).parameters}


def test_advice_by_name_can_be_followed_somewhere():
    advised = list(_advised())
    assert len(advised) >= 10
    python, wrong = _python_names(), []
    writers = [option_writer(command.split()) for command in commands()]
    for setting, place in advised:
        name, _, value = setting.partition("=")
        written = [text for write in writers if (text := write(name, value)) is not None]
        known = name in python or name in schema_names() or name in groups()
        if not known or not (written or name in python):
            wrong.append(f"{place}: {setting}: known {known}, on the command line {written}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("command", commands())
def test_what_a_door_writes_is_what_it_takes(command: str):
    """Every setting that is advised anywhere, as this command writes it, is one of its options."""
    write = option_writer(command.split())
    for setting, _ in _advised():
        name, _, value = setting.partition("=")
        written = write(name, value or ("true" if name == "skip_bad_lines" else ""))
        if written is None:
            continue
        if command == "train":
            assert ready_for_hydra([written]), written
        else:
            assert written.split()[0] in options_of(command), (command, written)
