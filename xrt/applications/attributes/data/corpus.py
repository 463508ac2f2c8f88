"""Rows of a catalogue as a corpus: item texts, and one label `attribute=value` for each attribute.

Shapes: N rows, A attributes, L labels.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from xrt.applications.attributes.data.catalogue import (
    CatalogueTable,
    SeveralValues,
    parse_list,
    read_catalogue,
    take_single_value,
)
from xrt.applications.attributes.data.item_texts import ItemTexts, note_absent_texts
from xrt.applications.attributes.data.schema import AttributeSchema, EmptyMeans
from xrt.applications.attributes.data.space import AttributeSpace, label_id, make_value_table
from xrt.data.collect import csr_from_parts
from xrt.data.corpus import Corpus, ReadReport
from xrt.data.formats import CorpusFormat, align_labels
from xrt.data.labels import LabelTable
from xrt.data.options import BadLine, ReadOptions
from xrt.data.records import RecordParser, missing_side_column
from xrt.data.times import as_groups
from xrt.errors import DataError

logger = logging.getLogger(__name__)

EMPTY, NONE = -1, -2  # codes beside those of values
_SHOWN_EXAMPLES = 3
_SHOWN_SIGNS = 60


def read_attributes(
    source: str | Path | CatalogueTable,
    schema: AttributeSchema | None = None,
    labels: LabelTable | None = None,
    item_texts: ItemTexts | None = None,
    *,
    format: CorpusFormat | str | None = None,
    weight_column: str | None = None,
    group_column: str | None = None,
    time_column: str | None = None,
    skip_bad_lines: bool = False,
    bad_lines_folder: str | Path = ".",
) -> tuple[Corpus, AttributeSpace, ItemTexts]:
    """Read a catalogue for training or, with `item_texts` and `labels` of training, to evaluate.

    Labels are the sorted `attribute=value` ids, named by their values. In evaluation the labels of
    training keep their columns, values never seen in it follow and are counted in the report, and
    target columns may be absent. In training the schema comes back, in `ItemTexts.schema`,
    resolved and without attributes that no row gives.

    Args:
        source: The file, or a table read before.
        schema: The roles of the columns; None infers all. Not used with `item_texts`.
        labels: The label table of training.
        item_texts: What training fitted.
        format: One of csv, tsv, parquet, jsonl; None tells it from name and content.
        weight_column: The column of each row's weight in training; None: rows count alike.
        group_column: The column whose rows with the same value stay together where rows are held
            out.
        time_column: The column of each row's time, a date or a number.
        skip_bad_lines: Write bad lines to `<file name>.bad-lines.jsonl` instead of raising.
        bad_lines_folder: The folder of that file.

    Returns:
        The corpus, the attribute space of its labels, and the item texts.

    Raises:
        DataError: the file cannot be used, no text column is there, or, in training, a target
            column is not, no row gives any attribute, a weight is no number above 0, or a time
            neither a date nor a number.
    """
    training = item_texts is None
    table = source
    if not isinstance(table, CatalogueTable):
        columns = None
        if item_texts is not None:
            columns = [*item_texts.schema.input_columns(), *(item_texts.schema.targets or [])]
        table = read_catalogue(
            table, format=format, columns=columns, skip_bad_lines=skip_bad_lines,
            bad_lines_folder=bad_lines_folder,
        )  # fmt: skip
    options = ReadOptions(
        weight_column=weight_column, group_column=group_column, time_column=time_column
    )
    sides, table = _take_sides(table, options)
    if item_texts is None:
        item_texts = ItemTexts.fit(table, schema or AttributeSchema())
    schema = item_texts.schema
    targets = list(schema.targets or [])
    values, codes_AN = encode_targets(table, schema)
    notes = [*table.notes]
    if training:
        has_values = [bool((codes >= 0).any()) for codes in codes_AN]
        notes += [*item_texts.notes, *note_missing_attributes(targets, has_values, table)]
        notes += note_shared_values(schema.hierarchy or [], targets, values, codes_AN)
        notes += note_empty_as_none(schema, table, codes_AN)
        schema = _without_missing(schema, has_values)
        item_texts = replace(item_texts, schema=schema)
    else:
        notes += note_absent_texts(table.columns, schema)
    corpus = _corpus(table, item_texts.texts(table), targets, values, codes_AN, notes)
    corpus = replace(
        corpus, row_weights=sides["row_weights"], groups=sides["groups"], times=sides["times"]
    )
    if labels is not None:
        corpus = align_labels(corpus, labels)
    space = AttributeSpace(
        tuple(schema.targets or ()), tuple(schema.hierarchy or ()), corpus.labels
    )
    for note in notes:
        logger.warning("%s: %s", table.path, note)
    return corpus, space, item_texts


def encode_targets(
    table: CatalogueTable, schema: AttributeSchema
) -> tuple[list[list[str]], list[np.ndarray]]:
    """For each target its distinct values, and int64 (N,) codes into them, `EMPTY` or `NONE`.

    Values are clean (`clean_label`); what empty cells say is decided by the schema. A column that
    is not there is empty.

    Raises DataError: a cell holds several values, or no text.

    Args:
        table: The rows.
        schema: Names the targets and says what empty cells mean.

    Returns:
        The values of each target, and its codes; both in the order of `schema.targets`.
    """
    values, codes_AN = [], []
    for name in schema.targets or []:
        if name in table.no_text:
            raise DataError(
                f"{table.path}: column {name!r}: {table.no_text[name]}, where a target has one "
                "value a row; write the value as text"
            )
        column_values, codes = _encode(name, table, schema)
        values.append(column_values)
        codes_AN.append(codes)
    _decide_empty(schema, codes_AN, [name in table.columns for name in schema.targets or []])
    return values, codes_AN


def _encode(
    name: str, table: CatalogueTable, schema: AttributeSchema
) -> tuple[list[str], np.ndarray]:
    cells, num_rows = table.columns.get(name), table.num_rows
    if cells is None:
        return [], np.full(num_rows, EMPTY)
    index: dict[str, int] = {}
    raw = np.fromiter((index.setdefault(cell, len(index)) for cell in cells), np.int64, num_rows)
    values: dict[str, int] = {}
    code_of_raw = np.empty(len(index), np.int64)
    for position, cell in enumerate(index):
        value = read_value(cell, name, table)
        if not value:
            code_of_raw[position] = EMPTY
        elif schema.says_none(value):
            code_of_raw[position] = NONE
        else:
            code_of_raw[position] = values.setdefault(value, len(values))
    return list(values), code_of_raw[raw]


def read_value(cell: str, name: str, table: CatalogueTable, num_before: int = 0) -> str:
    """The clean value of a target cell; '' where it is empty.

    Args:
        cell: Its text.
        name: The column.
        table: The rows it is from, for a message.
        num_before: Rows of the file before these.

    Returns:
        The value.

    Raises:
        DataError: the cell holds a list of several values.
    """
    try:
        return take_single_value(cell)
    except SeveralValues as fault:
        cells = table.columns[name]
        others = (
            sum(1 for other in cells if other[:1] == "[" and len(parse_list(other) or ()) > 1) - 1
        )
        more = f" (and {others} rows more)" if others else ""
        raise DataError(
            f"{table.path}: row {num_before + cells.index(cell) + 1}{more}: column {name!r} holds "
            f"{fault}, where a target has one value; keep one of them, or give each level a column"
        ) from None


def _decide_empty(schema: AttributeSchema, codes_AN: list[np.ndarray], present: list[bool]) -> None:
    """Turn empty cells of columns that are there into `NONE` where the schema says so."""
    if schema.empty is EmptyMeans.MISSING or not codes_AN:
        return
    if schema.empty is EmptyMeans.NONE:
        for codes, is_there in zip(codes_AN, present, strict=True):
            if is_there:
                codes[codes == EMPTY] = NONE
        return
    positions = [(schema.targets or []).index(level) for level in schema.hierarchy or []]
    levels = [codes_AN[a] for a in positions if present[a]]
    empty = [codes == EMPTY for codes in levels]
    for i in range(1, len(levels)):
        given_above = np.any([~cells for cells in empty[:i]], axis=0)
        empty_below = np.all([empty[i], *empty[i + 1 :]], axis=0)
        levels[i][given_above & empty_below] = NONE


def note_missing_attributes(
    targets: Sequence[str], has_values: Sequence[bool], table: CatalogueTable
) -> list[str]:
    """A note for each attribute that no row gives. Raises DataError: no row gives any.

    Args:
        targets: The attributes.
        has_values: For each of them, whether a row gives it.
        table: The rows, for the messages.

    Returns:
        The notes.
    """
    missing = [name for name, has_value in zip(targets, has_values, strict=True) if not has_value]
    if len(missing) == len(targets):
        raise DataError(
            f"{table.path}: none of the {table.num_rows} rows has a value for "
            f"{', '.join(targets)}; fill in some or name other targets"
        )
    return [
        f"attribute {name!r}: none of the {table.num_rows} rows gives it; left out of the model"
        for name in missing
    ]


def note_empty_as_none(
    schema: AttributeSchema, table: CatalogueTable, codes_AN: list[np.ndarray]
) -> list[str]:
    """A note where empty cells count as "none" though no setting says so.

    Args:
        schema: The targets, their hierarchy and what empty cells mean.
        table: The rows.
        codes_AN: For each target int64 (N,) codes, as `encode_targets` gives them.

    Returns:
        One note, or none.
    """
    if schema.empty is not EmptyMeans.AUTO:
        return []
    counts = {}
    for level in schema.hierarchy or []:
        codes = codes_AN[(schema.targets or []).index(level)]
        count = sum(not table.columns[level][row] for row in np.flatnonzero(codes == NONE).tolist())
        if count:
            counts[level] = count
    if not counts:
        return []
    examples = ", ".join(f"{level} in {count:,} rows" for level, count in counts.items())
    return [
        f"empty cells where a path ends are learnt as 'none' ({examples}); where the value is only "
        "unknown, set schema.empty=missing"
    ]


def note_shared_values(
    hierarchy: Sequence[str],
    targets: Sequence[str],
    values: list[list[str]],
    codes_AN: list[np.ndarray],
) -> list[str]:
    """A note for each level of the hierarchy in which values stand below two parents or more.

    Args:
        hierarchy: The levels, coarse to fine.
        targets: The attributes, the levels among them.
        values: For each target its distinct values.
        codes_AN: For each target int64 (N,) codes into its values, negative where a row has none.

    Returns:
        The notes.
    """
    notes = []
    for coarse, fine in pairwise(hierarchy):
        a, b = targets.index(coarse), targets.index(fine)
        both = (codes_AN[a] >= 0) & (codes_AN[b] >= 0)
        pairs = np.unique(np.column_stack([codes_AN[b][both], codes_AN[a][both]]), axis=0)
        children, num_parents = np.unique(pairs[:, 0], return_counts=True)
        several = children[num_parents > 1]
        if not len(several):
            continue
        examples = []
        for child in several[:_SHOWN_EXAMPLES]:
            parents = [values[a][p] for p in pairs[pairs[:, 0] == child, 1]]
            pair = " and ".join(repr(parent[:_SHOWN_SIGNS]) for parent in parents[:2])
            examples.append(f"{values[b][child][:_SHOWN_SIGNS]!r} under {pair}")
        who = f"{len(several)} values of {fine} stand"
        if len(several) == 1:
            who = f"1 value of {fine} stands"
        notes.append(
            f"{who} under two values of {coarse} or more (all kept): {'; '.join(examples)}"
        )
    return notes


def _corpus(
    table: CatalogueTable,
    texts: list[str],
    targets: Sequence[str],
    values: list[list[str]],
    codes_AN: list[np.ndarray],
    notes: Sequence[str],
) -> Corpus:
    num_rows = table.num_rows
    label_ids = [  # label ids, the none label last, only where a row has it
        [label_id(name, value) for value in column_values]
        + ([label_id(name, None)] if (codes == NONE).any() else [])
        for name, column_values, codes in zip(targets, values, codes_AN, strict=True)
    ]
    labels = make_value_table(sorted(id for ids in label_ids for id in ids))
    columns_NA = np.full((num_rows, len(targets)), -1, np.int64)
    for a, (ids, codes) in enumerate(zip(label_ids, codes_AN, strict=True)):
        # a none label is the last of `ids`, which is where -2 + 1 points; -1 (empty) is masked
        column_of = np.array([labels.index[id] for id in ids], np.int64)
        has_label = codes != EMPTY
        columns_NA[has_label, a] = column_of[
            np.where(codes == NONE, len(ids) - 1, codes)[has_label]
        ]
    has_label_NA = columns_NA >= 0
    indptr = np.concatenate([[0], np.cumsum(has_label_NA.sum(axis=1))])
    columns = columns_NA[has_label_NA]
    Y = csr_from_parts(np.ones(len(columns), np.float32), columns, indptr, len(labels))
    rows = zip(texts, *(column.tolist() for column in columns_NA.T), strict=True)
    return Corpus(
        texts=texts,
        Y=Y,
        labels=labels,
        report=ReadReport(
            path=table.path,
            num_rows=num_rows,
            num_skipped=len(table.skipped_rows),
            num_empty_texts=texts.count(""),
            num_without_labels=int((~has_label_NA.any(axis=1)).sum()),
            num_duplicate_rows=num_rows - len(set(map(hash, rows))),
            skipped_rows=table.skipped_rows,
            bad_lines_path=table.bad_lines_path,
            notes=tuple(notes),
        ),
    )


def _take_sides(
    table: CatalogueTable, options: ReadOptions
) -> tuple[dict[str, np.ndarray | None], CatalogueTable]:
    """Weights, groups and times of the rows, as a corpus has them, and the table without their
    columns.
    """
    for what, name in options.side_columns.items():
        if name not in table.columns:
            raise DataError(missing_side_column(table.path, what, name, table.columns))
    parser = RecordParser(options, split_by_default=False)
    readers: dict[str, tuple[str | None, Callable[[dict[str, Any]], Any]]] = {
        "row_weights": (options.weight_column, parser.weight),
        "groups": (options.group_column, parser.group),
        "times": (options.time_column, parser.time),
    }
    values: dict[str, list[Any] | None] = {
        what: None if name is None else _side(table, name, read)
        for what, (name, read) in readers.items()
    }
    side_names = set(options.side_columns.values())
    others = {name: cells for name, cells in table.columns.items() if name not in side_names}
    weights, times = values["row_weights"], values["times"]
    return {
        "row_weights": None if weights is None else np.array(weights, np.float32),
        "groups": as_groups(values["groups"], table.num_rows),
        "times": None if times is None else np.array(times, np.float64),
    }, replace(table, columns=others)


def _side(table: CatalogueTable, name: str, read: Callable[[dict[str, Any]], Any]) -> list[Any]:
    values = []
    for row, cell in enumerate(table.columns[name]):
        try:
            values.append(read({name: cell}))
        except BadLine as fault:
            raise DataError(f"{table.path}: row {row + 1}: {fault}") from None
    return values


def _without_missing(schema: AttributeSchema, has_values: Sequence[bool]) -> AttributeSchema:
    targets = [
        name for name, has_value in zip(schema.targets or [], has_values, strict=True) if has_value
    ]
    hierarchy = [name for name in schema.hierarchy or [] if name in targets]
    return replace(schema, targets=targets, hierarchy=hierarchy)
