"""Arrays and JSON of a model are read for what they are, or refused by name."""

from pathlib import Path

import numpy as np
import pytest

from xrt.atomic import save_array
from xrt.errors import ArtifactError
from xrt.reading import check_csr, load_array, read_json_bounded


def test_load_array_gives_what_was_saved_read_only(tmp_path: Path) -> None:
    for array in (np.arange(6, dtype=np.int32).reshape(2, 3), np.zeros((0, 4), np.int32)):
        for mmap in (True, False):
            save_array(tmp_path / "a.npy", array)
            loaded = load_array(tmp_path / "a.npy", np.int32, 2, mmap=mmap)
            assert type(loaded) is np.ndarray
            assert loaded.shape == array.shape
            assert (loaded == array).all()
            assert not loaded.flags.writeable
    save_array(tmp_path / "f.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert load_array(tmp_path / "f.npy", float, 2).tolist() == [[0, 1, 2], [3, 4, 5]]


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not a readable npy file"),
        (b"\x80\x04K\x01.", "not a readable npy file"),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", bytes(4)),
            "70 bytes where its header asks for 74",
        ),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 40,)}"), "not a readable"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9876543210,)}"), "asks for 395"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"), r"has shape \(-1,\)"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", bytes(4)), r"has shape \(\)"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(8)), "holds float64"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(8)), "holds object"),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)" + " " * 9999 + "}"),
            "readable",
        ),
        (b"\x93NUMPY\x03\x00" + bytes(99), "npy version 3.0 is not used"),
    ],
)
def test_load_array_refuses_other_files(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ArtifactError, match=match) as caught:
        load_array(tmp_path / "a.npy", np.float32, 1)
    assert "a.npy" in str(caught.value)


def test_load_array_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"a\.npy: not a readable npy file .*No such file"):
        load_array(tmp_path / "a.npy", np.float32, 1)


@pytest.mark.parametrize(
    ("indptr", "indices", "data", "match"),
    [
        ([0, 1], [0, 1], [1, 1], "do not fit"),
        ([0, 1, 2], [0, 1], [1], "do not fit"),
        ([0, 3, 2], [0, 1], [1, 1], "row pointers"),
        ([1, 1, 2], [0, 1], [1, 1], "row pointers"),
        ([0, 1, 3], [0, 1], [1, 1], "row pointers"),
        ([0, 1, 2], [0, 3], [1, 1], r"outside 0\.\.2"),
        ([0, 1, 2], [-1, 1], [1, 1], r"outside 0\.\.2"),
        ([0, 1, 2], [0, 1], [1, np.inf], "not finite"),
    ],
)
def test_check_csr(indptr: list[int], indices: list[int], data: list[float], match: str) -> None:
    check_csr(np.array([0, 1, 2]), np.array([2, 0]), np.ones(2), (2, 3), "tree")
    check_csr(np.array([0, 0, 0]), np.array([], int), None, (2, 0), "tree")
    with pytest.raises(ArtifactError, match=f"tree: .*{match}"):
        check_csr(np.array(indptr), np.array(indices), np.array(data), (2, 3), "tree")


def test_read_json_bounded_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"x\.json: cannot be read \(No such file"):
        read_json_bounded(tmp_path / "x.json")
