"""The commands on real files: what they print, and how they refuse what they cannot use."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from tests import ROOT
from tests.small_corpora import WORDS, make_rows, write_rows
from xrt.cli import main


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of its own, hydra as new, and the logging that it sets up undone."""
    GlobalHydra.instance().clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XRT_NUM_THREADS", "1")
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    for handler in set(logging.root.handlers) - set(handlers):
        handler.close()
    logging.root.handlers, logging.root.level = handlers, level


def settings(trn: Path, tst: Path | None = None, *more: str) -> list[str]:
    return ["train", "dataset=files", f"dataset.trn={trn}", "name=mine", "num_threads=1",
            "tree.max_leaf_size=4", *([] if tst is None else [f"dataset.tst={tst}"]),
            *(more or ["encoder=none"])]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """trn.jsonl, tst.jsonl and runs/mine/model, made by the command in a process of its own."""
    folder = tmp_path_factory.mktemp("trained")
    write_rows(folder / "trn.jsonl", make_rows(140, seed=0))
    tst = make_rows(30, seed=1)
    tst[0]["labels"] += ["NEVER SEEN"]
    write_rows(folder / "tst.jsonl", tst)
    names = "".join(f"{word.upper()}\tname of {word}\n" for word in WORDS)
    (folder / "labels.tsv").write_text(names)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    argv = settings(folder / "trn.jsonl", folder / "tst.jsonl")
    done = subprocess.run([sys.executable, "-m", "xrt", *argv], cwd=folder, env=env,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may spoil."""
    return Path(shutil.copytree(trained / "runs" / "mine" / "model", tmp_path / "model"))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must end with exit code 2 and one line, naming what is given."""

    def run(argv: list[str], *named: str) -> str:
        assert main(argv) == 2
        err = capsys.readouterr().err
        assert err.startswith("xrt: error: ")
        assert err.count("\n") == 1
        for what in named:
            assert what in err
        assert not list((tmp_path / "runs").glob("*/model"))
        assert not list((tmp_path / "runs").glob("*/report.html"))
        return err

    return run


def test_train_prints_the_figures_and_the_next_step(trained: Path):
    printed = (trained / "stdout.txt").read_text()
    lines = printed.splitlines()
    assert ["linear"] in [line.split() for line in lines]
    assert any(line.startswith("P@1 ") for line in lines)
    assert "1 labels were never seen in training; their 1 occurrences" in printed
    assert "xrt predict" in lines[-1]
    assert sorted(path.name for path in (trained / "runs" / "mine" / "model").iterdir()) == [
        "README.md", "choices.json", "features", "label_counts.npy", "labels.offsets.npy",
        "labels.tsv", "linear", "manifest.json", "model.json",
    ]  # fmt: skip


def predicted(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, Any]]:
    assert main(["predict", *argv]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_predict_reads_text_and_jsonl(model: Path, tmp_path: Path, capsys: Any):
    texts = [f"{WORDS[3]} and {WORDS[7]}", "", "\U0001f600 данные"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    records = [{"title": text, "id": n} for n, text in enumerate(texts)]
    write_rows(tmp_path / "texts.jsonl", records)
    of_text = predicted(capsys, str(model), "texts.txt", "-k", "3")
    of_jsonl = predicted(capsys, str(model), "texts.jsonl", "-k", "3")
    assert [record["text"] for record in of_text] == texts
    assert [record.pop("id") for record in of_jsonl] == ["0", "1", "2"]
    assert of_jsonl == of_text
    first = of_text[0]["suggestions"]
    assert {s["label"] for s in first} & {WORDS[3].upper(), WORDS[7].upper()}
    assert first[0]["name"] == f"name of {first[0]['label'].lower()}"
    assert [s["score"] for s in first] == sorted((s["score"] for s in first), reverse=True)
    assert len(first) == 3


def test_predict_reads_standard_input(
    model: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    text = f"{WORDS[3]} and {WORDS[7]}\n"
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(text.encode())))
    (tmp_path / "one.txt").write_text(text)
    assert predicted(capsys, str(model), "-") == predicted(capsys, str(model), "one.txt")


def test_evaluate_tells_what_training_told(trained: Path, model: Path, capsys: Any):
    assert main(["evaluate", str(model), str(trained / "tst.jsonl"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    manifest = json.loads((model / "manifest.json").read_text())
    assert report["metrics"] == pytest.approx(manifest["metrics"]["linear"])
    assert (report["num_unseen_labels"], report["num_unseen_pairs"]) == (1, 1)
    assert main(["evaluate", str(model), str(trained / "tst.jsonl"), "-k", "2"]) == 0
    printed = capsys.readouterr().out
    assert "@2" in printed.splitlines()[0]
    assert "1 labels in 1 true pairs were never seen in training" in printed


def test_inspect_tells_what_a_model_is(model: Path, capsys: Any):
    assert main(["inspect", str(model), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["kind"] == "linear"
    assert about["training"] == {"num_rows": 140, "num_labels": 24}
    assert about["configuration"]["dataset"]["trn"] == "trn.jsonl"
    assert about["bytes"].keys() >= {"labels.tsv", "linear", "features"}
    assert main(["inspect", str(model)]) == 0
    assert "linear model" in capsys.readouterr().out


GOOD = '{"title": "a", "labels": ["x"]}\n{"title": "b", "labels": ["y"]}\n'
BAD_FILES: dict[str, tuple[str, bytes | None, list[str]]] = {
    "missing": ("no.jsonl", None, ["no.jsonl: no such file"]),
    "empty": ("t.jsonl", b"", ["t.jsonl: the file is empty"]),
    "blank": ("t.jsonl", b"\n \n", ["t.jsonl: "]),
    "broken JSON": ("t.jsonl", (GOOD + '{"title": \n').encode(), ["t.jsonl: line 3: broken JSON"]),
    "not UTF-8": ("t.jsonl", GOOD.encode() + b'{"title": "\xff"}\n', ["t.jsonl: line 3"]),
    "no text": ("t.jsonl", (GOOD + '{"labels": ["x"]}\n').encode(), ["t.jsonl: line 3: no text"]),
    "no labels": ("t.jsonl", b'{"title": "a", "labels": []}\n', ["t.jsonl: none of the 1 rows"]),
    "no label column": ("t.jsonl", b'{"title": "a"}\n', ["t.jsonl", "labels"]),
    "one label": (
        "t.jsonl",
        b'{"title": "a", "labels": ["x"]}\n' * 3,
        ["t.jsonl: only one distinct label ('x')"],
    ),
    "weight NaN": ("t.jsonl", b'{"title": "a", "labels": {"x": NaN}}\n', ["t.jsonl: line 1"]),
    "header too high": ("t.txt", b"3 2 2\n0 0:1\n1 1:1\n", ["t.txt: line 1", "3 rows", "has 2"]),
    "header too low": ("t.txt", b"1 2 2\n0 0:1\n1 1:1\n", ["t.txt: line 3", "1 rows"]),
    "no header": ("t.txt", b"0 0:1\n1 1:1\n", ["t.txt: line 1"]),
    "feature out of range": ("t.txt", b"2 2 2\n0 0:1\n1 2:1\n", ["t.txt: line 3", "feature 2"]),
    "label out of range": ("t.txt", b"2 2 2\n0 0:1\n2 1:1\n", ["t.txt: line 3", "label 2"]),
    "feature NaN": ("t.txt", b"2 2 2\n0 0:nan\n1 1:1\n", ["t.txt: line 2"]),
    "feature infinite": ("t.txt", b"2 2 2\n0 0:1\n1 1:1e999\n", ["t.txt: line 3"]),
    "ragged CSV": ("t.csv", b"text,labels\na,x\nb,y,z\n", ["t.csv: line 3"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_training_refuses_a_bad_file(case: str, refused: Callable[..., str], tmp_path: Path):
    name, data, named = BAD_FILES[case]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    refused(settings(tmp_path / name), *named)


def test_training_refuses_a_bad_test_file(
    trained: Path, tmp_path: Path, refused: Callable[..., str]
):
    (tmp_path / "tst.jsonl").write_text(GOOD + "{\n")
    refused(settings(trained / "trn.jsonl", tmp_path / "tst.jsonl"), "tst.jsonl: line 3")
    refused(settings(trained / "trn.jsonl", tmp_path / "tts.jsonl"), "did you mean tst.jsonl?")
    alone = [f"dataset.tst={trained / 'tst.jsonl'}", "name=mine"]
    refused(["train", "dataset=files", *alone], "dataset.trn: not given")
    refused(["train", *alone], "dataset.tst is given without dataset.trn")


def test_training_refuses_an_encoder_on_rows_of_features(
    tmp_path: Path, refused: Callable[..., str]
):
    (tmp_path / "t.txt").write_bytes(b"2 2 2\n0 0:1\n1 1:1\n")
    refused(settings(tmp_path / "t.txt", None, "encoder=tiny"), "t.txt", "encoder=none")


def test_odd_rows_are_trained_on_and_counted(tmp_path: Path, capsys: Any):
    """1 MB in a row, emoji and mixed scripts, an empty text, a row twice, one without labels."""
    rows = make_rows(40, seed=0)
    rows += [rows[0], {"title": "word " * 200_000, "labels": ["LONG"]},
             {"title": "\U0001f600 данные 数据 \u202e", "labels": ["\U0001f600"]},
             {"title": "", "labels": ["LONG"]}, {"title": "nothing", "labels": []}]  # fmt: skip
    trn = write_rows(tmp_path / "trn.jsonl", rows)
    tst = write_rows(tmp_path / "tst.jsonl", [{"title": "a", "labels": ["NEW", "NEWER"]}] * 2)
    assert main(settings(trn, tst)) == 0
    printed = capsys.readouterr().out
    for told in (
        "trn.jsonl: 45 rows read",
        "1 rows have an empty text",
        "1 rows have no label",
        "1 rows repeat an earlier row",
        "tst.jsonl: 2 labels were never seen in training; their 4 occurrences",
    ):
        assert told in printed
    (found,) = predicted(capsys, "runs/mine/model", str(write_rows(
        tmp_path / "q.jsonl", [{"title": "\U0001f600 данные 数据"}])), "-k", "1")  # fmt: skip
    assert found["suggestions"]


MODEL_COMMANDS = (["predict", "MODEL", "tst"], ["evaluate", "MODEL", "tst"], ["inspect", "MODEL"])


def spoil(folder: Path, how: str) -> str:
    """Damage a model; returns what the message must name."""
    weights = folder / "linear" / "0" / "level.1" / "entry_values.npy"
    if how == "missing":
        shutil.rmtree(folder)
        return "model: does not exist"
    if how == "no manifest":
        (folder / "manifest.json").unlink()
        return "model: has no manifest.json"
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-8])
        return "linear/0/level.1/entry_values.npy"
    if how == "a file gone":
        (folder / "model.json").unlink()
        return "model.json"
    if how == "manifest altered":
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace('"num_rows": 140', '"num_rows": 141'))
        return "manifest.json: has been altered"
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"format_version": 2', '"format_version": 3'))
    return "format version 3, but this xrt reads 2; update xrt"


@pytest.mark.parametrize("command", MODEL_COMMANDS, ids=lambda argv: argv[0])
@pytest.mark.parametrize(
    "how",
    ["missing", "no manifest", "truncated", "a file gone", "manifest altered", "newer format"],
)
def test_a_model_that_is_not_whole_is_refused(
    command: list[str], how: str, trained: Path, model: Path, refused: Callable[..., str]
):
    named = spoil(model, how)
    places = {"MODEL": str(model), "tst": str(trained / "tst.jsonl")}
    refused([places.get(word, word) for word in command], named)


@pytest.mark.parametrize("command", MODEL_COMMANDS[:2], ids=lambda argv: argv[0])
def test_an_altered_byte_is_noticed_before_use(
    command: list[str], trained: Path, model: Path, refused: Callable[..., str]
):
    weights = model / "linear" / "0" / "level.1" / "entry_values.npy"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    places = {"MODEL": str(model), "tst": str(trained / "tst.jsonl")}
    refused([places.get(word, word) for word in command], "entry_values.npy")


def test_predict_writes_nothing_when_a_line_is_bad(
    model: Path, tmp_path: Path, refused: Callable[..., str]
):
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": \n')
    refused(["predict", str(model), "in.jsonl", "--out", "out.jsonl"], "in.jsonl: line 2")
    assert not (tmp_path / "out.jsonl").exists()
    assert not list(tmp_path.glob(".tmp-*"))


def test_evaluate_refuses_a_file_it_cannot_use(
    model: Path, tmp_path: Path, refused: Callable[..., str]
):
    (tmp_path / "bow.txt").write_bytes(b"2 2 2\n0 0:1\n1 1:1\n")
    refused(["evaluate", str(model), "bow.txt"], "bow.txt: has no texts")
    refused(["evaluate", str(model), "gone.jsonl"], "gone.jsonl: no such file")
    (tmp_path / "no.jsonl").write_text('{"title": "a", "labels": []}\n')
    refused(["evaluate", str(model), "no.jsonl"], "no.jsonl", "label")


def test_a_file_where_the_run_folder_should_be(
    trained: Path, tmp_path: Path, refused: Callable[..., str]
):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").write_text("in the way")
    refused(settings(trained / "trn.jsonl"), "runs/mine: File exists")
    assert (tmp_path / "runs" / "mine").read_text() == "in the way"
