"""An application is one folder: what it adds is found, and nothing else knows its name."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from xrt import applications, cli, config
from xrt.applications import Application, Command
from xrt.cli import doors, parsers


@dataclass(frozen=True, kw_only=True)
class ToySettings:
    sparkle: int = 0
    """How much; 0: not at all."""


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xrt toy")
    parser.add_argument("--glitter", metavar="N")
    return parser


def _run(argv: Sequence[str]) -> int:
    sys.stdout.write(f"glitter {_parser('toy').parse_args(argv).glitter}\n")
    return 0


class Toy(Application):
    name = "toy"
    commands = (Command("toy", "play", _run, _parser, option_names={"seed": "glitter"}),)
    conf_groups = MappingProxyType({"sparkles": "none"})

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def conf_folder(self) -> Path:
        return self.folder

    def settings_type(self) -> type:
        return ToySettings

    def hooks(self, settings: Any, params: Any) -> Any:
        return ("toy hooks", settings.sparkle) if settings.sparkle else None

    def owns_model(self, folder: str) -> bool:
        return folder == "toy-model"

    def evaluate(self, arguments: argparse.Namespace) -> int:
        sys.stdout.write(f"toy evaluated {arguments.file}\n")
        return 0


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    for name, text in (("none", "# @package _global_\nsparkle: 0\n"),
                       ("much", "# @package _global_\nsparkle: 9\n")):  # fmt: skip
        file = tmp_path / "conf" / "sparkles" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    one = Toy(tmp_path / "conf")
    both = (*applications.applications(), one)
    for module in (applications, parsers, config):
        monkeypatch.setattr(module, "applications", lambda: both)
    monkeypatch.setattr("xrt.cli.train.applications", lambda: both)
    config.settings_type.cache_clear()
    GlobalHydra.instance().clear()
    yield one
    config.settings_type.cache_clear()
    GlobalHydra.instance().clear()


def test_the_folders_are_found():
    names = [one.name for one in applications.applications()]
    folders = Path(applications.__file__).parent.glob("*/application.py")
    assert names == sorted(path.parent.name for path in folders)


def test_a_command_is_added(toy: Toy, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["toy", "--glitter", "3"]) == 0
    assert capsys.readouterr().out == "glitter 3\n"
    assert "play" in parsers.main_parser().format_help()
    assert doors.option_writer(["toy"])("seed", "4") == "--glitter 4"


def test_a_model_of_its_kind_is_evaluated_by_it(toy: Toy, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["evaluate", "toy-model", "rows.jsonl"]) == 0
    assert capsys.readouterr().out == "toy evaluated rows.jsonl\n"


def test_settings_groups_and_hooks_reach_training(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hooks: list[Any] = []
    done = SimpleNamespace(to_text=lambda: "trained", objective=None)
    monkeypatch.setattr(
        "xrt.pipeline.train", lambda params, folder, progress, own, *_: (hooks.append(own), done)[1]
    )
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train"]) == 0
    assert cli.main(["train", "sparkles=much"]) == 0
    assert cli.main(["train", "sparkles=much", "sparkle=2"]) == 0
    assert hooks == [None, ("toy hooks", 9), ("toy hooks", 2)]
