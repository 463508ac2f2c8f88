"""Inputs made wrong in many ways, by a seed; and the check that a reader bears them.

A reader may succeed or raise an error of ours. Anything else is a fault: another exception, a hang,
or memory that the input's size does not explain.
"""

import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xrt.errors import XrtError

SECONDS = 10
BYTES = 500 << 20

ODD_PIECES = (
    b'"', b'""', b"\\", b'\\"', b"\t", b",", b";", b"|", b"\r", b"\r\n", b"\n", b"\n\n", b"\x00",
    b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\xcc\x81",
    b"\xed\xa0\x80", b"\\ud800", b"null", b"NaN", b"-1", b"1e400", b"9" * 25, b"0.5", b"true",
    b"[", b"]", b"{", b"}", b"[" * 3000, b'{"a":' * 3000, b":", b">", b"<", b"&amp;", b"=", b" ",
    b"__proto__", b"''", b"1099511627776", b"2147483647", b"4294967296", b"x" * 5000,
    b"\xf0\x9f\x8e\x88",
)  # fmt: skip


def mutants(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` changed copies of `content`, each with one to four changes."""
    rng = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(content)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            rng.choice(_CHANGES)(mutant, rng)
        yield bytes(mutant)


def _span(data: bytearray, rng: random.Random, longest: int = 40) -> slice:
    start = rng.randrange(len(data) + 1)
    return slice(start, min(len(data), start + rng.randrange(1, longest)))


def _flip_bit(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_byte(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _delete(data: bytearray, rng: random.Random) -> None:
    del data[_span(data, rng)]


def _insert(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.choice(ODD_PIECES)


def _replace(data: bytearray, rng: random.Random) -> None:
    data[_span(data, rng, 8)] = rng.choice(ODD_PIECES)


def _repeat(data: bytearray, rng: random.Random) -> None:
    span = _span(data, rng, 200)
    data[span] = bytes(data[span]) * rng.choice((2, 3, 50))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _cut_head(data: bytearray, rng: random.Random) -> None:
    del data[: rng.randrange(min(len(data), 64) + 1)]


def _swap_lines(data: bytearray, rng: random.Random) -> None:
    lines = bytes(data).split(b"\n")
    rng.shuffle(lines)
    data[:] = b"\n".join(lines)


def _change_number(data: bytearray, rng: random.Random) -> None:
    numbers = list(re.finditer(rb"\d+", bytes(data)))
    if numbers:
        match = rng.choice(numbers)
        number = rng.choice((b"0", b"-1", b"2147483648", b"1099511627776", b"1e9", b"9" * 30, b""))
        data[match.start() : match.end()] = number


def _empty(data: bytearray, rng: random.Random) -> None:
    data[:] = rng.choice((b"", b"\n", b" ", b"\xef\xbb\xbf", b"\x1f\x8b", b"PAR1", b"PK\x03\x04"))


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bit, _set_byte, _delete, _insert, _insert, _insert, _replace, _replace, _repeat, _cut,
    _cut_head, _swap_lines, _change_number, _change_number, _empty,
)  # fmt: skip


@contextmanager
def bounded(what: str, seconds: int = SECONDS, num_bytes: int = BYTES) -> Iterator[None]:
    """Let an error of ours pass; fail for any other, for a hang, and for too much memory."""

    def stop(*_: object) -> None:
        raise AssertionError(f"{what}: more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    start = _peak_bytes()
    try:
        yield
    except XrtError as err:
        message = str(err)
        assert message, f"{what}: an error without a message"
        assert "\n" not in message.strip(), f"{what}: a message of several lines: {message!r}"
    except AssertionError:
        raise
    except BaseException as err:
        raise AssertionError(f"{what}: {type(err).__name__}: {err}") from err
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    taken = _peak_bytes(reset=False) - start
    assert taken <= num_bytes, f"{what}: {taken >> 20} MB"


def _peak_bytes(reset: bool = True) -> int:
    """The most memory this process had resident, counted anew from here on where `reset`."""
    if reset:
        with suppress(OSError):  # then it is the most it ever had
            Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
