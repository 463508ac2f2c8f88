"""The schema made from parameter dataclasses, faults in one line, every file of conf/."""

import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from xrt import config
from xrt.cli import main
from xrt.cli.doors import _training_fields
from xrt.errors import ConfigError
from xrt.former_settings import FORMER
from xrt.pipeline.params import PipelineParams

FOLDERS = config.conf_folders()
HAS_PIPELINE = importlib.util.find_spec("xrt.pipeline") is not None
needs_pipeline = pytest.mark.skipif(not HAS_PIPELINE, reason="xrt.pipeline is not there yet")


class Colour(str, Enum):
    red = "red"
    blue = "blue"


@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int = 3
    pair: tuple[float, float] = (0.5, 1.5)
    limits: tuple[int, int] | None = None
    columns: str | list[str] | None = None
    colour: Colour = Colour.red

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"width = {self.width}: at least 1 is needed")


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner(width=4)
    maybe: Inner | None = None
    names: list[str] | None = None
    needed: str
    seed: int = field(default=0)


def settings(**values: object) -> object:
    """What hydra would make of these settings."""
    return OmegaConf.merge(OmegaConf.structured(config.schema_of(Outer)), values)


def test_values_come_back_frozen_with_their_types():
    node = settings(
        needed="x",
        inner={"pair": [1, 2], "limits": [2, 5], "columns": ["a"], "colour": "blue"},
        maybe={"width": 7},
        names=["a"],
    )
    assert config.build(Outer, node) == Outer(
        needed="x",
        inner=Inner(width=4, pair=(1.0, 2.0), limits=(2, 5), columns=["a"], colour=Colour.blue),
        maybe=Inner(width=7),
        names=["a"],
    )


def test_defaults_are_those_of_the_dataclass():
    assert config.build(Outer, settings(needed="x")) == Outer(needed="x")


def test_faults_of_all_parts_are_told_together():
    node = settings(inner={"width": 0}, maybe={"width": -1})
    with pytest.raises(ConfigError) as caught:
        config.build(Outer, node)
    assert str(caught.value) == (
        "inner.width = 0: at least 1 is needed; maybe.width = -1: at least 1 is needed; "
        "needed: not given, and it has no default"
    )


def test_an_added_key_is_refused():
    node = settings(needed="x")
    OmegaConf.update(node, "inner.widht", 3, force_add=True)  # what +inner.widht=3 does
    with pytest.raises(ConfigError, match=r"^inner\.widht: no such setting"):
        config.build(Outer, node)


def test_settings_that_are_gone_are_none_of_today():
    names = {name for name, _ in _training_fields()}
    parts = {name.rpartition(".")[0] for name in names}
    assert not (names | parts) & set(FORMER)


@pytest.fixture
def clean_hydra() -> Iterator[None]:
    """Hydra as new, and the logging that it sets up undone."""
    GlobalHydra.instance().clear()
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    for handler in set(logging.root.handlers) - set(handlers):
        handler.close()
    logging.root.handlers, logging.root.level = handlers, level


@needs_pipeline
@pytest.mark.usefixtures("clean_hydra")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tree.brancing=3"], "tree.brancing: no such setting; did you mean branching?"),
        (["+tree.brancing=3"], "tree.brancing: no such setting; did you mean branching?"),
        (
            ["tree.branching=many"],
            "tree.branching: Value 'many' of type 'str' could not be converted",
        ),
        (["tree.branching=1"], "tree.branching = 1: at least 2 is needed"),
        (["tree=nope"], "Could not find 'tree/nope' Available options in 'tree'"),
        (["sede=1"], "sede: no such setting; did you mean seed?"),
        (["shortlist=auto"], "shortlist: no such setting now; leave it out; trees are"),
        (["shortlist.width=3"], "shortlist: no such setting now; leave it out; trees are"),
        (["features.max_df=0.5"], "features.max_df: no such setting now; leave it out; TF-IDF"),
        (["+encoder.lora.rank=4"], "encoder.lora: no such setting now; write encoder.lora_rank"),
        (["dataset.propensity_model=x"], "dataset.propensity_model: Invalid value 'x'"),
        (["seed:1"], "seed:1: not a setting; write key=value"),
        (
            ["encoder=none", "encoder.max_length=9"],
            "encoder.max_length=9: a part that is null has no settings; choose one",
        ),
    ],
)
def test_faults_stop_the_run_in_one_line(
    overrides: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xrt.pipeline.train", lambda *_, **__: pytest.fail("work was begun"))
    assert main(["train", *overrides]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"xrt: error: {message}")
    assert err.count("\n") == 1


@needs_pipeline
@pytest.mark.usefixtures("clean_hydra")
def test_an_older_file_of_settings_is_told_what_took_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiment").mkdir()
    older = "# @package _global_\ndataset:\n  propensity_a: 0.6\n"
    (tmp_path / "experiment" / "older.yaml").write_text(older)
    assert main(["train", f"--config-dir={tmp_path}", "experiment=older"]) == 2
    assert capsys.readouterr().err == (
        "xrt: error: dataset.propensity_a: no such setting now; choose "
        "dataset.propensity_model=default, wikipedia or amazon\n"
    )


DONE = SimpleNamespace(to_text=lambda: "trained", objective=None)


@needs_pipeline
@pytest.mark.usefixtures("clean_hydra")
def test_a_sweep_makes_one_folder_a_run_and_outlives_a_bad_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    begun = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "xrt.pipeline.train",
        lambda params, folder, *_: (begun.append((params.tree.branching, folder.name)), DONE)[1],
    )
    assert main(["train", "-m", "tree.branching=1,8,16", "name=s"]) == 2
    assert begun == [(8, "1"), (16, "2")]
    assert sorted(p.name for p in (tmp_path / "runs" / "s-sweep").iterdir() if p.is_dir()) == [
        "0",
        "1",
        "2",
    ]
    assert capsys.readouterr().err == "xrt: error: tree.branching = 1: at least 2 is needed\n"


class Returns(Callback):
    """Takes down what hydra hands to a sweeper for each run."""

    values: ClassVar[list[Any]] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        self.values.append(job_return.return_value)


@needs_pipeline
@pytest.mark.usefixtures("clean_hydra")
def test_a_sweeper_gets_the_objective_of_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def train(params: PipelineParams, *_: Any) -> SimpleNamespace:
        objective = None if params.tree.branching == 4 else params.tree.branching / 10
        return SimpleNamespace(to_text=lambda: "trained", objective=objective)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xrt.pipeline.train", train)
    monkeypatch.setattr(Returns, "values", [])
    callback = "+hydra.callbacks.returns._target_=tests.test_config.Returns"
    assert main(["train", "-m", callback, "tree.branching=1,2,4,5"]) == 2  # the first is refused
    assert Returns.values == [None, 0.2, None, 0.5]
    assert (tmp_path / "runs" / "demo-sweep").is_dir()


@needs_pipeline
@pytest.mark.usefixtures("clean_hydra")
def test_a_run_keeps_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folders = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "xrt.pipeline.train", lambda params, folder, *_: (folders.append(folder), DONE)[1]
    )
    assert [main(["train", "name=again"]) for _ in range(2)] == [0, 0]
    assert folders == [tmp_path / "runs" / "again"] * 2


def files_of(group: str) -> list[str]:
    return config.conf_groups().get(group, [])


GROUPS = (
    "dataset",
    "features",
    "linear",
    "tree",
    "encoder",
    "training",
    "ranker",
    "search",
    "trainer",
    "debug",
    "schema",
)
CHOICES = [(group, name) for group in GROUPS for name in files_of(group)]


@needs_pipeline
@pytest.mark.usefixtures("clean_hydra")
@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_group_file_fits_the_schema(group: str, name: str):
    composed = config.compose([f"{group}={name}"])
    assert config.build_all(config.settings_types(), composed) is not None


@needs_pipeline
@pytest.mark.usefixtures("clean_hydra")
@pytest.mark.parametrize("name", files_of("experiment"))
def test_every_preset_composes(name: str):
    composed = config.compose([f"experiment={name}"])
    assert composed.name == name
    assert config.build_all(config.settings_types(), composed) is not None


def test_every_group_has_a_file():
    assert [
        group for group in (*GROUPS, "paths", "hydra", "experiment") if not files_of(group)
    ] == []


@pytest.mark.parametrize("name", files_of("experiment"))
def test_a_preset_says_how_to_run_it_and_what_it_gave(name: str):
    files = [folder / "experiment" / f"{name}.yaml" for folder in FOLDERS]
    head = next(file for file in files if file.is_file()).read_text().splitlines()
    comments = "\n".join(line for line in head if line.startswith("#"))
    assert f"xrt train experiment={name}" in comments
    assert "measured" in comments


@needs_pipeline
def test_data_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, clean_hydra: None):
    monkeypatch.setenv("XRT_DATA", "/somewhere")
    assert config.compose([]).paths.data == "/somewhere"
    monkeypatch.delenv("XRT_DATA")
    assert config.compose([]).paths.data == "../shared/data"


def test_conf_inside_the_package_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "xrt"
    for folder in (tmp_path / "conf", package / "conf"):
        folder.mkdir(parents=True)
        monkeypatch.setattr(config, "__file__", str(package / "config.py"))
    with pytest.raises(ConfigError, match="install xrt again"):
        config.conf_folder()
    (tmp_path / "conf" / "train.yaml").touch()
    assert config.conf_folder() == tmp_path / "conf"
    (package / "conf" / "train.yaml").touch()
    assert config.conf_folder() == package / "conf"


@needs_pipeline
@pytest.mark.parametrize("preset", files_of("experiment"))
def test_a_preset_without_encoder_is_linear(preset):
    composed = config.compose([f"experiment={preset}", "encoder=none"])
    params, *_ = config.build_all(config.settings_types(), composed)
    assert params.encoder is None
