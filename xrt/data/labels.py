"""The label table: which column of Y is which label, and what people call it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from xrt.data.cells import clean_label
from xrt.data.packed_strings import PackedStrings
from xrt.data.side_tables import read_side_table
from xrt.data.sources import open_packed
from xrt.errors import ArtifactError, DataError
from xrt.storage.array_faults import rises
from xrt.storage.atomic import save_array
from xrt.storage.reading import load_array, map_bytes

LABEL_TABLE_NAME = "labels.tsv"
OFFSETS_NAME = "labels.offsets.npy"
_ANY_LABELS = 3_000_000
"""Labels that a file may number, however small it is."""
LABEL_TEXT_WEIGHT = 0.5
"""Length of a label's name as one more training row, beside texts of length 1."""


@dataclass(frozen=True)
class LabelTable:
    """Labels in the order of the columns of Y.

    `ids` are distinct, not empty and without tab or line end; `names` are '' where unknown. Both
    are tuples, or, in a model that was opened, PackedStrings.
    """

    ids: tuple[str, ...] | PackedStrings
    names: tuple[str, ...] | PackedStrings

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.names):
            raise DataError(
                f"label table: {len(self.ids)} ids but {len(self.names)} names; give equally many"
            )
        if isinstance(self.ids, PackedStrings):  # a table that was written was checked before
            return
        if len(self.index) != len(self.ids):
            twice = next(id for i, id in enumerate(self.ids) if self.index[id] != i)
            raise DataError(f"label table: id {twice!r} stands there twice; remove one")
        for kind, values in (("id", self.ids), ("name", self.names)):
            for value in values:
                if "\t" in value or "\n" in value or "\r" in value or (kind == "id" and not value):
                    raise DataError(
                        f"label table: {kind} {value!r} is empty or has a tab or line end"
                    )

    @classmethod
    def from_ids(
        cls, ids: Iterable[str], names: Mapping[str, str] | Sequence[str] = ()
    ) -> "LabelTable":
        """A table of these ids.

        Args:
            ids: Ids of L labels, in the order of their columns.
            names: Names by id (ids that it lacks get ''), or in the order of the ids; nothing for
                no names.

        Returns:
            The table.
        """
        ids = tuple(ids)
        if isinstance(names, Mapping):
            return cls(ids, tuple(names.get(id, "") for id in ids))
        return cls(ids, tuple(names) if len(names) else ("",) * len(ids))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def index(self) -> dict[str, int]:
        """Column of each label id."""
        return {id: i for i, id in enumerate(self.ids)}

    @cached_property
    def _columns_by_look(self) -> dict[str, int]:
        """Column of each id as it is cleaned today; a model of an earlier version may have others.

        Nothing that `index` has already is in it.
        """
        looks: dict[str, int] = {}
        for column, id in enumerate(self.ids):
            clean = clean_label(id)
            if clean != id and clean not in self.index:
                looks.setdefault(clean, column)
        return looks

    def column_of(self, id: str) -> int | None:
        """The column of a label.

        Args:
            id: Its id, written in any way that looks the same.

        Returns:
            The column, from 0; None where the table has no such label.
        """
        column = self.index.get(id)
        if column is None:
            clean = clean_label(id)
            column = self.index.get(clean, self._columns_by_look.get(clean))
        return column

    def name_of(self, column: int) -> str:
        """The label's name, or its id where no name is known.

        Args:
            column: The column, from 0.

        Returns:
            The name or id.
        """
        return self.names[column] or self.ids[column]

    @property
    def num_named(self) -> int:
        """How many labels have a name."""
        return sum(1 for name in self.names if name)

    def check(self) -> None:
        """Look at all of a table that was opened. Raises ArtifactError when an id or a name is not
        UTF-8, does not end where the next begins, or an id is empty or stands twice.
        """
        if not isinstance(self.ids, PackedStrings) or not isinstance(self.names, PackedStrings):
            return
        ends = self.ids.ends_before(ord("\t")) and self.names.ends_before(ord("\n"))
        ids = [line.partition(b"\t")[0] for line in self.ids.data.split(b"\n")[:-1]]
        if not (ends and len(set(ids)) == len(ids) == len(self.ids) and all(ids)):
            raise ArtifactError(
                f"{LABEL_TABLE_NAME}: ids and names do not end where they should, or an id is "
                "empty or stands twice; copy the model again from where it came, or train it anew"
            )
        try:
            self.ids.data.decode("utf-8")
        except UnicodeDecodeError as err:
            raise ArtifactError(
                f"{LABEL_TABLE_NAME}: byte {err.start + 1} is not UTF-8; copy the model again from "
                "where it came, or train it anew"
            ) from err

    def with_names(self, names: Mapping[str, str]) -> "LabelTable":
        """The same labels, named where `names` knows the id; other names stay.

        Args:
            names: Names by id; empty ones name nothing.

        Returns:
            A new table.
        """
        return LabelTable(
            self.ids,
            tuple(names.get(id) or old for id, old in zip(self.ids, self.names, strict=True)),
        )

    def extended(self, other: "LabelTable") -> "LabelTable":
        """This table with the labels of `other` that it lacks appended, in their order.

        Args:
            other: The other table.

        Returns:
            A new table; this one where `other` has no label of its own.
        """
        new = [i for i, id in enumerate(other.ids) if id not in self.index]
        if not new:
            return self
        return LabelTable(
            (*self.ids, *(other.ids[i] for i in new)),
            (*self.names, *(other.names[i] for i in new)),
        )

    def write(self, path: str | Path) -> None:
        """Write lines `id TAB name`; packed when the name ends in `.gz` or `.xz`.

        Args:
            path: The file.
        """
        with open_packed(path) as file:
            for id, name in zip(self.ids, self.names, strict=True):
                file.write(f"{id}\t{name}\n".encode())

    def save(self, folder: Path) -> None:
        """Write `labels.tsv` into a folder, and where each id and name begins in it.

        Args:
            folder: The folder, which is there.
        """
        path = folder / LABEL_TABLE_NAME
        self.write(path)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        ends = np.flatnonzero((data == ord("\t")) | (data == ord("\n")))
        save_array(folder / OFFSETS_NAME, np.concatenate([[0], ends + 1]).astype(np.int64))

    @classmethod
    def load(cls, folder: Path) -> "LabelTable":
        """Open what `save` wrote, at once however many labels there are; or read `labels.tsv` where
        it stands alone.

        Args:
            folder: The folder of `labels.tsv`.

        Returns:
            The table; ids and names are read from the file as they are asked for, where offsets are
            there.

        Raises:
            ArtifactError: the two files do not fit together.
            DataError: `labels.tsv` stands alone and cannot be read, as in `read_label_table`.
        """
        path = folder / LABEL_TABLE_NAME
        if not (folder / OFFSETS_NAME).exists():
            return read_label_table(path)
        offsets = load_array(folder / OFFSETS_NAME, np.int64, 1)
        num_bytes = path.stat().st_size if path.is_file() else -1
        if len(offsets) % 2 == 0 or num_bytes < 0 or not rises(offsets, num_bytes, 1):
            raise ArtifactError(
                f"{path}: does not fit {OFFSETS_NAME} (it has {num_bytes} bytes); copy the model "
                "again from where it came, or train it anew"
            )
        if num_bytes == 0:
            return cls((), ())
        data = map_bytes(path)
        ids = PackedStrings(data, offsets[:-1:2], offsets[1::2] - 1)
        return cls(ids, PackedStrings(data, offsets[1::2], offsets[2::2] - 1))


def numbered_labels(path: str | Path, num_labels: int) -> LabelTable:
    """A table of the ids '0' to 'L-1', for a file that numbers its labels.

    Args:
        path: The file.
        num_labels: L, as the file says it.

    Returns:
        The table.

    Raises:
        DataError: there are more labels than a file of this size can be about.
    """
    most = max(_ANY_LABELS, Path(path).stat().st_size)
    if num_labels > most:
        raise DataError(
            f"{path}: {num_labels} labels, where a file of this size has {most} at most; correct "
            "the number, or count labels from 0 without gaps"
        )
    return LabelTable.from_ids(str(i) for i in range(num_labels))


def read_label_table(path: str | Path) -> LabelTable:
    """Read lines `id TAB name` (the name may be missing), or a CSV vocabulary; plain, gzip or xz.

    Further tabs belong to the name and become blanks. CSV (`.csv`) may have a header such as
    `id,name` or `uri,label_en,notation`.

    Args:
        path: The file.

    Returns:
        The table, labels in the order of the lines.

    Raises:
        DataError: the file is missing or empty, a line is not UTF-8, has no id, or one that was
            there before.
    """
    ids: dict[str, int] = {}
    names: list[str] = []
    for entry in read_side_table(path):
        id = clean_label(entry.id)
        if id in ids:
            raise DataError(
                f"{path}: line {entry.number}: label {id!r} is already on line {ids[id]}; remove "
                "one"
            )
        ids[id] = entry.number
        names.append(clean_label(entry.value))
    return LabelTable(tuple(ids), tuple(names))
