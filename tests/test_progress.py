import io
import re

import pytest

from xrt.progress import Progress, RichProgress, SilentProgress, format_seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Stands in for time.monotonic: moves only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("xrt.progress.time.monotonic", lambda: self.now)


@pytest.mark.parametrize("progress", [SilentProgress(), RichProgress(io.StringIO())])
def test_both_kinds_follow_the_protocol(progress: Progress) -> None:
    assert isinstance(progress, Progress)


def test_silent_counts_the_units_of_the_current_step() -> None:
    progress = SilentProgress()
    progress.start("first", 10)
    progress.advance(7)
    progress.start("second", None)
    progress.advance(2, loss=0.5)
    progress.advance()
    progress.finish()
    assert progress.completed == 3


def test_a_pipe_gets_one_line_each_ten_seconds_with_share_and_eta(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    progress = RichProgress(stream)
    progress.start("encode", 4000)
    for _ in range(12):
        clock.now += 1
        progress.advance(100, loss=0.123456)
    assert stream.getvalue() == "encode  1000/4000  25 %  ETA 0:30  loss 0.1235\n"


def test_the_last_line_tells_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    progress = RichProgress(stream)
    progress.start("rank", 3)
    clock.now += 65
    progress.finish()
    progress.finish()
    progress.advance()
    assert stream.getvalue() == "rank  0/3  done in 1:05\n"


def test_an_unknown_total_shows_the_count_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    progress = RichProgress(stream, interval_seconds=1)
    progress.start("read", None)
    clock.now += 2
    progress.advance(5)
    assert stream.getvalue() == "read  5\n"


def test_a_terminal_gets_a_bar_with_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    progress = RichProgress(stream)
    progress.start("train [level 1]", 4)
    progress.advance(4, loss=0.25)
    progress.finish()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "train [level 1]" in shown
    assert "4/4" in shown
    assert "loss 0.25" in shown


def test_no_color_is_respected_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-9](;[0-9]+)*m")
    shown = {}
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        stream = Terminal()
        progress = RichProgress(stream)
        progress.start("train", 4)
        progress.advance(2)
        progress.finish()
        shown[value] = bool(coloured.search(stream.getvalue()))
    assert shown == {"": True, "1": False}


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    progress = RichProgress(stream)
    progress.start("train", 1)
    progress.advance()
    progress.finish()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (20, "0:20"), (725, "12:05"), (11229, "3:07:09")]
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
