"""Changes single values in the text of a row of JSON lines, CSV or TSV; all else stays as it is.

Keys, their order, other columns, the way numbers are written and blanks are those of the file.
"""

import json
from collections.abc import Mapping, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from xrt.data.delimited import unquoted
from xrt.inputs import without_surrogates

_BLANKS = " \t\n\r"


def replace_in_json(text: str, values: Mapping[str, Any]) -> str:
    """One JSON object with other values under some keys.

    Args:
        text: The object, which is sound JSON; of a key that stands twice the last counts.
        values: New values by key; keys that are not there are added at the end.

    Returns:
        The text, ASCII where it was.
    """
    spans, end = _spans_of_json(text)
    separators = None if '": ' in text or '":' not in text else (",", ":")
    is_ascii = text.isascii()

    def written(value: Any) -> str:
        return json.dumps(value, ensure_ascii=is_ascii, separators=separators)

    new = [(*spans[key], written(value)) for key, value in values.items() if key in spans]
    absent = {key: value for key, value in values.items() if key not in spans}
    if absent:
        comma = ("," if separators else ", ") if spans else ""
        new.append((end, end, comma + written(absent)[1:-1]))
    changed = _spliced(text, new)
    return changed if changed.isascii() else without_surrogates(changed)


def _spans_of_json(text: str) -> tuple[dict[str, tuple[int, int]], int]:
    """Where the value of each key stands, and the end of the last (of `{}` that of the brace)."""
    decoder = json.JSONDecoder()
    place = _skip(text, text.index("{") + 1)
    spans: dict[str, tuple[int, int]] = {}
    end = place
    while text[place] != "}":
        key, place = scanstring(text, place + 1, True)
        start = _skip(text, _skip(text, place) + 1)
        _, end = decoder.raw_decode(text, start)
        spans[key] = start, end
        place = _skip(text, end)
        if text[place] == ",":
            place = _skip(text, place + 1)
    return spans, end


def _skip(text: str, place: int) -> int:
    while text[place] in _BLANKS:
        place += 1
    return place


def replace_in_csv(text: str, delimiter: str, cells: Mapping[int, str]) -> str:
    """One row of CSV with other text in some cells.

    Args:
        text: The row without its line end, as `csv_rows` accepts it.
        delimiter: The sign between cells.
        cells: New cells by place, from 0.

    Returns:
        The row; a cell is quoted where the old one was, or where it must be.
    """
    spans = _spans_of_csv(text, delimiter)
    new = []
    for place, cell in cells.items():
        start, end = spans[place]
        must = any(sign in cell for sign in (delimiter, '"', "\n", "\r"))
        quoted = must or text[start:end].startswith('"')
        new.append((start, end, '"' + cell.replace('"', '""') + '"' if quoted else cell))
    return _spliced(text, new)


def _spans_of_csv(text: str, delimiter: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    start = 0
    while True:
        end = start
        if text.startswith('"', start):
            end = text.find('"', start + 1)
            while end >= 0 and text.startswith('""', end):
                end = text.find('"', end + 2)
        end = text.find(delimiter, end)
        if end < 0:
            return [*spans, (start, len(text))]
        spans.append((start, end))
        start = end + len(delimiter)


def replace_in_tsv(text: str, cells: Mapping[int, str]) -> str:
    """One row of TSV with other text in some cells; quoted only where it would lose its own quotes.

    Args:
        text: The row without its line end.
        cells: New cells by place, from 0; without tab or line end.

    Returns:
        The row.
    """
    parts = text.split("\t")
    for place, cell in cells.items():
        is_safe = unquoted(cell) == cell
        parts[place] = cell if is_safe else '"' + cell.replace('"', '""') + '"'
    return "\t".join(parts)


def _spliced(text: str, new: Sequence[tuple[int, int, str]]) -> str:
    for start, end, piece in sorted(new, reverse=True):
        text = text[:start] + piece + text[end:]
    return text
