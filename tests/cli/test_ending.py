"""However a command ends: one line, an exit code, nothing half."""

import errno
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import ROOT
from xrt.cli.ending import EXIT_BUG, EXIT_FAULT, run_to_end
from xrt.errors import DataError

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


class PanicException(BaseException):
    """As polars' own, which is no Exception."""


PanicException.__module__ = "pyo3_runtime"


def raising(
    error: BaseException, capsys: pytest.CaptureFixture[str], *argv: str
) -> tuple[int, str]:
    def dispatch(words: list[str]) -> int:
        raise error

    code = run_to_end([*argv], dispatch)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("a: cause;\n  do this"), 2, "a: cause; do this"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), 2, "x.csv: No such file"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left on device"),
        (OSError("12400 requested and 7136 written"), 2, "12400 requested and 7136 written"),
        (OSError(errno.EMFILE, "Too many open files"), 2, "Too many open files; raise the limit"),
        (OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"), 2, "a -> b: Invalid"),
        (MemoryError(), 2, "out of memory; close other programs"),
        (MemoryError("Unable to allocate 9 TiB"), 2, "out of memory"),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (ValueError("two\nlines"), EXIT_BUG, "ValueError: two; this is a fault of xrt"),
        (KeyError("xrt_position"), EXIT_BUG, "KeyError: 'xrt_position'; this is a fault of xrt"),
        (io.UnsupportedOperation("fileno"), EXIT_BUG, "UnsupportedOperation: fileno"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), EXIT_BUG, "UnicodeDecodeError"),
        (PanicException("called unwrap on None"), EXIT_BUG, "PanicException: called unwrap"),
        (DataError("bidi \u202e, tab \t, half \ud800"), 2, "bidi , tab , half \\ud800"),
    ],
)
def test_whatever_is_raised_is_one_line(error, code: int, message: str, capsys):
    found, err = raising(error, capsys)
    assert found == code
    assert err.startswith("xrt: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_debug_shows_the_traceback_and_the_line(capsys, monkeypatch):
    code, err = raising(ValueError("odd"), capsys, "predict", "--debug", "M")
    assert code == EXIT_BUG
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("xrt: error: ValueError: odd")
    monkeypatch.setenv("XRT_DEBUG", "1")
    assert "Traceback" in raising(DataError("d"), capsys)[1]
    monkeypatch.setenv("XRT_DEBUG", "0")
    assert "Traceback" not in raising(DataError("d"), capsys)[1]


def test_the_command_does_not_see_the_switch():
    words: list[str] = []

    def dispatch(argv: list[str]) -> int:
        words.extend(argv)
        return 0

    assert run_to_end(["train", "--debug", "seed=1"], dispatch) == 0
    assert words == ["train", "seed=1"]


def test_advice_is_worded_for_the_command(capsys):
    error = DataError("c.csv: line 2: bad; correct it", settings={"skip_bad_lines": "to go on"})
    assert "(or pass --skip-bad-lines to go on)" in raising(error, capsys, "label", "c", "i")[1]
    assert "or pass" not in raising(error, capsys, "explain", "m", "t")[1]


def test_signals_that_are_ignored_stay_so_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    inside = []
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run_to_end([], lambda words: inside.append(signal.getsignal(signal.SIGHUP)) or 0)
    finally:
        signal.signal(signal.SIGHUP, old)
    assert inside == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGTERM) == before


CHILD = """
import sys, time
from xrt.cli.ending import run_to_end
from xrt.storage.atomic import atomic_file, atomic_folder

def work(words):
    with atomic_folder("out") as folder, atomic_file("file.txt") as temporary:
        (folder / "a").write_text("half")
        temporary.write_text("half")
        print("ready", flush=True)
        time.sleep(60)
    return 0

sys.exit(run_to_end([], work))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_and_leaves_nothing_half(number: signal.Signals, tmp_path: Path):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(number)
    assert child.wait(timeout=30) == 128 + number
    child.stdout.close()
    assert list(tmp_path.iterdir()) == []


PRINTING = """
import sys
from xrt.cli.ending import run_to_end

def work(words):
    print("x" * int(words[0]))
    return 0

sys.exit(run_to_end(sys.argv[1:], work))
"""


@needs_full
@pytest.mark.parametrize("size", ["10", "1000000"])
def test_a_full_output_is_one_line(size: str, tmp_path: Path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PRINTING, size], stdout=full, stderr=subprocess.PIPE,
            env=environment(), text=True, check=False,
        )  # fmt: skip
    assert done.returncode == EXIT_FAULT
    assert done.stderr == (
        "xrt: error: standard output, or a file that the system does not name: No space left on "
        "device; write elsewhere\n"
    )


@pytest.mark.parametrize(
    ("closed", "code", "message"),
    [
        (">&-", EXIT_FAULT, "xrt: error: standard output: closed"),
        ("<&-", 0, ""),
        ("2>&-", 0, ""),
    ],
)
def test_closed_streams(closed: str, code: int, message: str, tmp_path: Path):
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "$0" 3 {closed}', PRINTING],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == (1 if message else 0)


READING = """
import sys
from xrt.cli.ending import run_to_end

def work(words):
    read = {"text": sys.stdin.read, "lines": lambda: list(sys.stdin.buffer),
            "bytes": lambda: sys.stdin.buffer.read1(10)}[words[0]]
    print(len(read()))
    return 0

sys.exit(run_to_end(sys.argv[1:], work))
"""


@pytest.mark.parametrize("how", ["text", "lines", "bytes"])
def test_an_input_that_is_closed_is_not_an_empty_one(how: str):
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "$0" {how} <&-', READING],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == EXIT_FAULT
    assert done.stderr == "xrt: error: standard input: closed; name a file instead of -\n"


def test_signs_that_the_output_cannot_show_are_written_as_escapes():
    script = PRINTING.replace('"x" * int(words[0])', '"h\\u00e9 \\u6570"')
    done = subprocess.run(
        [sys.executable, "-c", script], env={**environment(), "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "h\\xe9 \\u6570\n")


def test_process_1_of_a_container_ends_on_sigterm(tmp_path: Path):
    argv = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", CHILD]
    try:
        allowed = subprocess.run([*argv[:4], "true"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        allowed = 1
    if allowed != 0:
        pytest.skip("no process namespace is allowed here")
    outer = subprocess.Popen(argv, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE)
    assert outer.stdout is not None
    assert outer.stdout.readline() == b"ready\n"
    inner = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
    os.kill(int(inner[0]), signal.SIGTERM)
    assert outer.wait(timeout=30) == 143
    outer.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_gone_is_no_fault(tmp_path: Path):
    started = time.monotonic()
    done = subprocess.run(
        ["sh", "-c", f'("{sys.executable}" -c "$0" 1000000; echo $? >code) | head -c 1', PRINTING],
        env=environment(), capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stderr == ""
    assert (tmp_path / "code").read_text() == "141\n"
    assert time.monotonic() - started < 60
