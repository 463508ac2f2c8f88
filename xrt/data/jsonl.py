r"""JSONL: one object a line, with `title`, `content`, `labels` or other keys.

Labels may be a list of strings or integers, one string or integer, or an object label -> weight
(weights above 0 are kept in Y, a weight of 0 means that the label does not apply). A key `uid` or
`id` becomes the row's id; the keys that `weight_column`,
`group_column` and `time_column` name, if any, its weight, group and time.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xrt.data.cells import REPLACEMENT
from xrt.data.collect import RowCollector
from xrt.data.corpus import Corpus
from xrt.data.options import BadLine, ReadOptions
from xrt.data.records import RecordParser
from xrt.data.sources import numbered_lines
from xrt.errors import DataError

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_TOO_DEEP = "JSON nested too deep; keep only the keys that are needed"
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


Refusal = Callable[[int, bytes, BadLine], object]


class JsonLine(NamedTuple):
    """A parsed line: the object, whether half a surrogate pair in it was replaced, its number from
    1 and its bytes.
    """

    record: dict[str, Any]
    had_surrogate: bool
    number: int = 0
    raw: bytes = b""


def read_jsonl(path: str | Path, options: ReadOptions) -> Corpus:
    """Read a JSONL file; blank lines do not count as rows.

    Args:
        path: The file; gzip and xz are unpacked.
        options: Which keys are read, and what becomes of bad lines.

    Returns:
        The corpus: N texts and Y (N, L).

    Raises:
        DataError: the file cannot be read, a line is bad and bad lines are not to be skipped, no
            row is good, or none has the key of the labels where one is required.
    """
    collector = RowCollector(path, options)
    parser = RecordParser(options, split_by_default=False)
    keys: list[str] = []
    for line in read_json_lines(path, collector.refuse):
        keys = keys or list(line.record)
        try:
            row = parser.parse(line.record)
            collector.add(*row)
            collector.num_surrogates += line.had_surrogate
        except BadLine as fault:
            collector.refuse(line.number, line.raw, fault)
    corpus = collector.finish(notes=parser.notes(), num_split=parser.num_split)
    parser.require_label_columns(path, keys, anyway=not options.require_labels)
    return corpus


def read_json_lines(path: str | Path, refuse: Refusal | None = None) -> Iterator[JsonLine]:
    """The one reader of JSON lines: every door that takes such a file uses it.

    A byte order mark is removed, gzip and xz are unpacked, only LF and CRLF end a line (U+2028 does
    not), blank lines are passed over, half a surrogate pair becomes U+FFFD.

    Args:
        path: The file.
        refuse: Called with number, bytes and fault of a line that is no object; None raises.

    Yields:
        The objects, with the number of each one's line.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object and `refuse` is None.
    """
    for number, raw in numbered_lines(path):
        if not raw or raw.isspace():
            continue
        try:
            yield parse_json_line(raw, number)
        except BadLine as fault:
            if refuse is None:
                raise DataError(f"{path}: line {number}: {fault}") from fault
            refuse(number, raw, fault)


def parse_json_line(raw: bytes, number: int = 0) -> JsonLine:
    """One JSON object from one line.

    Args:
        raw: The line, in UTF-8.
        number: The number of the line.

    Returns:
        The object; half a surrogate pair in it becomes U+FFFD.

    Raises:
        BadLine: the line is not UTF-8, not JSON, nested too deep, or not an object.
    """
    try:
        text = raw.decode("utf-8")
        record = json.loads(text)
    except UnicodeDecodeError as err:
        raise BadLine(f"byte {err.start + 1} is not UTF-8; convert the file to UTF-8") from err
    except RecursionError as err:
        raise BadLine(_TOO_DEEP) from err
    except ValueError as err:
        if text.lstrip().startswith("["):
            raise BadLine("a JSON list; write one object a line, e.g. jq -c '.[]' FILE") from err
        if b"\r" in raw:
            raise BadLine(
                "lines end in CR alone, as on an old Mac; convert: tr '\\r' '\\n' < OLD > NEW"
            ) from err
        raise BadLine(f"broken JSON ({err}); correct it") from err
    if not isinstance(record, dict):
        if isinstance(record, list):
            raise BadLine(
                "a JSON list, not an object; write one object a line, e.g. jq -c '.[]' FILE"
            )
        raise BadLine(f"a JSON {type(record).__name__}, not an object; write one object a line")
    if "\\u" in text and _ESCAPED_SURROGATE.search(text):
        try:
            return _repaired(record)._replace(number=number, raw=raw)
        except RecursionError as err:
            raise BadLine(_TOO_DEEP) from err
    return JsonLine(record, False, number, raw)


def _repaired(record: dict[str, Any]) -> JsonLine:
    num_repaired = 0

    def repair(value: Any) -> Any:
        nonlocal num_repaired
        if isinstance(value, str):
            value, count = _LONE_SURROGATE.subn(REPLACEMENT, value)
            num_repaired += count
            return value
        if isinstance(value, list):
            return [repair(v) for v in value]
        if isinstance(value, dict):
            return {repair(k): repair(v) for k, v in value.items()}
        return value

    fixed = repair(record)
    return JsonLine(fixed, had_surrogate=num_repaired > 0)
