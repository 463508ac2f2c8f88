"""No command writes over what it reads, whatever the file is called."""

import os
from pathlib import Path

import pytest

from xrt.cli import main
from xrt.errors import ConfigError
from xrt.storage.outputs import refuse_inputs_as_outputs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """in.csv under several names, a folder of clicks, and folders that stand for models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("kept")
    (tmp_path / "link.csv").symlink_to("in.csv")
    os.link("in.csv", "hard.csv")
    for name in ("clicks", "model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.csv").write_text("kept")
    (tmp_path / "filler").mkdir()
    (tmp_path / "filler" / "attributes.json").write_text("{}")
    (tmp_path / "to_model").symlink_to("model")
    return tmp_path


COMMANDS = {
    "itself": "predict model in.csv --out in.csv",
    "another way to it": "predict model in.csv --out ./model/../in.csv",
    "link": "predict model in.csv --out link.csv",
    "read by link": "predict model link.csv --out in.csv",
    "hard link": "predict model in.csv --out hard.csv",
    "allowed": "predict model other.txt --allowed in.csv --out hard.csv",
    "in the model": "predict model in.csv --out model/new.jsonl",
    "in the model by link": "predict to_model in.csv --out model/new.jsonl",
    "the model": "predict model in.csv --out model",
    "review": "predict filler in.csv --out out.csv --review in.csv",
    "review and out": "predict filler in.csv --out out.csv --review out.csv",
    "label clicks": "label in.csv items.csv --out in.csv",
    "label catalogue": "label clicks link.csv --out hard.csv",
    "label names": "label clicks items.csv --names in.csv --out link.csv",
    "label paths": "label clicks items.csv --paths in.csv --out in.csv",
    "label in the log": "label clicks items.csv --out clicks/out.jsonl",
    "apply corpus": "audit apply s.jsonl --corpus in.csv --out hard.csv",
    "apply suggestions": "audit apply in.csv --corpus c.csv --out link.csv",
    "apply accepted": "audit apply s.jsonl --corpus c.csv --accept in.csv --out in.csv",
    "apply decisions": "audit apply s.jsonl --corpus c.csv --decisions in.csv --out hard.csv",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_is_an_input_is_refused(name: str, folder: Path, capsys):
    assert main(COMMANDS[name].split()) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "; name another" in err
    assert "is a file that is " in err or "which is read" in err
    assert (folder / "in.csv").read_text() == "kept"
    assert sorted(path.name for path in (folder / "model").iterdir()) == ["part.csv"]


def test_decisions_that_an_audit_would_write_over(folder: Path, capsys):
    (folder / "audit").mkdir()
    (folder / "audit" / "suggestions.jsonl").write_text("edited by hand")
    assert main(["audit", "c.jsonl", "--decisions", "audit/suggestions.jsonl"]) == 2
    assert "--out writes suggestions.jsonl; audit/suggestions.jsonl: is a file that is read" in (
        capsys.readouterr().err
    )
    assert (folder / "audit" / "suggestions.jsonl").read_text() == "edited by hand"


def test_devices_and_other_files_may_be_named(folder: Path):
    refuse_inputs_as_outputs({"--out": "/dev/null"}, {"FILE": "/dev/null"})
    refuse_inputs_as_outputs({"--out": "new.csv"}, {"FILE": "-", "--allowed": None})
    refuse_inputs_as_outputs({"--out": None}, {"FILE": "in.csv"}, {"MODEL": "model"})
    refuse_inputs_as_outputs({"--out": "models.csv"}, {"FILE": "in.csv"}, {"MODEL": "model"})
    with pytest.raises(ConfigError, match="written by another option, too"):
        refuse_inputs_as_outputs({"--out": "new.csv", "--review": "./new.csv"}, {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("audit in.csv --noise 0.1", "--noise: has no effect without --self-test"),
        ("audit in.csv --self-test --test in.csv", "--test: has no effect with --self-test"),
        ("audit in.csv --self-test --paths in.csv", "--paths: has no effect with --self-test"),
        ("audit in.csv --self-test --decisions in.csv", "--decisions: has no effect with"),
        ("explain model text -k 3 --labels a", "-k: has no effect with --labels"),
    ],
)
def test_options_without_effect_are_refused(words: str, message: str, folder: Path, capsys):
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err
