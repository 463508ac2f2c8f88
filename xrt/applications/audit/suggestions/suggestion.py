"""A suggested change of a corpus, with the evidence for it; a list of them in a file.

One JSON object a line; each says which corpus it belongs to, so that it is applied to no other.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xrt.data.corpus import Corpus
from xrt.data.jsonl import parse_json_line
from xrt.data.options import BadLine
from xrt.data.sources import numbered_lines
from xrt.errors import DataError
from xrt.sparse import as_csr, binarize
from xrt.storage.atomic import atomic_file
from xrt.storage.hashing import content_hash

ADD, REMOVE = "add", "remove"
EVIDENCE_FEATURES = (
    "score", "probability", "linear_probability", "threshold", "rank", "agreement", "similarity",
    "name_in_text", "label_rows",
)  # fmt: skip
"""Figures of a suggestion that say how far to trust it."""


@dataclass(frozen=True, kw_only=True)
class SuggestedChange:
    """One label to add to a row or to remove from it.

    `score` ranks suggestions of one kind: of an addition it is the probability of the label from
    all evidence, of a removal its rank share among all given labels by how wrong they look.
    `threshold` is the probability from which the label is expected. `agreement` is the share of
    the vote of the nearest rows, `neighbours` those rows, `name_in_text` the share of the label's
    name in the text, `label_rows` in how many other rows the model saw the label. `trust` is the
    probability that the change is right, learnt from decisions; None without.
    """

    id: str
    kind: str
    corpus: str
    row: int
    uid: str | None
    text: str | None
    label: str
    name: str
    score: float
    probability: float
    linear_probability: float
    threshold: float
    rank: int
    agreement: float
    similarity: float
    name_in_text: float
    label_rows: int
    neighbours: tuple[dict[str, Any], ...] = ()
    matched_terms: tuple[str, ...] = ()
    trust: float | None = None

    @property
    def sureness(self) -> float:
        """What suggestions of a kind are ranked by: `trust` where there is one, else `score`."""
        return self.score if self.trust is None else self.trust


def corpus_key(corpus: Corpus) -> str:
    """What a corpus hashes to: texts or features, the labels of each row, and the labels' ids.

    Args:
        corpus: The corpus.

    Returns:
        16 digits.
    """
    texts = corpus.X if corpus.texts is None else corpus.texts
    parts = [content_hash(texts), content_hash(binarize(as_csr(corpus.Y))), list(corpus.labels.ids)]
    return content_hash(parts)[:16]


def write_suggestions(path: Path, suggestions: Iterable[SuggestedChange]) -> None:
    """Write them, one a line, whole or not at all.

    Args:
        path: The file, replaced whole or not at all.
        suggestions: The suggestions, a line each.
    """
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for suggestion in suggestions:
            file.write(json.dumps(asdict(suggestion), ensure_ascii=True) + "\n")


def read_suggestions(path: str | Path) -> list[SuggestedChange]:
    """Read what `write_suggestions` wrote.

    Args:
        path: The file.

    Returns:
        The suggestions, in the file's order.

    Raises:
        DataError: A line is no suggestion, or an id stands twice; file and line are named.
    """
    by_id: dict[str, SuggestedChange] = {}
    for number, record in read_lines(path):
        suggestion = _parse(path, number, record)
        if suggestion.id in by_id:
            raise DataError(
                f"{path}: line {number}: suggestion {suggestion.id!r} stands there twice; remove "
                "one of the lines"
            )
        by_id[suggestion.id] = suggestion
    return list(by_id.values())


def read_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file; none of a file of 0 bytes.

    Args:
        path: The file.

    Yields:
        Number of the line, from 1, and the object; blank lines are passed over.

    Raises:
        DataError: A line is no JSON object; file and line are named.
    """
    if Path(path).is_file() and Path(path).stat().st_size == 0:
        return
    for number, raw in numbered_lines(path):
        if not raw.strip():
            continue
        try:
            yield number, parse_json_line(raw).record
        except BadLine as fault:
            raise DataError(f"{path}: line {number}: {fault}") from fault


def _parse(path: str | Path, number: int, record: dict[str, Any]) -> SuggestedChange:
    fault = next((name for name in _CHECKS if not _CHECKS[name](record.get(name))), None)
    if fault is not None:
        raise DataError(
            f"{path}: line {number}: not a suggestion of an audit ({fault!r} is "
            f"{shown_value(record.get(fault))}); give the suggestions.jsonl that `xrt audit` wrote"
        )
    values: dict[str, Any] = {name: record.get(name) for name in _CHECKS}
    for name in ("neighbours", "matched_terms"):
        values[name] = tuple(values[name] or ())
    return SuggestedChange(**values)


def shown_value(value: Any) -> str:
    """A JSON value as an error message shows it.

    Args:
        value: The value; None where there is none.

    Returns:
        JSON, cut off where it is long.
    """
    return "not there" if value is None else json.dumps(value)[:_SHOWN_CHARACTERS]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= _LARGEST  # not of NaN


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_share_or_none(value: Any) -> bool:
    return value is None or _is_share(value)


def _is_list_or_none(value: Any) -> bool:
    return value is None or isinstance(value, list)


_SHOWN_CHARACTERS = 40
_LARGEST = 1e300
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "id": _is_text, "kind": lambda value: value in (ADD, REMOVE), "corpus": _is_text,
    "row": _is_count, "uid": _is_text_or_none, "text": _is_text_or_none, "label": _is_text,
    "name": _is_text, "score": _is_share, "probability": _is_number,
    "linear_probability": _is_number, "threshold": _is_number, "rank": _is_count,
    "agreement": _is_number, "similarity": _is_number, "name_in_text": _is_number,
    "label_rows": _is_count, "neighbours": _is_list_or_none, "matched_terms": _is_list_or_none,
    "trust": _is_share_or_none,
}  # fmt: skip
"""What each field of a suggestion in a file must be."""


def write_parquet(path: Path, suggestions: list[SuggestedChange]) -> None:
    """Write suggestions as a table; neighbours and terms as lists.

    Args:
        path: The file, replaced whole or not at all.
        suggestions: The suggestions, a row each.
    """
    import polars as pl

    schema: dict[str, Any] = {
        "id": pl.Utf8, "kind": pl.Utf8, "corpus": pl.Utf8, "row": pl.Int64, "uid": pl.Utf8,
        "text": pl.Utf8, "label": pl.Utf8, "name": pl.Utf8, "score": pl.Float64,
        "probability": pl.Float64, "linear_probability": pl.Float64, "threshold": pl.Float64,
        "rank": pl.Int64, "agreement": pl.Float64, "similarity": pl.Float64,
        "name_in_text": pl.Float64, "label_rows": pl.Int64, "neighbours": pl.List(pl.Int64),
        "matched_terms": pl.List(pl.Utf8), "trust": pl.Float64,
    }  # fmt: skip
    columns: dict[str, list[Any]] = {
        name: [getattr(s, name) for s in suggestions] for name in schema
    }
    columns["neighbours"] = [[n["row"] for n in s.neighbours] for s in suggestions]
    columns["matched_terms"] = [list(s.matched_terms) for s in suggestions]
    with atomic_file(path) as temporary:
        pl.DataFrame(columns, schema=schema).write_parquet(temporary)
