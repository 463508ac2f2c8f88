"""Arrays and JSON of a model are read for what they are, or refused by name."""

import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from xrt.errors import ArtifactError, CapacityError
from xrt.storage.atomic import save_array
from xrt.storage.reading import (
    MAPPED_FROM,
    check_csr,
    load_array,
    map_bytes,
    read_bytes_bounded,
    read_json_bounded,
)


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


HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2,",
    "{'descr': '<f4, 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 300 + "2" + ")" * 300 + "}",
    "{'descr': '<f4', 'fortran_order': 7, 'shape': (2,)}",
    "{'descr': ('<f4', 3), 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<f4', 'shape': (2,)}",
    "[1, 2]",
    "(((((",
    "\\",
    "\x00\x00",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,)}",
    "{'descr': 'V4', 'fortran_order': False, 'shape': (2,)}",
    "\tx\n  y\n z",
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_damaged_header_is_refused_whatever_pythons_parser_raises(
    tmp_path: Path, header: str
) -> None:
    (tmp_path / "a.npy").write_bytes(npy(header, bytes(8)))
    with pytest.raises(ArtifactError, match=r"a\.npy: "):
        load_array(tmp_path / "a.npy", np.float32, 1)


def test_numbers_that_do_not_stand_at_their_boundaries_are_refused(tmp_path: Path) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (20000,)}"
    while (10 + len(header) + 1) % 4 == 0:
        header += " "
    (tmp_path / "a.npy").write_bytes(npy(header, bytes(80_000)))
    with pytest.raises(ArtifactError, match="asks for"):
        load_array(tmp_path / "a.npy", np.float32, 1)


def test_one_of_several_types_and_a_length_may_be_wanted(tmp_path: Path) -> None:
    save_array(tmp_path / "a.npy", np.arange(4, dtype=np.int64))
    assert load_array(tmp_path / "a.npy", [np.int32, np.int64], 1, length=4).dtype == np.int64
    with pytest.raises(ArtifactError, match="holds int64 where int32 or float32 is needed"):
        load_array(tmp_path / "a.npy", [np.int32, np.float32], 1)
    with pytest.raises(ArtifactError, match="4 entries where 5 belong"):
        load_array(tmp_path / "a.npy", np.int64, 1, length=5)


def test_reading_takes_no_more_memory_than_the_file_has_bytes(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(b"word\n" * 100)
    tracemalloc.start()
    try:
        assert len(read_bytes_bounded(path, 4 << 30)) == 500
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(ArtifactError, match="larger than the 499 bytes"):
        read_bytes_bounded(path, 499)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_bytes_bounded(tmp_path, 4 << 30)


def num_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def descriptors(spare: int) -> Iterator[None]:
    """Only so many more files may be opened."""
    used = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    held = [open("/dev/null") for _ in range(used)]  # free numbers go first
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(file.fileno() for file in held)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for file in held:
            file.close()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors as Linux does")
def test_small_arrays_hold_no_descriptor_and_large_ones_say_when_there_is_none(
    tmp_path: Path,
) -> None:
    save_array(tmp_path / "small.npy", np.arange(100))
    save_array(tmp_path / "large.npy", np.arange(MAPPED_FROM))
    (tmp_path / "small.txt").write_bytes(b"x" * 100)
    (tmp_path / "large.txt").write_bytes(b"x" * MAPPED_FROM)
    before = num_descriptors()
    held = [load_array(tmp_path / "small.npy", np.int64, 1) for _ in range(20)]
    held += [map_bytes(tmp_path / "small.txt") for _ in range(20)]
    assert num_descriptors() == before
    assert len(held) == 40
    assert bytes(map_bytes(tmp_path / "large.txt")) == b"x" * MAPPED_FROM
    with descriptors(1):
        for load in (
            lambda: load_array(tmp_path / "large.npy", np.int64, 1),
            lambda: map_bytes(tmp_path / "large.txt"),
        ):
            with pytest.raises(CapacityError, match=r"large.*: too many files .*ulimit -n"):
                load()
    with descriptors(0), pytest.raises(CapacityError, match="too many files"):
        load_array(tmp_path / "small.npy", np.int64, 1)
    with descriptors(0), pytest.raises(CapacityError, match="too many files"):
        read_json_bounded(tmp_path / "small.txt")
