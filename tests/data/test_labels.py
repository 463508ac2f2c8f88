"""Label tables on disk: opened lazily, equal to what was written, refused when damaged."""

import numpy as np
import pytest

from xrt.data.labels import LabelTable, read_label_table
from xrt.data.packed_strings import PackedStrings
from xrt.errors import ArtifactError, DataError

TABLE = LabelTable(("p1", "ünï 🎈", "brand=A & B", "4"), ("one", "", "Ä & B", ""))


def test_saved_equals_opened_and_the_file_is_for_people(tmp_path):
    TABLE.save(tmp_path)
    opened = LabelTable.load(tmp_path)
    assert isinstance(opened.ids, PackedStrings)
    assert opened == TABLE
    assert TABLE == opened
    assert hash(opened) == hash(TABLE)
    assert (len(opened), opened.num_named) == (4, 2)
    assert opened.index == TABLE.index
    assert [opened.name_of(i) for i in range(4)] == ["one", "ünï 🎈", "Ä & B", "4"]
    assert opened.ids[-1] == "4"
    assert opened.ids[1:3] == ("ünï 🎈", "brand=A & B")
    assert opened.ids[np.int32(2)] == "brand=A & B"
    assert opened.ids != ("p1",)
    assert read_label_table(tmp_path / "labels.tsv") == TABLE
    assert "4 in all" in repr(opened.ids)


def test_an_opened_table_can_be_extended_renamed_and_saved(tmp_path):
    TABLE.save(tmp_path)
    opened = LabelTable.load(tmp_path)
    longer = opened.extended(LabelTable(("4", "5"), ("", "five")))
    assert longer.ids == (*TABLE.ids, "5")
    assert opened.with_names({"4": "four"}).names == ("one", "", "Ä & B", "four")
    (tmp_path / "again").mkdir()
    opened.save(tmp_path / "again")
    assert (tmp_path / "again" / "labels.tsv").read_bytes() == (
        tmp_path / "labels.tsv"
    ).read_bytes()
    with pytest.raises(IndexError):
        opened.ids[4]


def test_nothing_is_decoded_when_a_table_is_opened(tmp_path, monkeypatch):
    LabelTable.from_ids(str(i) for i in range(1000)).save(tmp_path)
    monkeypatch.setattr(PackedStrings, "__getitem__", lambda *args: pytest.fail("decoded"))
    assert len(LabelTable.load(tmp_path)) == 1000


def test_a_table_without_offsets_is_read_and_checked(tmp_path):
    (tmp_path / "labels.tsv").write_text("a\tA\nb\n")
    assert LabelTable.load(tmp_path) == LabelTable(("a", "b"), ("A", ""))
    (tmp_path / "labels.tsv").write_text("a\tA\na\n")
    with pytest.raises(DataError, match="already on line 1"):
        LabelTable.load(tmp_path)


def test_a_table_of_no_labels(tmp_path):
    LabelTable((), ()).save(tmp_path)
    assert len(LabelTable.load(tmp_path)) == 0


@pytest.mark.parametrize("damage", ["shorter", "missing", "even", "no start"])
def test_files_that_do_not_fit_together_are_refused(tmp_path, damage):
    TABLE.save(tmp_path)
    offsets = np.load(tmp_path / "labels.offsets.npy")
    if damage == "shorter":
        (tmp_path / "labels.tsv").write_bytes(b"a\t\n")
    elif damage == "missing":
        (tmp_path / "labels.tsv").unlink()
    elif damage == "even":
        np.save(tmp_path / "labels.offsets.npy", offsets[1:])
    else:
        np.save(tmp_path / "labels.offsets.npy", offsets[2:])
    with pytest.raises(ArtifactError, match=r"labels\.tsv: does not fit"):
        LabelTable.load(tmp_path)


def test_a_label_that_is_no_text_is_told(tmp_path):
    TABLE.save(tmp_path)
    data = bytearray((tmp_path / "labels.tsv").read_bytes())
    data[0] = 0xFF
    (tmp_path / "labels.tsv").write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match="label 0 is not UTF-8"):
        LabelTable.load(tmp_path).ids[0]
