"""Type-ahead over all labels of a model, blind to case and accents.

The names and ids of all labels become one folded run of bytes, `ID TAB NAME LF` for each label, and
the places in it where words begin are sorted by the eight bytes that stand there. Labels with a
word that begins as the query does are then a slice of that order; labels that have the query inside
of a word are searched for only where the slice is too short.

L labels, P places where a word of a name or an id begins.
"""

import re
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xrt.data.labels import LabelTable
from xrt.data.packed_strings import PackedStrings
from xrt.errors import DataError

MAX_LABELS = 100
"""Labels of one answer, at most."""
MAX_QUERY = 200
"""Characters of a query, at most."""

_KEY_BYTES = 8
_MAX_CHECKED = 20_000
"""Labels of one slice whose text is looked at."""
_LINES_AT_ONCE = 64
"""Labels that are folded together; where all of them are ASCII it is quick."""
_INSIDE = 1 << 15
"""Added to the rank of a place that is not the beginning of a name or an id."""

_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f"
    "\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f\u00ad\u200b-\u200f\u2060\ufeff]"
)
"""Accents and vowel points that people leave out, and signs that nobody sees; signs that make
another letter, such as vowels of Devanagari or the voicing of kana, are not among them."""
_PUNCTUATION = re.compile("[\u00a1-\u00bf\u2000-\u206f\u3001-\u3003\u3008-\u301f\u30fb]")
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "ς": "σ"}
)


@dataclass(frozen=True)
class LabelMatch:
    """A label that a query names; `name` is '' where none is known."""

    label: str
    name: str


class _Index(NamedTuple):
    """The folded lines, where each begins, and the sorted places.

    `keys_P` are the bytes at each place as a big-endian number, `labels_P` the label it belongs to,
    `ranks_P` the length of its name or id, with _INSIDE where the place is not its beginning.
    """

    text: bytes
    starts_L: np.ndarray
    keys_P: np.ndarray
    labels_P: np.ndarray
    ranks_P: np.ndarray

    def line(self, label: int) -> bytes:
        """The folded line of a label, with its line end."""
        return self.text[self.starts_L[label] : self.starts_L[label + 1]]


class LabelSearch:
    """Finds labels of one table; the first query makes the index."""

    def __init__(self, labels: LabelTable) -> None:
        """Remember the table; nothing is read.

        Args:
            labels: The labels of a model.
        """
        self.labels = labels
        self._lock = threading.Lock()
        self._index: _Index | None = None

    def find(self, query: str, limit: int = 20) -> tuple[list[LabelMatch], bool]:
        """Labels whose name or id has the query in it.

        First come names and ids that begin with the query, then those with a word that does, then
        those with words that begin as all of its words do, then those that have it inside of a
        word; among equals the shortest.

        Args:
            query: What was typed; '' finds the first labels of the table.
            limit: Labels in the answer, 1..MAX_LABELS.

        Returns:
            The labels, best first, and whether there are more.

        Raises:
            DataError: the limit is out of range, or the query is too long.
        """
        if not 1 <= limit <= MAX_LABELS:
            raise DataError(f"limit = {limit}: give a number from 1 to {MAX_LABELS}")
        if len(query) > MAX_QUERY:
            raise DataError(
                f"q has {len(query)} characters, {MAX_QUERY} are allowed: search for a part of it"
            )
        words = " ".join(fold(query).split())
        if words and len(self.labels):
            columns = self._columns(words.encode("utf-8", "replace"), limit + 1)
        else:
            columns = list(range(min(limit + 1, len(self.labels))))
        ids, names = self.labels.ids, self.labels.names
        matches = [LabelMatch(ids[column], names[column]) for column in columns[:limit]]
        return matches, len(columns) > limit

    def _columns(self, query: bytes, wanted: int) -> list[int]:
        with self._lock:
            if self._index is None:
                self._index = make_index(self.labels)
            index = self._index
        columns = dict.fromkeys(_labels_with_start(index, query, wanted))
        words = query.split()
        if len(columns) < wanted and len(words) > 1:
            columns |= dict.fromkeys(_labels_with_words(index, words, wanted))
        if len(columns) < wanted:
            columns |= dict.fromkeys(_labels_with_part(index, query, wanted))
        return list(columns)[:wanted]


def fold(text: str) -> str:
    """Text as it is compared: without case, accents, widths and ligatures.

    Args:
        text: Any text; tabs and line ends stay as they are.

    Returns:
        The folded text.
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKD", text).casefold()
    folded = _MARKS.sub("", unicodedata.normalize("NFKD", folded)).translate(_LETTERS)
    return _PUNCTUATION.sub(" ", unicodedata.normalize("NFC", folded))


def make_index(labels: LabelTable) -> _Index:
    """The folded text of all labels, and the places where words begin in it.

    Args:
        labels: The table, L labels.

    Returns:
        The index: one byte for each of the text, 14 for each place.
    """
    text = _folded_lines(labels)
    bytes_B = np.frombuffer(text, np.uint8)
    starts_L = np.concatenate([[0], np.flatnonzero(bytes_B == _LINE_END) + 1])
    assert len(starts_L) == len(labels) + 1
    fields_F, field_of_P, places_P = _word_starts(bytes_B)
    is_first_P = places_P == fields_F[field_of_P]
    lengths_F = np.diff(np.append(fields_F, len(text))) - 1
    ranks_P = np.minimum(lengths_F[field_of_P], _INSIDE - 1) + _INSIDE * ~is_first_P
    keys_P = _keys_at(bytes_B, places_P)
    order = np.argsort(keys_P, kind="stable")
    return _Index(
        text, starts_L, keys_P[order], (field_of_P // 2)[order].astype(np.int32),
        ranks_P[order].astype(np.uint16),
    )  # fmt: skip


def _folded_lines(labels: LabelTable) -> bytes:
    """`ID TAB NAME LF` of all labels, folded."""
    if isinstance(labels.ids, PackedStrings):
        lines = [line + b"\n" for line in labels.ids.data.split(b"\n")[:-1]]
    else:
        pairs = zip(labels.ids, labels.names, strict=True)
        lines = [f"{id}\t{name}\n".encode("utf-8", "replace") for id, name in pairs]
    parts = []
    for low in range(0, len(lines), _LINES_AT_ONCE):
        part = b"".join(lines[low : low + _LINES_AT_ONCE])
        if not part.isascii():
            part = fold(part.decode("utf-8", "replace")).encode("utf-8", "replace")
        parts.append(part.lower())
    return b"".join(parts)


def _word_starts(bytes_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where fields (id, name, id, name ...) begin, and for each word its field and place.

    Of an id the beginning counts, and what stands behind its last `/`, `#` or `:`.
    """
    is_end_B = (bytes_B == _LINE_END) | (bytes_B == _TAB)
    fields_F = np.concatenate([[0], np.flatnonzero(is_end_B)[:-1] + 1])
    is_word_B = _IS_WORD[bytes_B]
    begins_B = is_word_B.copy()
    begins_B[1:] &= ~is_word_B[:-1]
    begins_B[fields_F] = ~is_end_B[fields_F]
    places_P = np.flatnonzero(begins_B)
    field_of_P = np.searchsorted(fields_F, places_P, side="right") - 1
    in_id_P = field_of_P % 2 == 0
    is_last_P = np.append(field_of_P[1:] != field_of_P[:-1], True)
    is_local_P = is_last_P & np.isin(bytes_B[places_P - 1], np.frombuffer(b"/#:", np.uint8))
    counts_P = ~in_id_P | (places_P == fields_F[field_of_P]) | is_local_P
    return fields_F, field_of_P[counts_P], places_P[counts_P]


def _keys_at(bytes_B: np.ndarray, places_P: np.ndarray) -> np.ndarray:
    """The bytes from each place on as big-endian numbers, uint64 (P,)."""
    padded = np.concatenate([bytes_B, np.zeros(_KEY_BYTES, np.uint8)])
    keys_P = np.zeros(len(places_P), np.uint64)
    for step in range(_KEY_BYTES):
        keys_P = (keys_P << np.uint64(8)) | padded[places_P + step]
    return keys_P


def _slice_of(index: _Index, start: bytes) -> tuple[int, int]:
    """The places whose first bytes are those of `start`, of at most _KEY_BYTES."""
    head = start[:_KEY_BYTES]
    low, high = (int.from_bytes(head.ljust(_KEY_BYTES, pad), "big") for pad in (b"\0", b"\xff"))
    keys = np.array([low, high], np.uint64)
    first = int(np.searchsorted(index.keys_P, keys[0], side="left"))
    return first, int(np.searchsorted(index.keys_P, keys[1], side="right"))


def _labels_with_start(index: _Index, query: bytes, wanted: int) -> list[int]:
    """Labels with a word that begins with the query, best first."""
    low, high = _slice_of(index, query)
    ranks = index.ranks_P[low:high]
    places = np.arange(low, high)
    if len(query) > _KEY_BYTES:
        places = places[np.argsort(ranks, kind="stable")][:_MAX_CHECKED]
        columns = index.labels_P[places].tolist()
        return [label for label in columns if _has_start(index.line(label), query)]
    if len(places) > 4 * wanted:  # a label may stand there with several words
        most = min(len(places), 64 * wanted) - 1
        places = low + np.flatnonzero(ranks <= np.partition(ranks, most)[most])
    order = np.argsort(index.ranks_P[places], kind="stable")
    columns_P: list[int] = index.labels_P[places[order]].tolist()
    return columns_P


def _labels_with_words(index: _Index, words: Sequence[bytes], wanted: int) -> list[int]:
    """Labels in which every word begins a word; those of the rarest one are looked at."""
    slices = [_slice_of(index, word) for word in words]
    low, high = min(slices, key=lambda ends: ends[1] - ends[0])
    order = np.argsort(index.ranks_P[low:high], kind="stable")[:_MAX_CHECKED]
    columns: list[int] = []
    for label in dict.fromkeys(index.labels_P[low:high][order].tolist()):
        line = index.line(label)
        if all(_has_start(line, word) for word in words):
            columns.append(label)
            if len(columns) == wanted:
                break
    return columns


def _labels_with_part(index: _Index, query: bytes, wanted: int) -> list[int]:
    """Labels that have the query anywhere, in the order of the table."""
    columns: list[int] = []
    place = index.text.find(query)
    while place >= 0 and len(columns) < 2 * wanted:  # some of them begin with it
        column = int(np.searchsorted(index.starts_L, place, side="right")) - 1
        columns.append(column)
        place = index.text.find(query, int(index.starts_L[column + 1]))
    return columns


def _has_start(line: bytes, word: bytes) -> bool:
    """Whether a word of the line begins with `word`."""
    place = line.find(word)
    while place >= 0:
        if place == 0 or not _IS_WORD[line[place - 1]]:
            return True
        place = line.find(word, place + 1)
    return False


_LINE_END, _TAB = ord("\n"), ord("\t")
_IS_WORD = np.array([byte >= 128 or chr(byte).isalnum() for byte in range(256)])
