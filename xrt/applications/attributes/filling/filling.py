"""Fills the empty attribute cells of a catalogue and leaves the others as they are.

The output has all columns of the input in their order and as they were (attributes that the input
lacks stand behind them). Where it is of the same format, CSV, TSV or JSON lines, that holds for
each sign: quotes, blanks, line ends in cells, a byte order mark, the digits of numbers. Then come
`<attribute>_score`, the probability of the value that stands there as the model sees it,
`row_score`, the probability that the model's values of the row are all right (if those that the row
gives are, unless these are overwritten), and `<attribute>_filled`. What a catalogue says and the
model doubts goes to a review file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xrt.applications.attributes.catalogue_settings import Reading
from xrt.applications.attributes.data.catalogue import CatalogueTable
from xrt.applications.attributes.data.item_texts import note_absent_texts, require_a_text
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.filling.cell_codes import list_writable_texts
from xrt.applications.attributes.filling.chunks import CatalogueChunks
from xrt.applications.attributes.filling.decision import MIN_PROBABILITY
from xrt.applications.attributes.filling.filled_rows import OutputRows
from xrt.applications.attributes.filling.filler import ROW_SCORE, Filler, FillPredictor
from xrt.applications.attributes.filling.review import make_review_path
from xrt.applications.attributes.filling.row_types import require_writable
from xrt.applications.attributes.filling.row_writers import open_row_writer, parse_row_suffix
from xrt.errors import ConfigError, DataError
from xrt.metrics.tables import align
from xrt.progress import Progress, SilentProgress

CHUNK_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class FillCounts:
    """What `fill` did, by attribute where it is a dictionary.

    `filled` cells got a value; `none` stayed empty because the model says that there is none,
    `unsure` because the value was less probable than `min_probability`, or stands below a level
    that has none; `disagreements` counts values of the file that the model would not give, of which
    `num_reviewed` are in the review file.
    """

    num_rows: int
    filled: dict[str, int]
    none: dict[str, int]
    unsure: dict[str, int]
    disagreements: dict[str, int]
    num_reviewed: int
    out_path: str
    review_path: str
    notes: tuple[str, ...] = ()

    def to_text(self) -> str:
        """A line an attribute, then the files; the last line is the next step.

        Returns:
            The lines, without a line end behind the last.
        """
        header = ["", "filled", "none", "unsure", "disagreements"]
        counts = (self.filled, self.none, self.unsure, self.disagreements)
        rows = [[name, *(f"{count[name]:,}" for count in counts)] for name in self.filled]
        lines = [align([header, *rows]), "", f"{self.num_rows:,} rows written to {self.out_path}"]
        return "\n".join([*lines, *self.notes, self._next_step()])

    def _next_step(self) -> str:
        total = sum(self.disagreements.values())
        if total:
            prefix = "" if self.num_reviewed == total else f"the first {self.num_reviewed:,} of "
            return (
                f"next: look through {prefix}{total:,} disagreements in {self.review_path}, most "
                "confident first"
            )
        if sum(self.unsure.values()):
            return f"next: look at the empty cells of {self.out_path}, or lower the least score"
        return f"next: look at the rows of {self.out_path} with the lowest {ROW_SCORE}"


def fill(
    predictor: FillPredictor,
    in_path: str | Path,
    out_path: str | Path,
    *,
    min_probability: float = MIN_PROBABILITY,
    overwrite: bool = False,
    review_path: str | Path | None = None,
    reading: Reading | None = None,
    progress: Progress | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> FillCounts:
    """Fill the missing attributes of a catalogue, chunk by chunk.

    Args:
        predictor: The model.
        in_path: CSV, TSV, JSONL or Parquet; attribute columns may be absent.
        out_path: The same formats by name; it appears whole or not at all.
        min_probability: Cells whose value is less probable stay empty, 0..1. Where it is the
            default, nothing is written that is more likely wrong than right.
        overwrite: Replace given values, too, by values that are probable enough.
        review_path: Where disagreements go; None: `<name of out_path>.review.jsonl`.
        reading: How the input is read; None: as the training file was.
        progress: Counts the finished rows.
        chunk_rows: Rows in memory at once.

    Returns:
        What was done.

    Raises:
        DataError: a text column is not there, a row cannot be read, or the columns to be added are
            there already.
        ConfigError: a path of no known format, an output that is the input, a probability outside
            of 0 to 1.
    """
    review_path = make_review_path(out_path) if review_path is None else Path(review_path)
    _check_settings(Path(in_path), Path(out_path), review_path, min_probability)
    suffix, attributes = parse_row_suffix(out_path), predictor.space.attributes
    source = CatalogueChunks(
        in_path, chunk_rows, predictor.schema.input_columns(), attributes,
        reading or predictor.reading, Path(out_path).parent,
    )  # fmt: skip
    _check_columns(source, attributes, predictor.schema)
    rows = OutputRows(source, list_writable_texts(predictor.schema, predictor.space), suffix)
    require_writable(rows.output_schema(), suffix, out_path)
    filler = Filler(predictor, rows, min_probability, overwrite)
    progress = progress or SilentProgress()
    progress.start("rows filled", None)
    num_rows = 0
    try:
        with open_row_writer(out_path) as write:
            for chunk in source:
                write(*filler.fill(chunk, num_rows))
                num_rows += chunk.num_rows
                progress.advance(chunk.num_rows)
            if not num_rows:
                raise DataError(f"{in_path}: no rows; give at least one")
            num_reviewed = filler.review.write(review_path)
    finally:
        progress.finish()
    return FillCounts(
        num_rows=num_rows,
        filled=filler.counts["filled"],
        none=filler.counts["none"],
        unsure=filler.counts["unsure"],
        disagreements=filler.review.counts,
        num_reviewed=num_reviewed,
        out_path=str(out_path),
        review_path=str(review_path),
        notes=(*note_absent_texts(source.names, predictor.schema), *source.notes()),
    )


def _check_columns(
    source: CatalogueChunks, attributes: Sequence[str], schema: AttributeSchema
) -> None:
    columns: dict[str, list[str]] = {name: [] for name in source.names}
    require_a_text(CatalogueTable(columns, str(source.path)), schema)
    extra = [f"{name}_{kind}" for name in attributes for kind in ("score", "filled")]
    if there := [name for name in [*extra, ROW_SCORE] if name in source.names]:
        raise DataError(
            f"{source.path}: columns {', '.join(there)} would be added, but are there already; "
            "rename them or leave them out"
        )


def _check_settings(
    in_path: Path, out_path: Path, review_path: Path, min_probability: float
) -> None:
    for path in (out_path, review_path):
        parse_row_suffix(path)
        if path.resolve() == in_path.resolve():
            raise ConfigError(f"{path}: would overwrite the input; choose another name")
    if out_path.resolve() == review_path.resolve():
        raise ConfigError(f"{out_path}: both the rows and the review file; choose two names")
    if not 0 <= min_probability <= 1:
        raise ConfigError(f"min_probability = {min_probability:g}: must lie in 0..1")
