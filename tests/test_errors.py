"""Advice in messages: carried by the setting's name, worded at each door."""

import pickle
from pathlib import Path

import pytest

from xrt import errors
from xrt.cli.doors import command_of, commands, option_writer, training_option
from xrt.errors import DataError, XrtError

SKIP = {"skip_bad_lines": "to set bad lines aside"}


def at(door: str, **settings: str) -> str:
    named = {name.replace("__", "."): purpose for name, purpose in settings.items()}
    return DataError("f: line 3: cause; correct it", settings=named).worded(
        option_writer(door.split())
    )


def test_without_settings_a_message_is_as_it_was():
    assert str(DataError("f: cause; do this")) == "f: cause; do this"
    assert str(XrtError()) == ""


def test_python_is_the_door_of_str():
    error = DataError("f: line 3: cause; correct it", settings=SKIP)
    assert str(error) == (
        "f: line 3: cause; correct it (or pass skip_bad_lines=True to set bad lines aside)"
    )
    assert error.message == "f: line 3: cause; correct it"
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("format", "", "format=..."),
        ("trainer.precision", "fp32", "precision='fp32'"),
        ("require_labels", "false", "require_labels=False"),
        ("label_separator", "null", "label_separator=None"),
        ("num_trees", "3", "num_trees=3"),
        ("path_weight", "0.5", "path_weight=0.5"),
        ("text_columns", "[title, body]", "text_columns=[title, body]"),
    ],
)
def test_values_are_written_as_python_has_them(name: str, value: str, written: str):
    assert errors.python_option(name, value) == written


@pytest.mark.parametrize(
    ("door", "ending"),
    [
        ("train", " (or pass dataset.skip_bad_lines=true to set bad lines aside)"),
        ("dataset.trn=a.csv", " (or pass dataset.skip_bad_lines=true to set bad lines aside)"),
        ("label c.csv i.csv", " (or pass --skip-bad-lines to set bad lines aside)"),
        ("predict M F", " (or pass --skip-bad-lines to set bad lines aside)"),
        ("evaluate M F", " (or pass --skip-bad-lines to set bad lines aside)"),
        ("explain M T", ""),
        ("inspect M", ""),
    ],
)
def test_each_command_writes_its_own_option_or_nothing(door: str, ending: str):
    assert at(door, **SKIP) == "f: line 3: cause; correct it" + ending


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_model_of_attributes_takes_fewer_options(command: str, tmp_path: Path):
    (tmp_path / "attributes.json").touch()
    advice = {"text_columns": "to name them", **SKIP}
    assert at(f"{command} {tmp_path} items.csv", **advice) == (
        "f: line 3: cause; correct it (or pass --skip-bad-lines to set bad lines aside)"
    )
    assert "--text-columns" in at(f"{command} {tmp_path / 'other'} items.csv", **advice)


def test_several_settings_and_those_that_the_door_lacks():
    assert at("train", format="to name it", require_labels="for none", **SKIP) == (
        "f: line 3: cause; correct it (or pass dataset.format=FORMAT to name it; or "
        "dataset.skip_bad_lines=true to set bad lines aside)"
    )


def test_lists_groups_and_full_names_in_training():
    assert training_option("label_column", "") == "dataset.label_columns=[NAME,...]"
    assert training_option("text_columns", "a,b") == "dataset.text_columns=[a,b]"
    assert training_option("encoder", "none") == "encoder=none"
    assert training_option("encoder", "no_such_preset") is None
    assert training_option("trainer.precision", "fp32") == "trainer.precision=fp32"
    assert training_option("seed", "1") == "seed=1"
    assert training_option("no_such_setting", "1") is None
    assert training_option("label_names", "") == "dataset.labels=LABELS"
    assert training_option("skip_bad_lines", "true", ["dataset.skip_bad_lines"]) is None


def test_choices_of_an_option_bound_the_advice():
    write = option_writer(["predict", "M", "F"])
    assert write("format", "jsonl") == "--format jsonl"
    assert write("format", "npz") is None
    assert write("format", "") is None


def test_every_command_has_a_table():
    for command in commands():
        assert option_writer(command.split())("no_such_setting", "") is None
    assert command_of(["audit", "apply", "s.jsonl"]) == "audit apply"
    assert command_of(["audit", "f.jsonl"]) == "audit"
    assert command_of(["--help"]) == command_of([]) == ""
    assert option_writer([])("skip_bad_lines", "true") == "skip_bad_lines=True"


def test_an_error_crosses_processes_with_its_advice():
    error = pickle.loads(pickle.dumps(DataError("f: cause", settings=SKIP)))
    assert error.settings == SKIP
    assert str(error).startswith("f: cause (or pass skip_bad_lines=True")
