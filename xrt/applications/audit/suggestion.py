"""A suggested change of a corpus, with the evidence for it; a list of them in a file.

One JSON object a line; each says which corpus it belongs to, so that it is applied to no other.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from xrt.atomic import atomic_file
from xrt.data.corpus import Corpus
from xrt.errors import DataError
from xrt.hashing import content_hash
from xrt.sparse import as_csr, binarize

ADD, REMOVE = "add", "remove"
EVIDENCE_FEATURES = (
    "score", "probability", "linear_probability", "threshold", "rank", "agreement", "similarity",
    "name_in_text", "label_rows",
)  # fmt: skip
"""Figures of a suggestion that say how far to trust it."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
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
    """What a corpus hashes to: texts or features, and the labels of each row; 16 digits."""
    texts = corpus.X if corpus.texts is None else corpus.texts
    told = [content_hash(texts), content_hash(binarize(as_csr(corpus.Y))), list(corpus.labels.ids)]
    return content_hash(told)[:16]


def write_suggestions(path: Path, suggestions: Iterable[Suggestion]) -> None:
    """Write them, one a line, whole or not at all."""
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for suggestion in suggestions:
            file.write(json.dumps(asdict(suggestion), ensure_ascii=True) + "\n")


def read_suggestions(path: str | Path) -> list[Suggestion]:
    """Read what `write_suggestions` wrote.

    Raises DataError naming file and line for anything else.
    """
    return [_parse(path, number, record) for number, record in read_lines(path)]


def read_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with their line numbers. Raises DataError for a bad line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"{path}: cannot be read ({err}); name the JSONL file of an audit") from err
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as err:
            raise DataError(f"{path}: line {number}: not JSON ({err})") from err
        if not isinstance(record, dict):
            raise DataError(f"{path}: line {number}: an object is needed, not {line[:40]!r}")
        yield number, record


def _parse(path: str | Path, number: int, record: dict[str, Any]) -> Suggestion:
    known = {field.name for field in fields(Suggestion)}
    try:
        found = {name: record[name] for name in known if name in record}
        lists = {name: tuple(found.get(name, ())) for name in ("neighbours", "matched_terms")}
        suggestion = Suggestion(**(found | lists))
        numbers = [float(getattr(suggestion, name)) for name in EVIDENCE_FEATURES]
        sound = suggestion.kind in (ADD, REMOVE) and isinstance(suggestion.row, int)
    except (TypeError, ValueError) as err:
        raise DataError(f"{path}: line {number}: not a suggestion of an audit ({err})") from err
    if not sound or any(value != value for value in numbers):
        raise DataError(f"{path}: line {number}: not a suggestion of an audit; audit anew")
    return suggestion


def write_parquet(path: Path, suggestions: list[Suggestion]) -> None:
    """The same as a table; neighbours and terms as lists."""
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
