"""The reference of settings: complete, the same in help and documentation, and quick."""

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated

import pytest

from xrt import cli
from xrt.cli.reference import field_docstrings, parts_of, reference, to_markdown, with_values
from xrt.ranges import at_least

ROOT = Path(__file__).resolve().parents[2]


class _Kind(str, Enum):
    one = "one"
    two = "two"


@dataclass(frozen=True)
class _Inner:
    """What is inside.

    More of it.
    """

    width: Annotated[int, at_least(1)] = 3
    """How wide,
    in rows."""
    kinds: list[str] | None = None


@dataclass(frozen=True)
class _Outer:
    kind: _Kind = _Kind.one
    """Which kind."""
    inner: _Inner | None = field(default_factory=_Inner)
    switch: bool = False


def test_a_setting_has_name_default_what_it_may_be_and_its_meaning():
    whole, inner = parts_of(_Outer)
    assert [(each.name, each.allowed, each.meaning) for each in whole.settings] == [
        ("kind", "one, two", "Which kind."),
        ("switch", "true or false", ""),
    ]
    assert (inner.name, inner.meaning) == ("inner", "What is inside.")
    width, kinds = inner.settings
    assert (width.name, width.default, width.allowed) == (
        "inner.width", 3, "whole number, at least 1"
    )  # fmt: skip
    assert width.meaning == "How wide, in rows."
    assert kinds.allowed == "list of texts, or null"


def test_fields_of_a_base_class_have_their_texts():
    class Derived(_Inner):
        pass

    assert field_docstrings(Derived) == {"width": "How wide, in rows."}


def test_values_of_a_configuration_replace_defaults_except_within_null():
    whole, inner = with_values(list(parts_of(_Outer)), {"switch": True, "inner": None})
    assert [each.default for each in whole.settings] == [_Kind.one, True]
    assert inner.settings[0].default == 3


def test_every_setting_has_a_meaning():
    parts, _ = reference([])
    assert [each.name for part in parts for each in part.settings if not each.meaning] == []


def test_the_page_of_the_documentation_is_what_the_code_says():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == to_markdown(*reference([])), "run: python scripts/write_settings.py"


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_prints_each_setting_with_its_value_and_meaning(option, capsys):
    assert cli.main(["train", option, "encoder=none", "num_trees=3"]) == 0
    out = capsys.readouterr().out
    assert "num_trees = 3  [whole number, at least 1]\n      Trees of the linear model" in out
    assert "tree.branching = 16  [whole number, at least 2]" in out
    for part in reference([])[0]:
        for each in part.settings:
            assert re.search(rf"^  {re.escape(each.name)} = ", out, re.MULTILINE), each.name


def test_help_refuses_what_is_no_setting(capsys):
    assert cli.main(["train", "--help", "tree.branchin=3"]) == 2
    assert "tree.branchin: no such setting" in capsys.readouterr().err
