"""A taxonomy in a file: for each label the names of its ancestors, the coarsest first.

A line is `label id TAB ancestor > ancestor > ...`; the path may be empty, and labels that have no
line have no ancestors. Files may be packed as .gz or .xz, and CSV with two columns (.csv).
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from xrt.data.cells import clean_label
from xrt.data.labels import LabelTable
from xrt.data.side_tables import join, read_side_table
from xrt.errors import DataError
from xrt.storage.atomic import write_text

logger = logging.getLogger(__name__)

STEP = ">"


def read_label_paths(path: str | Path, labels: LabelTable) -> list[tuple[str, ...]]:
    """The ancestors of each label, in the order of the table.

    Lines of labels that the table lacks are passed over. Where fewer than half of the labels have a
    line, a warning says so.

    Args:
        path: The file, with lines `label id TAB ancestor > ...`.
        labels: The labels.

    Returns:
        The names of each label's ancestors, topmost first; none for a label without a line.

    Raises:
        DataError: a line is not UTF-8 or has no tab, a label stands twice, an ancestor is empty, or
            no label is known; the message names the file and the line.
    """
    ancestors: dict[str, tuple[str, ...]] = {}
    for entry in read_side_table(path):
        where, label = f"{path}: line {entry.number}", clean_label(entry.id)
        if not entry.has_value:
            raise DataError(f"{where}: no tab; write `label id TAB ancestor > ...`")
        if label in ancestors:
            raise DataError(f"{where}: label {label!r} stands twice; remove one line")
        steps = entry.value
        parts = tuple(clean_label(part) for part in steps.split(STEP)) if steps else ()
        if not all(parts):
            raise DataError(f"{where}: an empty ancestor in {steps!r}; name it")
        ancestors[label] = parts
    joined = join(path, ancestors, labels.ids, "paths")
    if joined.note:
        logger.warning("%s", joined.note)
    return [joined.values.get(label, ()) for label in labels.ids]


def write_label_paths(
    path: str | Path, labels: LabelTable, ancestors: Sequence[Sequence[str]]
) -> None:
    """Write what `read_label_paths` reads: the ancestors of each label, in the order of the table.

    A `>` inside the name of an ancestor becomes `/`.

    Args:
        path: The file.
        labels: L labels.
        ancestors: The names of each label's ancestors, topmost first; L of them.

    Raises:
        ValueError: there are not as many of them as labels.
    """
    lines = []
    for label, steps in zip(labels.ids, ancestors, strict=True):
        names = (clean_label(step).replace(STEP, "/") for step in steps)
        lines.append(f"{label}\t{f' {STEP} '.join(names)}\n")
    write_text(path, "".join(lines))
