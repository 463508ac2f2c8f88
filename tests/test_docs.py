"""README.md, CONTRIBUTING.md and docs/: what they say is so."""

import argparse
import ast
import importlib.util
import re
import runpy
import tomllib
from pathlib import Path

import pytest

import xrt
from tests import ROOT
from xrt.applications import applications
from xrt.cli.parsers import main_parser

CHECKS = runpy.run_path(str(ROOT / "scripts" / "check_docs.py"))
DOCUMENTS = CHECKS["documents"]()
ANYTHING = "\u2026"  # stands in documents and templates for names and numbers


def test_links_presets_settings_records_and_length():
    assert CHECKS["faults"]() == []


def test_faults_of_documents_are_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("[x](nowhere.md) `encoder=minilmm` `matcher.patiense=3` `matcher.patience`")
    known, names = CHECKS["groups"](), CHECKS["settings"]()
    unknown = CHECKS["unknown_names"].__globals__
    unknown["ROOT"] = tmp_path
    try:
        assert CHECKS["broken_links"](page) == ["page.md: nowhere.md: no such file"]
        assert CHECKS["unknown_names"](page, known, names) == [
            "page.md: encoder=minilmm: no such choice",
            "page.md: matcher.patiense: no such setting",
        ]
    finally:
        unknown["ROOT"] = ROOT


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_compile_and_their_names_exist(path: Path):
    blocks = re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL)
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
                if node.module == "xrt":
                    assert {alias.name for alias in node.names} <= set(xrt.__all__)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_modules_and_files_that_are_named_exist(path: Path):
    text = path.read_text()
    for name in re.findall(r"`((?:xrt|tests|scripts|conf|bench|examples)/[\w./-]+)`", text):
        assert "<" in name or "mine" in name or (ROOT / name).exists(), name
    for name in re.findall(r"`(xrt(?:\.[a-z_]+)+)`", text):
        importlib.import_module(name)


def string_of(node: ast.AST) -> str | None:
    """A string of the source, with ANYTHING where values are put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-\d.]*[sdrfg]", ANYTHING, node.value)
    if isinstance(node, ast.JoinedStr):
        parts = [v.value if isinstance(v, ast.Constant) else ANYTHING for v in node.values]
        return "".join(str(part) for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = string_of(node.left), string_of(node.right)
        return None if left is None or right is None else left + right
    return None


def test_messages_of_troubleshooting_are_those_of_the_code():
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    messages = re.findall(r"^`([^`\n]+)`\n: ", text, flags=re.MULTILINE)
    assert len(messages) > 20
    trees = (ast.parse(path.read_text()) for path in (ROOT / "xrt").rglob("*.py"))
    strings = {string_of(node) for tree in trees for node in ast.walk(tree)} - {None}
    assert [m for m in messages if not any(m in string for string in strings)] == []


def all_options() -> set[str]:
    """The options of all commands, those of applications included."""
    parsers: list[argparse.ArgumentParser] = []
    for action in main_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers += action.choices.values()
    for application in applications():
        for command in application.commands:
            parsers += [command.parser(name) for name in (command.name, *command.parts)]
    return {option for parser in parsers for a in parser._actions for option in a.option_strings}


def test_options_that_the_documents_name_exist():
    known = all_options() | {"--debug", "--version"}
    elsewhere = {"--preload", "--user", "--gpus", "--rm", "--shm-size", "--build-arg", "--peers",
                 "--systems", "--compare", "--full", "--keep-going", "--fix", "--fast",
                     "--force"}  # fmt: skip
    for path in DOCUMENTS:
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for code in re.findall(r"`([^`\n]+)`", text):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code):
                assert option in known | elsewhere, f"{path.name}: no command has {option}"


def test_glossary_has_each_word_once():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index("## Glossary") : text.index("## A new source")]
    words = [w.strip() for row in re.findall(r"^\| ([^|]+) \|", table, flags=re.MULTILINE)
             for w in row.split(",")]  # fmt: skip
    assert len(words) == len(set(words))
    for word in ("instance", "node", "leaf", "matcher", "source", "fusion", "held-out rows"):
        assert word in words


def test_changelog_names_the_version_and_what_is_not_released():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in text
    assert f"## {xrt.__version__}" in text


def test_workflows_run_scripts_that_exist_on_every_supported_python():
    yaml = pytest.importorskip("yaml")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    marks = [c.rpartition(" :: ")[2] for c in project["classifiers"]]
    supported = [mark for mark in marks if re.fullmatch(r"3\.\d+", mark)]
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert [path.stem for path in workflows] == ["ci", "docs", "release"]
    for path in workflows:
        jobs = yaml.safe_load(path.read_text())["jobs"]
        commands = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
        for name in re.findall(r"(?:scripts|\.ci)/[\w.]+", "\n".join(commands)):
            assert (ROOT / name).is_file(), f"{path.name}: no {name}"
        for name in re.findall(r"-m ([\w.]+)", "\n".join(commands)):
            assert importlib.util.find_spec(name), f"{path.name}: no module {name}"
        for step in (step for job in jobs.values() for step in job["steps"]):
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@\S+", step.get("uses", "a/b@c")), step
    tested = yaml.safe_load(workflows[0].read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert tested["python"] == supported


def test_forms_and_hooks_can_be_read():
    yaml = pytest.importorskip("yaml")
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        assert path.stem == "config" or {"name", "description", "body"} <= set(form)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
