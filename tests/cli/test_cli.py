"""The command line without a model: a stand-in for `xrt.predict` answers."""

import gzip
import json
import os
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt import cli
from xrt.cli.text_input import Line, LineReader, read_chunks
from xrt.data.corpus import Corpus, LabelTable
from xrt.data.jsonl import read_jsonl
from xrt.data.options import ReadOptions
from xrt.errors import ArtifactError, DataError
from xrt.estimators import XRLinear


@dataclass
class Suggestion:
    label: str
    name: str
    score: float


class EchoPredictor:
    """Suggests the words of the text, longest first, scored by length / 10."""

    @classmethod
    def load(cls, path: str, compute: str = "auto", expect: str | None = None) -> "EchoPredictor":
        if path == "missing":
            raise ArtifactError("missing: does not exist;\ngive the folder of a saved model")
        return cls()

    def threshold(self, min_score: float | str) -> float:
        return float(min_score)

    def predict(
        self, texts: list[str], k: int, min_score: float, tail: float = 0.0
    ) -> list[list[Suggestion]]:
        rows = [sorted(text.split(), key=len, reverse=True)[:k] for text in texts]
        told = [[Suggestion(word, word.upper(), len(word) / 10) for word in row] for row in rows]
        return [[s for s in found if s.score >= min_score] for found in told]


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("xrt.predict")
    module.Predictor = EchoPredictor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xrt.predict", module)


def batches(
    data: bytes, batch_size: int = 100, format: str = "auto", **options: Any
) -> list[list[Line]]:
    reading = ReadOptions(require_labels=False, **options)
    return list(LineReader("in.txt", format, reading).batches([data], batch_size))


def test_a_text_a_line_empty_lines_too():
    assert batches(b"\xef\xbb\xbfone\n\nthree\r\nfour") == [
        [Line("one", None), Line("", None), Line("three", None)],
        [Line("four", None)],
    ]


def test_jsonl_is_read_as_training_reads_it(tmp_path: Path):
    lines = b'{"text": "a", "id": 7}\n{"title": "b", "content": "c"}\n\n{"title": "d"}\n'
    (tmp_path / "trn.jsonl").write_bytes(lines)
    corpus = read_jsonl(tmp_path / "trn.jsonl", ReadOptions(require_labels=False))
    (batch,) = batches(lines)
    assert [line.text for line in batch] == corpus.texts == ["a", "b\nc", "d"]
    assert [line.id for line in batch] == ["7", None, None]


def test_named_columns_make_the_text():
    (batch,) = batches(
        b'{"text": "a", "brand": "b", "colour": "c"}\n', text_columns=["colour", "brand"]
    )
    assert batch == [Line("c\nb", None)]


def test_batches_hold_at_most_batch_size():
    assert [len(b) for b in batches(b"a\nb\nc\nd\ne\n", batch_size=2)] == [2, 2, 1]


def test_lines_that_straddle_chunks_are_whole():
    found = list(LineReader("in.txt").batches([b"on", b"e\ntw", b"o"], 100))
    assert [line.text for batch in found for line in batch] == ["one", "two"]


def test_plain_text_that_opens_with_a_brace():
    assert batches(b"{curly}\n", format="text") == [[Line("{curly}", None)]]


def test_packed_files_are_read_as_they_are(tmp_path: Path):
    (tmp_path / "t.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert b"".join(read_chunks(str(tmp_path / "t.gz"))) == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"good\nb\xe4d\n", r"in\.txt: line 2: byte 2 is not UTF-8"),
        (b'{"text": "a"}\n{"text": \n', r"in\.txt: line 2: broken JSON .*--format text"),
        (b'{"text": "a"}\n["b"]\n', r"in\.txt: line 2: a JSON list"),
        (b'{"text": {}}\n', r"in\.txt: line 1: 'text' holds an object"),
        (b'{"label": "x"}\n', r"in\.txt: line 1: no text under text, title, content"),
        (b'{"text": "a"}\n' + b"[" * 100_000, r"in\.txt: line 2: "),
    ],
)
def test_bad_lines_are_named(data: bytes, message: str):
    with pytest.raises(DataError, match=message):
        batches(data)


def test_lines_before_a_pause_are_not_held_back(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    command = ["cat > pipe"]
    with subprocess.Popen(command, shell=True, cwd=tmp_path, stdin=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        answers = LineReader("pipe").batches(read_chunks(str(tmp_path / "pipe")), 100)
        writer.stdin.write(b"first\nsec")
        writer.stdin.flush()
        assert next(answers) == [Line("first", None)]
        writer.stdin.write(b"ond\n")
        writer.stdin.close()
        assert list(answers) == [[Line("second", None)]]


@pytest.mark.usefixtures("echo")
def test_predict_writes_one_record_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = tmp_path / "texts.txt"
    source.write_text("blue shoes\n\n")
    assert cli.main(["predict", "m", str(source), "-k", "1"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {
        "text": "blue shoes",
        "suggestions": [{"label": "shoes", "name": "SHOES", "score": 0.5}],
    }
    assert second == {"text": "", "suggestions": []}


def test_the_kind_of_arithmetic_reaches_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["predict", str(tmp_path / "none"), "--compute", "fp8"]) == 2
    assert "compute = 'fp8': choose one of auto, fp32" in capsys.readouterr().err


@pytest.mark.usefixtures("echo")
def test_min_score_drops_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = tmp_path / "texts.txt"
    source.write_text("blue shoes\n")
    assert cli.main(["predict", "m", str(source), "--min-score", "0.45"]) == 0
    assert [s["label"] for s in json.loads(capsys.readouterr().out)["suggestions"]] == ["shoes"]


def test_files_of_allowed_and_forbidden_labels_reach_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["red", "blue", "mug", "lamp"], 3)) for _ in range(40)]
    Y_NL = np.array([[word in text for word in ("red", "blue", "mug")] for text in texts])
    keep = Y_NL.any(1)
    corpus = Corpus(
        texts=[text for text, kept in zip(texts, keep, strict=True) if kept],
        Y=sp.csr_array(Y_NL[keep].astype(np.float32)),
        labels=LabelTable.from_ids(["r", "b", "m"]),
    )
    model, source = str(XRLinear().fit(corpus).save(tmp_path / "m")), tmp_path / "texts.txt"
    source.write_text("red mug\nblue mug\n")
    (tmp_path / "some.tsv").write_text("r\tRed\n\nm\n")
    (tmp_path / "one.txt").write_text("m\n")

    def told(*arguments: str) -> list[set[str]]:
        assert cli.main(["predict", model, str(source), *arguments]) == 0
        lines = capsys.readouterr().out.splitlines()
        return [{s["label"] for s in json.loads(line)["suggestions"]} for line in lines]

    some, one = str(tmp_path / "some.tsv"), str(tmp_path / "one.txt")
    assert told() == [{"r", "b", "m"}] * 2
    assert told("--allowed", some) == [{"r", "m"}] * 2
    assert told("--forbidden", one) == [{"r", "b"}] * 2
    assert told("--allowed", some, "--forbidden", one) == [{"r"}] * 2
    (tmp_path / "one.txt").write_text("m\nx\n")
    assert cli.main(["predict", model, str(source), "--forbidden", one]) == 2
    assert "one.txt: line 2: label 'x' is none of the model's 3" in capsys.readouterr().err


@pytest.mark.usefixtures("echo")
def test_out_file_is_whole_or_absent(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source, out = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    source.write_bytes(b"fine\n" + b"x" * (1 << 20) + b"\n\xff\n")
    assert cli.main(["predict", "m", str(source), "--out", str(out)]) == 2
    assert sorted(tmp_path.iterdir()) == [source]
    source.write_text('{"text": "half \\ud800 pair", "id": "a"}\n')
    assert cli.main(["predict", "m", str(source), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["text"] == "half \ufffd pair"
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["predict", "missing"],
            "xrt: error: missing: does not exist; give the folder of a saved model",
        ),
        (["predict", "m", "no/no.txt"], "xrt: error: no/no.txt: no such file"),
    ],
)
def test_faults_are_one_line_and_exit_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupted(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", interrupted)
    assert cli.main(["inspect", "m"]) == 130
    assert capsys.readouterr().err == "xrt: interrupted\n"


@pytest.mark.parametrize("argv", [[], ["tag"], ["predict"], ["predict", "m", "-k", "0"]])
def test_wrong_usage_exits_2(argv: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    assert "usage: xrt" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error():
    script = (
        "import sys; from xrt import cli\n"
        "def flood(argv):\n"
        "    while True: print('x' * 1000)\n"
        "cli._dispatch = flood\n"
        "sys.exit(cli.main([]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), errors) == (141, b"")


def test_module_and_command_are_the_same():
    done = subprocess.run(
        [sys.executable, "-m", "xrt", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("xrt 0.")


def test_inspect_tells_kind_sizes_and_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from xrt.storage.artifact import write_artifact

    def write(folder: Path) -> None:
        (folder / "ranker").mkdir()
        (folder / "ranker" / "a.txt").write_bytes(b"x" * 2000)

    write_artifact(tmp_path / "m", write, {"kind": "linear", "metrics": {"P": {"@1": 0.51234}}})
    assert cli.main(["inspect", str(tmp_path / "m")]) == 0
    shown = capsys.readouterr().out
    assert "linear model, 2.0 kB" in shown
    assert "P.@1  0.5123" in shown
    assert "ranker  2.0 kB" in shown
    assert cli.main(["inspect", str(tmp_path / "m"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == {"ranker": 2000}
