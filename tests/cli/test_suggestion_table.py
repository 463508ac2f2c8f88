"""What `xrt predict` writes: a table where a person looks, JSON lines elsewhere."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from xrt.cli.suggestion_table import LONG_BAR, SHORT_BAR, SuggestionTable
from xrt.cli.text_input import Line
from xrt.predict import Suggestion

ROWS = [
    Suggestion("1", "Chargers", 0.96),
    Suggestion("2", "", 0.5),
    Suggestion("3", "A \x1b[31mname\x07 of [bold]many words[/bold]", 0.0),
]


def written(monkeypatch, width: int, line: Line, rows: list[Suggestion], encoding="utf-8") -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    raw = io.BytesIO()
    target = io.TextIOWrapper(raw, encoding=encoding)
    SuggestionTable(target).write(line, rows)
    target.flush()
    return raw.getvalue().decode(encoding)


def test_each_label_has_a_bar_a_score_and_a_name(monkeypatch):
    text = written(monkeypatch, 80, Line("usb-c charger", "a7"), ROWS)
    head, first, second, third, *rest = text.split("\n")
    assert head == "a7  usb-c charger"
    assert first == "  " + "━" * 19 + "─ 0.960 Chargers  1"
    assert second == "  " + "━" * 10 + "─" * 10 + " 0.500 2"
    # what a text or a name holds is neither a colour nor a control sign
    assert third == "  " + "─" * LONG_BAR + " 0.000 A [31mname of [bold]many words[/bold]  3"
    assert rest == ["", ""]


@pytest.mark.parametrize("width", [20, 34, 59, 60, 200])
def test_no_line_is_longer_than_the_terminal(monkeypatch, width):
    lines = written(monkeypatch, width, Line("a text " * 50, None), ROWS).split("\n")
    assert len(lines) == 6
    assert max(map(len, lines)) <= width
    assert lines[0].endswith("…")
    if width >= 34:
        assert lines[1].count("━") == round(0.96 * (LONG_BAR if width >= 60 else SHORT_BAR))
        assert "0.960 Chargers" in lines[1]


def test_without_labels_it_says_so_and_an_empty_text_is_named(monkeypatch):
    text = written(monkeypatch, 80, Line("\x00 ", None), [])
    assert text == "(empty text)\n  no label scores enough\n\n"


def test_a_terminal_that_has_no_blocks_gets_ascii(monkeypatch):
    text = written(monkeypatch, 80, Line("t", None), ROWS[:1], "ascii")
    assert "  ###################. 0.960 Chargers" in text


def in_a_terminal(words: list[str], folder: Path, **environment: str) -> str:
    """What a command writes to a terminal of 70 columns."""
    leader, follower = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"COLUMNS": "70", "TERM": "xterm-256color", "LANG": "C.UTF-8", **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "xrt", "predict", *words],
        stdin=subprocess.DEVNULL, stdout=follower, stderr=subprocess.PIPE, cwd=folder, env=env,
    )  # fmt: skip
    os.close(follower)
    output = b""
    try:
        while chunk := os.read(leader, 65536):
            output += chunk
    except OSError:  # the terminal is gone when the process ends
        pass
    os.close(leader)
    assert process.stderr is not None
    with process.stderr:
        assert process.wait(60) == 0, process.stderr.read()
    return output.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("texts") / "texts.txt"
    file.write_text("kati lore\nmiso\n")
    return file


def test_a_terminal_gets_a_table_and_a_pipe_gets_json(small_model, texts):
    words = [str(small_model), str(texts), "-k", "2"]
    seen = in_a_terminal(words, texts.parent)
    assert "\x1b[" in seen
    assert "━" in seen
    plain = in_a_terminal(words, texts.parent, NO_COLOR="1")
    assert "━" in plain
    assert "\x1b[3" not in plain  # bold is no colour
    forced = in_a_terminal([*words, "--as", "jsonl"], texts.parent)
    piped = subprocess.run(
        [sys.executable, "-m", "xrt", "predict", *words],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert forced == piped
    assert [json.loads(line)["text"] for line in piped.splitlines()] == ["kati lore", "miso"]
    table = subprocess.run(
        [sys.executable, "-m", "xrt", "predict", *words, "--as", "table"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert table.startswith("kati lore\n  ")


def test_a_file_gets_json_though_a_person_looks(small_model, texts):
    out = texts.parent / "out.jsonl"
    assert in_a_terminal([str(small_model), str(texts), "--out", str(out)], texts.parent) == ""
    assert len([json.loads(line) for line in out.read_text().splitlines()]) == 2
