"""The suggestions of an audit as a queue that people work off, with what was decided so far.

Only the place, id and kind of each suggestion stay in memory; a page reads its own lines.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from xrt.data.jsonl import parse_json_line
from xrt.data.options import BadLine
from xrt.data.sources import require_file
from xrt.errors import DataError
from xrt.serve.decisions import DecisionFile

KINDS = ("add", "remove")
MAX_ROWS = 500
"""Suggestions of a page, at most."""
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True)
class QueuePage:
    """Some suggestions, in the order of the file.

    A row has the fields of the audit's suggestion, its `position` in the file, from 0, and
    `accepted`: what was decided, None where nothing was. `total` and `decided` count the whole
    file. `next` is the position to go on from, None at the end.
    """

    rows: list[dict[str, Any]]
    total: int
    decided: int
    next: int | None


class _Entry(NamedTuple):
    start: int
    id: str
    kind: str


class _Loaded(NamedTuple):
    """The file as it was read: its identity, its entries, and the position of each id."""

    version: tuple[int, int, int, int]
    entries: list[_Entry]
    positions: dict[str, int]


class ReviewQueue:
    """The queue of one file; a file that was replaced is read anew."""

    def __init__(self, path: str | Path, decisions: DecisionFile | None) -> None:
        """Read the file.

        Args:
            path: `suggestions.jsonl` of an audit.
            decisions: What was decided; None where decisions are not kept.

        Raises:
            DataError: the file is missing, or a line is no suggestion; its number is named.
        """
        self.path, self.decisions = Path(path), decisions
        self._lock = threading.Lock()
        self._loaded = _load(self.path)

    def counts(self) -> tuple[int, int]:
        """How many suggestions there are, and how many of them are decided.

        Returns:
            Both numbers.

        Raises:
            DataError: as for a new queue, where the file was replaced.
        """
        loaded, accepted = self._current(), self._accepted()
        return len(loaded.entries), _num_decided(loaded, accepted)

    def page(
        self,
        after: int = 0,
        limit: int = 50,
        *,
        before: int | None = None,
        undecided: bool = False,
        kind: str | None = None,
    ) -> QueuePage:
        """Suggestions from a position on, or the last ones before a position.

        Args:
            after: Suggestions of the file that are passed over.
            limit: Suggestions of the page, 1..MAX_ROWS.
            before: Takes the last ones before this position instead.
            undecided: Whether decided ones are passed over.
            kind: `add` or `remove`, to pass over the others.

        Returns:
            The page.

        Raises:
            DataError: the limit or the kind is another, or as for a new queue.
        """
        if not 1 <= limit <= MAX_ROWS:
            raise DataError(f"limit = {limit}: give a number from 1 to {MAX_ROWS}")
        if kind is not None and kind not in KINDS:
            raise DataError(
                f"kind = {kind[:_SHOWN_CHARACTERS]!r}: choose one of {', '.join(KINDS)}"
            )
        loaded, accepted = self._current(), self._accepted()

        def is_wanted(position: int) -> bool:
            entry = loaded.entries[position]
            return not (undecided and entry.id in accepted) and kind in (None, entry.kind)

        num_entries = len(loaded.entries)
        if before is None:
            wanted = filter(is_wanted, range(min(after, num_entries), num_entries))
            positions = list(islice(wanted, limit))
        else:
            wanted = filter(is_wanted, range(min(before, num_entries) - 1, -1, -1))
            positions = list(islice(wanted, limit))[::-1]
        rows = [
            {**record, "position": position, "accepted": accepted.get(record["id"])}
            for position, record in zip(positions, self._records(loaded, positions), strict=True)
        ]
        end = positions[-1] + 1 if positions else num_entries
        has_more = any(map(is_wanted, range(end, num_entries)))
        decided = _num_decided(loaded, accepted)
        return QueuePage(rows, num_entries, decided, end if has_more else None)

    def _accepted(self) -> Mapping[str, bool]:
        return {} if self.decisions is None else self.decisions.decided()

    def _current(self) -> _Loaded:
        with self._lock:
            if _version(self.path) != self._loaded.version:
                self._loaded = _load(self.path)
            return self._loaded

    def _records(self, loaded: _Loaded, positions: list[int]) -> Iterator[dict[str, Any]]:
        with open(self.path, "rb") as file:
            for position in positions:
                entry = loaded.entries[position]
                file.seek(entry.start)
                record = _parse(self.path, position + 1, file.readline())
                if record["id"] != entry.id:
                    raise DataError(f"{self.path}: was replaced while it was read; ask again")
                yield record


def _num_decided(loaded: _Loaded, accepted: Mapping[str, bool]) -> int:
    return sum(id in loaded.positions for id in accepted)


def _version(path: Path) -> tuple[int, int, int, int]:
    try:
        about = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); put it back") from error
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def _load(path: Path) -> _Loaded:
    if not path.is_file():
        require_file(path)
    version = _version(path)
    entries: list[_Entry] = []
    positions: dict[str, int] = {}
    with open(path, "rb") as file:
        start = 0
        for number, line in enumerate(file, 1):
            if not line.isspace():
                record = _parse(path, number, line)
                if record["id"] in positions:
                    raise DataError(
                        f"{path}: line {number}: suggestion {record['id']!r} stands there twice; "
                        "remove one of the lines"
                    )
                positions[record["id"]] = len(entries)
                entries.append(_Entry(start, record["id"], record["kind"]))
            start += len(line)
    return _Loaded(version, entries, positions)


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = parse_json_line(line).record
        if b"NaN" in line or b"Infinity" in line:
            json.dumps(record, allow_nan=False)
    except BadLine as fault:
        raise DataError(f"{path}: line {number}: {fault}") from fault
    except ValueError as error:
        raise DataError(f"{path}: line {number}: NaN is no number of JSON; remove it") from error
    fault_name = next((name for name, good in _CHECKS.items() if not good(record.get(name))), None)
    if fault_name is not None:
        raise DataError(
            f"{path}: line {number}: not a suggestion of an audit ({fault_name!r} is missing or "
            "another kind of value); give the suggestions.jsonl that `xrt audit` wrote"
        )
    return record


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "id": _is_text,
    "kind": lambda value: value in KINDS,
    "label": _is_text,
    "name": _is_text_or_none,
    "text": _is_text_or_none,
    "row": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
}
"""What the page needs of a suggestion."""
