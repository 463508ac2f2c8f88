"""How a command ends: one line and an exit code, whatever happened.

    0    done
    1    a fault of xrt itself; --debug (or XRT_DEBUG=1) shows where
    2    a fault of the input, the settings, the machine or the disk
    130  Ctrl-C; 129 and 143: SIGHUP and SIGTERM; 141: the reader of the output has gone

Temporary files are removed on the way out, so signals end the command by an exception. A process
that is number 1 of a container would not notice SIGTERM otherwise.
"""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from xrt.errors import XrtError

EXIT_BUG = 1
EXIT_FAULT = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
DEBUG_SWITCH, DEBUG_VARIABLE = "--debug", "XRT_DEBUG"
_NATIVE_PANICS = ("pyo3_runtime",)
"""Modules whose errors are no `Exception`: polars' PanicException."""


def run_to_end(argv: Sequence[str], dispatch: Callable[[list[str]], int]) -> int:
    """Run a command; whatever it raises becomes one line on standard error.

    Args:
        argv: The words behind `xrt`; `--debug` may stand anywhere among them.
        dispatch: Runs the command of the other words and returns its exit code.

    Returns:
        The exit code.

    Raises:
        SystemExit: From argparse, and with 128 + the number of a signal that ends the command.
    """
    words = [word for word in argv if word != DEBUG_SWITCH]
    debug = len(words) < len(argv) or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    _fill_standard_streams()
    with _ending_on_signals():
        try:
            code = dispatch(words)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            _discard_output()  # the reader has gone (`| head`): leave quietly
            return EXIT_BROKEN_PIPE
        except KeyboardInterrupt:
            print("xrt: interrupted", file=sys.stderr)
            return EXIT_INTERRUPTED
        except Exception as err:
            return _print_error(err, words, debug)
        except BaseException as err:
            if type(err).__module__ not in _NATIVE_PANICS:
                raise
            return _print_error(err, words, debug)


def _print_error(err: BaseException, argv: Sequence[str], debug: bool) -> int:
    """Print an error in one line, with --debug where it came from, too; the exit code."""
    if debug:
        traceback.print_exception(err)
    code, message = _message_of(err, argv)
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _discard_output()
    print(f"xrt: error: {one_line(message)}", file=sys.stderr)
    return code


def one_line(message: str) -> str:
    """The message without line ends, control signs and lone surrogates.

    Args:
        message: A text, of any number of lines.

    Returns:
        One line; signs that cannot be printed are spaces, runs of spaces one space, and surrogates
        are escapes.
    """
    printable = message.encode("utf-8", "backslashreplace").decode("utf-8")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in printable).split())


def _message_of(err: BaseException, argv: Sequence[str]) -> tuple[int, str]:
    """The exit code of an error, and what is said about it."""
    if isinstance(err, XrtError):
        from xrt.cli.doors import option_writer

        return EXIT_FAULT, err.worded(option_writer(argv)) if err.settings else err.message
    if isinstance(err, OSError) and (err.errno is not None or type(err) is OSError):
        return EXIT_FAULT, _os_message(err)
    if isinstance(err, MemoryError):
        return EXIT_FAULT, "out of memory; close other programs, or give a smaller input"
    if isinstance(err, RecursionError):
        return EXIT_FAULT, "the input is nested too deeply; flatten it"
    cause = str(err).strip().partition("\n")[0][:300]
    return EXIT_BUG, (
        f"{type(err).__name__}{': ' if cause else ''}{cause}; this is a fault of xrt: run the same "
        f"with {DEBUG_SWITCH} for the traceback, and report it"
    )


def _os_message(err: OSError) -> str:
    """What the system refused, and where, in one line."""
    cause = err.strerror or str(err) or type(err).__name__
    names = [os.fsdecode(name) for name in (err.filename, err.filename2) if _is_path(name)]
    if names:
        return f"{' -> '.join(names)}: {cause}"
    if err.errno == errno.EMFILE:
        return f"{cause}; raise the limit (ulimit -n) and run again"
    return f"standard output, or a file that the system does not name: {cause}; write elsewhere"


def _is_path(name: Any) -> bool:
    return isinstance(name, str | bytes | os.PathLike)


def _discard_output() -> None:
    """Give what is still buffered for standard output a place to go."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


class _ClosedInput:
    """Stands for a standard input that was closed before the command began: reading fails."""

    encoding = "utf-8"

    def read(self, *_: Any) -> str:
        """Raise OSError, as a descriptor that is closed would."""
        raise OSError(errno.EBADF, "closed; name a file instead of -", "standard input")

    read1 = readline = __next__ = read

    def __iter__(self) -> "_ClosedInput":
        return self

    @property
    def buffer(self) -> "_ClosedInput":
        """Its bytes, which cannot be read either."""
        return self

    def isatty(self) -> bool:
        """It is no terminal."""
        return False


class _ClosedOutput:
    """Stands for a standard output that was closed before the command began: writing fails."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Raise OSError, as a descriptor that is closed would."""
        raise OSError(errno.EBADF, "closed; leave >&- out, or give --out", "standard output")

    def flush(self) -> None:
        """Nothing was written."""

    def isatty(self) -> bool:
        """It is no terminal."""
        return False

    def reconfigure(self, **_: Any) -> None:
        """Any encoding will do."""


def _fill_standard_streams() -> None:
    """Keep files of ours from becoming descriptor 0, 1 or 2 where those are closed, and have signs
    that the terminal cannot show written as escapes.
    """
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stdin is not None and sys.stdout is not None and sys.stderr is not None:
        return
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = _ClosedInput()
    if sys.stdout is None:
        sys.stdout = _ClosedOutput()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """While open, SIGTERM and SIGHUP end the command as `sys.exit` does: nothing half is left.

    A signal that is ignored already (`nohup`) stays so; outside the main thread nothing changes.
    """
    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                previous[number] = signal.signal(number, _exit_on)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _exit_on(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_IGN)  # once: a second one must not cut the clean-up short
    raise SystemExit(128 + number)
