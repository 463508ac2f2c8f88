"""The rows of a filled catalogue: as a frame, or as lines where output and input are written alike.

All columns of the input stay in their order and as they were. Attributes that it lacks stand behind
them, then the columns that are added.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from xrt.applications.attributes.filling.chunks import CatalogueChunks, Chunk
from xrt.applications.attributes.filling.raw_rows import read_file_edges, rewrite_json_row
from xrt.applications.attributes.filling.row_types import holds_texts
from xrt.data.formats import CorpusFormat

CellTexts = Mapping[str, Mapping[int, str]]
"""Attribute -> row -> what is written there; '' leaves the cell empty."""


class OutputRows:
    """Makes the rows of the output, chunk by chunk.

    Args:
        source: The input.
        texts: Attribute -> the values that may be written.
        suffix: The format of the output, as `row_suffix` gives it.
    """

    def __init__(
        self, source: CatalogueChunks, texts: Mapping[str, Sequence[str]], suffix: str
    ) -> None:
        self.source = source
        self.attributes = list(texts)
        self.as_lines = suffix == f".{source.format.value}" != ".parquet"
        self._is_first = True
        self._types = {
            name: dtype
            for name in texts
            if (dtype := source.schema.get(source.keys.get(name, name))) is not None
            and (dtype == pl.String or holds_texts(dtype, filter(None, texts[name])))
        }

    def output_schema(self) -> dict[str, pl.DataType]:
        """Column -> type of the frames, without the columns that are added.

        Returns:
            The columns of the input, then attributes that it lacks.
        """
        schema = dict(self.source.schema)
        for name in self.attributes:
            schema[self._key(name)] = self._types.get(name, pl.String())
        return schema

    def of(
        self, chunk: Chunk, texts: CellTexts, extra: pl.DataFrame
    ) -> tuple[pl.DataFrame, list[str] | None]:
        """The rows of a chunk.

        Args:
            chunk: The rows of the input.
            texts: What is written into which cells.
            extra: The columns behind all others.

        Returns:
            The rows as a frame; or an empty frame and the rows as lines, the header first.
        """
        if not self.as_lines:
            return self._frame(chunk, texts, extra), None
        is_json = self.source.format is CorpusFormat.JSONL
        lines = (self._json_lines if is_json else self._text_lines)(chunk, texts, extra)
        self._is_first = False
        return pl.DataFrame(), lines

    def _key(self, name: str) -> str:
        return self.source.keys.get(name, name)

    def _frame(self, chunk: Chunk, texts: CellTexts, extra: pl.DataFrame) -> pl.DataFrame:
        columns = {series.name: series for series in chunk.frame}
        for name in self.attributes:
            key = self._key(name)
            columns[key] = self._column(name, columns.get(key), chunk, texts[name])
        return pl.DataFrame({**columns, **{series.name: series for series in extra}})

    def _column(
        self, name: str, series: pl.Series | None, chunk: Chunk, texts: Mapping[int, str]
    ) -> pl.Series:
        dtype = self._types.get(name, pl.String())
        cells: list[Any]
        if series is None:
            cells = [None] * chunk.num_rows
        elif name in self._types:
            cells = series.to_list()
        else:
            cells = [cell or None for cell in chunk.table.columns[name]]
        new = pl.Series([text or None for text in texts.values()], dtype=pl.String).cast(dtype)
        for row, cell in zip(texts, new.to_list(), strict=True):
            cells[row] = cell
        return pl.Series(self._key(name), cells, dtype)

    def _text_lines(self, chunk: Chunk, texts: CellTexts, extra: pl.DataFrame) -> list[str]:
        style = self.source.style
        assert style is not None
        assert chunk.lines is not None
        names = self.source.names
        places = {name: names.index(name) for name in texts if name in names}
        absent = [name for name in self.attributes if name not in places]
        changes: dict[int, dict[int, str]] = {}
        for name, place in places.items():
            for row, text in texts[name].items():
                changes.setdefault(row, {})[place] = text
        more = extra.select(pl.all().cast(pl.String).fill_null("")).rows()
        lines = [style.head([*absent, *extra.columns])] if self._is_first else []
        for row, (raw, cells) in enumerate(zip(chunk.lines, more, strict=True)):
            behind = [texts[name].get(row, "") for name in absent]
            lines.append(style.row(raw, changes.get(row, {}), [*behind, *cells]))
        return lines

    def _json_lines(self, chunk: Chunk, texts: CellTexts, extra: pl.DataFrame) -> list[str]:
        assert chunk.lines is not None
        changes: list[dict[str, str | None]] = [{} for _ in chunk.lines]
        for name, cells in texts.items():
            for row, text in cells.items():
                changes[row][self._key(name)] = text or None
        more = extra.iter_rows(named=True)
        mark, end = read_file_edges(self.source.path)
        lines = [
            rewrite_json_row(raw, values, behind, end)
            for raw, values, behind in zip(chunk.lines, changes, more, strict=True)
        ]
        return [mark, *lines] if self._is_first else lines
