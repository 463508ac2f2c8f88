"""The door of the data floor: one function reads any of the formats, one writes them.

| format  | files                                                                  |
|---------|------------------------------------------------------------------------|
| jsonl   | `*.jsonl`, one object a line: `title`, `content` (or `text`), `labels`   |
| csv     | `*.csv` with a header                                                  |
| tsv     | `*.tsv` with a header                                                  |
| parquet | `*.parquet`                                                            |
| bow     | `N D L` header, then `l1,l2 f:v f:v` (Extreme Classification Repository) |
| lf      | `trn.json` with `target_ind`, `lbl.json`, `filter_labels_*.txt`        |
| npz     | `X.trn.npz` with `Y.trn.npz`, `X.trn.txt`, `output-items.txt`          |

All but Parquet and npz may be packed with gzip or xz.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

import numpy as np

from xrt.data.bow import parse_counts, read_bow
from xrt.data.collect import csr_from_parts, labels_in_order
from xrt.data.corpus import Corpus, LabelTable, check_filters
from xrt.data.jsonl import read_jsonl
from xrt.data.labels import LABEL_TABLE_NAME, read_label_table
from xrt.data.lf import filter_note, find_filters, read_filters, read_lf, without_skipped
from xrt.data.npz import is_pair_name, load_matrix, read_npz
from xrt.data.options import ReadOptions
from xrt.data.records import LABEL_ADVICE
from xrt.data.side_tables import join
from xrt.data.sources import beside, first_line, plain_name, require_file
from xrt.data.tables import read_csv, read_parquet, read_tsv
from xrt.data.writers import write_bow, write_csv, write_jsonl, write_npz
from xrt.errors import ConfigError, DataError

logger = logging.getLogger(__name__)


class CorpusFormat(str, Enum):
    """The formats by name."""

    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    BOW = "bow"
    LF = "lf"
    NPZ = "npz"


_READERS: dict[CorpusFormat, Callable[[Path, ReadOptions], Corpus]] = {
    CorpusFormat.JSONL: read_jsonl,
    CorpusFormat.CSV: read_csv,
    CorpusFormat.TSV: read_tsv,
    CorpusFormat.PARQUET: read_parquet,
    CorpusFormat.BOW: read_bow,
    CorpusFormat.LF: read_lf,
    CorpusFormat.NPZ: read_npz,
}
_WRITERS: dict[CorpusFormat, Callable[[Corpus, Path], None]] = {
    CorpusFormat.JSONL: write_jsonl,
    CorpusFormat.CSV: write_csv,
    CorpusFormat.BOW: write_bow,
    CorpusFormat.NPZ: write_npz,
}
_WITH_COLUMNS = (CorpusFormat.JSONL, CorpusFormat.CSV, CorpusFormat.TSV, CorpusFormat.PARQUET)
_SUFFIXES = {
    ".jsonl": CorpusFormat.JSONL,
    ".ndjson": CorpusFormat.JSONL,
    ".json": CorpusFormat.JSONL,
    ".csv": CorpusFormat.CSV,
    ".tsv": CorpusFormat.TSV,
    ".parquet": CorpusFormat.PARQUET,
    ".pq": CorpusFormat.PARQUET,
    ".npz": CorpusFormat.NPZ,
}


def read_corpus(
    path: str | Path,
    *,
    format: CorpusFormat | str | None = None,
    labels: LabelTable | None = None,
    label_names: str | Path | None = None,
    text_columns: str | Sequence[str] | None = None,
    label_column: str | Sequence[str] = "labels",
    label_separator: str | None = None,
    weight_column: str | None = None,
    group_column: str | None = None,
    time_column: str | None = None,
    id_column: str | None = None,
    skip_bad_lines: bool = False,
    bad_lines_folder: str | Path = ".",
    require_labels: bool = True,
    filters: str | Path | None = None,
    features: str | Path | None = None,
) -> Corpus:
    r"""Read texts (or features) with their labels from a file of any format this module lists.

    A row's text is its `text`, or else `title` and `content` (or the `text_columns` named), joined
    by a line end. Columns of Y are the sorted label ids; in bow, lf and npz those of the file.
    Labels, ids and column names are compared as `xrt.data.cells.clean_label` leaves them.

    Args:
        path: The file. For npz, the X (or Y) file of the pair.
        format: One of `CorpusFormat`; None tells it from name and content.
        labels: The table of the training corpus, when this is a test file: its labels keep their
            columns, labels that it lacks are appended and counted in the report.
        label_names: A file of lines `id TAB name`, or CSV with a header such as `id,name`; it must
            fit one label at least. None takes `labels.tsv` where it lies beside.
        text_columns: The columns that make up the text.
        label_column: The column of the labels; with a list of columns, labels are `column=value`.
        label_separator: Splits a label value; None is ';' for one column of CSV, TSV or Parquet,
            and no splitting for JSONL and for a list of columns.
        weight_column: The column (key) of JSONL, CSV, TSV or Parquet that says how much each row
            counts in training; None reads none, whatever the columns are called.
        group_column: The column (key) of those formats that says which rows stay together where
            rows are held out (`Corpus.groups`).
        time_column: The column (key) of those formats that says how new each row is
            (`Corpus.times`): dates in ISO form, or numbers.
        id_column: The column (key) of those formats that holds each row's own id (`Corpus.ids`);
            None takes `uid`, else `id`, where they are there.
        skip_bad_lines: Write bad lines to `<file name>.bad-lines.jsonl` instead of raising.
        bad_lines_folder: The folder of that file.
        require_labels: Whether a file without any label is an error.
        filters: Pairs to strike from rankings; None takes the standard file beside an LF set.
        features: An npz matrix of this file's rows, to be `Corpus.X`.

    Returns:
        The corpus; `report` says what was odd about the file.

    Raises:
        DataError: the file cannot be used; the message names file, line, cause and what to do.
    """
    path = require_file(path)
    options = ReadOptions(
        text_columns=text_columns,
        label_column=label_column,
        label_separator=label_separator,
        weight_column=weight_column,
        group_column=group_column,
        time_column=time_column,
        id_column=id_column,
        skip_bad_lines=skip_bad_lines,
        bad_lines_folder=bad_lines_folder,
        require_labels=require_labels,
    )
    corpus_format = _as_format(format) if format is not None else detect_format(path)
    for setting, named in (
        ("text_columns", text_columns),
        ("label_column", None if label_column == "labels" else label_column),
        ("label_separator", label_separator),
        ("weight_column", weight_column),
        ("group_column", group_column),
        ("time_column", time_column),
        ("id_column", id_column),
    ):
        if named is not None and corpus_format not in _WITH_COLUMNS:
            raise ConfigError(
                f"{setting} = {named!r}: {path} is {corpus_format.value}, which has no named "
                "columns; leave it out, or give JSONL, CSV, TSV or Parquet"
            )
    corpus = _READERS[corpus_format](path, options)
    corpus = _with_features(corpus, features)
    corpus = _with_filters(corpus, path, corpus_format, filters)
    corpus = _with_names(corpus, path, label_names, known=labels is not None)
    if require_labels and corpus.Y.nnz == 0:
        raise DataError(
            f"{path}: none of the {corpus.num_instances} rows has a label; add labels",
            settings=LABEL_ADVICE,
        )
    if labels is not None:
        corpus = align_labels(corpus, labels)
    _log(corpus)
    return corpus


def write_corpus(
    corpus: Corpus, path: str | Path, format: CorpusFormat | str | None = None
) -> None:
    """Write a corpus as jsonl, csv, bow or npz, whole or not at all; `.gz` and `.xz` are packed.

    Without `format` the name decides (`*.txt` is bow). A format that cannot hold what the
    corpus has (weights in csv, bow) is refused; what each leaves out stands in `xrt.data.writers`.

    Args:
        corpus: The corpus.
        path: The file; for npz, that of X.
        format: The format or its name; None for the one that the file's name tells.

    Raises:
        ConfigError: no format is known for the name, the format is unknown, or it is read but not
            written.
        DataError: the corpus lacks what the format needs, or has what it cannot hold.
    """
    path = Path(path)
    if format is None:
        suffix = Path(plain_name(path)).suffix
        corpus_format = CorpusFormat.BOW if suffix == ".txt" else _SUFFIXES.get(suffix)
        if corpus_format is None:
            raise ConfigError(
                f"{path}: no format is known for {suffix!r}; name the file .jsonl, .csv or .txt",
                settings={"format": "to choose one"},
            )
    else:
        corpus_format = _as_format(format)
    if corpus_format not in _WRITERS:
        names = ", ".join(f.value for f in _WRITERS)
        raise ConfigError(
            f"format {corpus_format.value!r} is read but not written; choose one of {names}"
        )
    _WRITERS[corpus_format](corpus, path)


def format_by_name(path: str | Path) -> CorpusFormat | None:
    """The format that a file's name tells, packed or not; None where it tells none.

    Args:
        path: The file, which need not be there.

    Returns:
        The format, or None.
    """
    if is_pair_name(path):
        return CorpusFormat.NPZ
    return _SUFFIXES.get(Path(plain_name(path)).suffix)


def detect_format(path: str | Path) -> CorpusFormat:
    """Tell the format of a file from its name and its first line.

    Args:
        path: The file.

    Returns:
        The format.

    Raises:
        DataError: the file is missing, empty or damaged, or neither its name nor its first line
            says enough.
    """
    path = require_file(path)
    by_name = format_by_name(path)
    if by_name not in (None, CorpusFormat.JSONL):
        return by_name
    line = first_line(path)
    if line.startswith(b"PAR1"):
        return CorpusFormat.PARQUET
    if b'"target_ind"' in line:
        return CorpusFormat.LF
    if by_name is not None or line.startswith(b"{"):
        return CorpusFormat.JSONL
    counts = parse_counts(line)
    if counts is not None and len(counts) == 3:
        return CorpusFormat.BOW
    names = ", ".join(f.value for f in CorpusFormat)
    shown = line[:40].decode("utf-8", "replace")
    raise DataError(
        f"{path}: line 1: {shown!r} fits no known format; name the file .jsonl, .csv or .tsv",
        settings={"format": f"to choose one of {names}"},
    )


def align_labels(corpus: Corpus, labels: LabelTable) -> Corpus:
    """The corpus with the columns of `labels`; labels it lacks follow, if any row has them.

    Those are counted in the report as unseen.

    Args:
        corpus: N rows.
        labels: The labels of the columns, such as those of a model.

    Returns:
        The corpus with Y (N, L), L being all labels of `labels` and those that follow.
    """
    used = np.zeros(corpus.num_labels, bool)
    used[corpus.Y.indices] = True
    if corpus.filters is not None:
        used[corpus.filters[:, 1]] = True
    columns = [labels.column_of(id) for id in corpus.labels.ids]
    in_table = np.array([column is not None for column in columns], bool)
    columns_used = np.flatnonzero(used | in_table)
    ids = [_id_in(labels, columns[i], corpus.labels.ids[i]) for i in columns_used]
    table = labels.extended(
        LabelTable.from_ids(ids, [corpus.labels.names[i] for i in columns_used])
    )
    column_of = np.full(corpus.num_labels, -1, np.int64)
    column_of[columns_used] = labels_in_order(ids, table)
    Y = csr_from_parts(corpus.Y.data, column_of[corpus.Y.indices], corpus.Y.indptr, len(table))
    filters = corpus.filters
    if filters is not None:
        filters = np.column_stack([filters[:, 0], column_of[filters[:, 1]]])
    unseen = Y.indices[Y.indices >= len(labels)]
    report = replace(
        corpus.report, num_unseen_labels=len(np.unique(unseen)), num_unseen_pairs=len(unseen)
    )
    return replace(corpus, Y=Y, labels=table, filters=filters, report=report)


def _id_in(labels: LabelTable, column: int | None, id: str) -> str:
    """The id of this column of a table; `id` where the table lacks it."""
    return id if column is None else labels.ids[column]


def _as_format(format: CorpusFormat | str) -> CorpusFormat:
    try:
        return CorpusFormat(format)
    except ValueError:
        names = ", ".join(f.value for f in CorpusFormat)
        raise ConfigError(f"format {format!r} is unknown; choose one of {names}") from None


def _with_features(corpus: Corpus, features: str | Path | None) -> Corpus:
    if features is None:
        return corpus
    X = load_matrix(features)
    num_file_rows = corpus.num_instances + corpus.report.num_skipped
    if X.shape[0] != num_file_rows:
        raise DataError(
            f"{features}: {X.shape[0]} rows but {corpus.report.path} has {num_file_rows}; give the "
            "features of this file"
        )
    rows = without_skipped(np.arange(num_file_rows), corpus.report, num_file_rows)
    return replace(corpus, X=X[rows >= 0] if corpus.report.num_skipped else X)


def _with_filters(
    corpus: Corpus, path: Path, chosen: CorpusFormat, filters: str | Path | None
) -> Corpus:
    if filters is None and chosen is CorpusFormat.LF:
        filters = find_filters(path)
        if filters is None and (note := filter_note(path)):
            corpus = _with_note(corpus, note)
    if filters is None:
        return corpus
    pairs = read_filters(filters)
    num_file_rows = corpus.num_instances + corpus.report.num_skipped
    check_filters(pairs, (num_file_rows, corpus.num_labels), filters)
    pairs[:, 0] = without_skipped(pairs[:, 0], corpus.report, num_file_rows)
    return replace(corpus, filters=pairs[pairs[:, 0] >= 0])


def _with_names(corpus: Corpus, path: Path, label_names: str | Path | None, known: bool) -> Corpus:
    """The corpus with names from a file; where its labels are `known` from training, the names of
    that table count, and a file that does not fit is no error.
    """
    names_file = Path(label_names) if label_names is not None else beside(path, LABEL_TABLE_NAME)
    if names_file is None or names_file == path:
        return corpus
    try:
        table = read_label_table(names_file)
        names = dict(zip(table.ids, table.names, strict=True))
        joined = join(names_file, names, corpus.labels.ids)
    except DataError as err:
        if label_names is not None and not known:
            raise
        which = "label names" if label_names is not None else "label names beside the file"
        return _with_note(corpus, f"{which} were not used: {err.message}")
    if joined.note and not known:
        corpus = _with_note(corpus, joined.note)
    return replace(corpus, labels=corpus.labels.with_names(joined.values))


def _with_note(corpus: Corpus, note: str) -> Corpus:
    return replace(corpus, report=replace(corpus.report, notes=(*corpus.report.notes, note)))


def _log(corpus: Corpus) -> None:
    for note in corpus.report.notes:
        logger.warning("%s: %s", corpus.report.path, note)
