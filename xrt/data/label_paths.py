"""A taxonomy in a file: for each label the names of its ancestors, the coarsest first.

A line is `label id TAB ancestor > ancestor > ...`; the path may be empty, and labels that have no
line have no ancestors. Files may be packed as .gz or .xz.
"""

from collections.abc import Sequence
from pathlib import Path

from xrt.atomic import write_text
from xrt.data.cells import clean_label
from xrt.data.labels import LabelTable
from xrt.data.sources import numbered_lines
from xrt.errors import DataError

STEP = ">"


def read_label_paths(path: str | Path, labels: LabelTable) -> list[tuple[str, ...]]:
    """The ancestors of each label, in the order of the table.

    Lines of labels that the table lacks are passed over. Raises DataError naming file and line for
    a line without a tab, a label that stands twice, or an empty ancestor; and when no label is
    known.
    """
    ancestors: dict[str, tuple[str, ...]] = {}
    for number, raw in numbered_lines(path):
        line = raw.decode("utf-8", errors="replace").rstrip("\r\n")
        if not line.strip():
            continue
        label, tab, steps = line.partition("\t")
        if not tab:
            raise DataError(f"{path}, line {number}: no tab; write `label id TAB ancestor > ...`")
        if label in ancestors:
            raise DataError(f"{path}, line {number}: label {label!r} stands twice; remove one line")
        parts = tuple(part.strip() for part in steps.split(STEP)) if steps.strip() else ()
        if not all(parts):
            raise DataError(f"{path}, line {number}: an empty ancestor in {steps!r}; name it")
        ancestors[label] = parts
    if not any(label in ancestors for label in labels.ids):
        raise DataError(
            f"{path}: none of its {len(ancestors)} labels is among the corpus's {len(labels)}; "
            "use the same label ids in both"
        )
    return [ancestors.get(label, ()) for label in labels.ids]


def write_label_paths(
    path: str | Path, labels: LabelTable, ancestors: Sequence[Sequence[str]]
) -> None:
    """Write what `read_label_paths` reads: the ancestors of each label, in the order of the table.

    A `>` inside the name of an ancestor becomes `/`.
    """
    lines = []
    for label, steps in zip(labels.ids, ancestors, strict=True):
        names = (clean_label(step).replace(STEP, "/") for step in steps)
        lines.append(f"{label}\t{f' {STEP} '.join(names)}\n")
    write_text(path, "".join(lines))
