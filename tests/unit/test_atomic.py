import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xrt import atomic
from xrt.errors import CapacityError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_writers_replace_and_leave_nothing_else(tmp_path: Path) -> None:
    for content in ("old", "née\r\nnew"):
        atomic.write_text(tmp_path / "a.txt", content)
    atomic.write_json(tmp_path / "deep" / "b.json", {"z": 1, "a": [None, "ü"]})
    atomic.save_array(tmp_path / "c.npy", np.arange(3, dtype=np.int32))
    assert (tmp_path / "a.txt").read_bytes() == "née\r\nnew".encode()
    assert (tmp_path / "deep/b.json").read_text() == (
        '{\n  "z": 1,\n  "a": [\n    null,\n    "ü"\n  ]\n}\n'
    )
    assert np.load(tmp_path / "c.npy").tolist() == [0, 1, 2]
    assert names(tmp_path) == ["a.txt", "c.npy", "deep"]


def test_values_that_would_not_come_back_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        atomic.write_json(tmp_path / "a.json", {"loss": float("nan")})
    with pytest.raises(ValueError, match="allow_pickle"):
        atomic.save_array(tmp_path / "a.npy", np.array([{}], dtype=object))
    assert names(tmp_path) == []


def test_the_temporary_name_keeps_the_suffix_that_writers_look_at(tmp_path: Path) -> None:
    with atomic.atomic_file(tmp_path / "a.npy") as temporary:
        np.save(temporary, np.ones(2))  # would append .npy to another name
    assert np.load(tmp_path / "a.npy").tolist() == [1, 1]


def test_an_exception_keeps_the_old_file(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a.txt", "old")

    def interrupted() -> None:
        with atomic.atomic_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    atomic.write_text(tmp_path / "a.txt", "old")

    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, call, fail)
        with pytest.raises(CapacityError, match=r"a\.txt: disk full while writing .*unchanged"):
            atomic.write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_really_full_filesystem(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs is not allowed here")
    try:
        atomic.write_bytes(tmp_path / "a", b"old")
        with atomic.atomic_folder(tmp_path / "f") as folder:
            (folder / "x").write_text("old")
        with pytest.raises(CapacityError, match="disk full"):
            atomic.write_bytes(tmp_path / "a", bytes(1 << 20))
        with (
            pytest.raises(CapacityError, match="disk full"),
            atomic.atomic_folder(tmp_path / "f") as folder,
        ):
            atomic.write_bytes(folder / "x", bytes(1 << 20))
        assert (tmp_path / "a").read_bytes() == b"old"
        assert (tmp_path / "f" / "x").read_text() == "old"
        assert names(tmp_path) == ["a", "f"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with atomic.atomic_folder(tmp_path / "out") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / name).write_text(name)
            assert folder.parent == tmp_path
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out" / "sub") == ["second"]


def test_a_folder_takes_the_place_of_a_link_and_leaves_its_target_alone(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_text("x")
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with atomic.atomic_folder(tmp_path / "out") as folder:
        (folder / "y").write_text("y")
    assert names(tmp_path / "real") == ["x"]
    assert names(tmp_path / "out") == ["y"]


@pytest.mark.parametrize("failing", [1, 2])
def test_when_a_rename_fails_the_old_folder_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    with atomic.atomic_folder(tmp_path / "out") as folder:
        (folder / "old").write_text("old")
    rename, calls = os.rename, []

    def fail_once(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == failing:
            raise OSError(errno.EIO, "broken disk")
        rename(source, target)

    def replace_on_a_broken_disk() -> None:
        with atomic.atomic_folder(tmp_path / "out") as folder:
            (folder / "new").write_text("new")
            monkeypatch.setattr(atomic.os, "rename", fail_once)

    with pytest.raises(OSError, match="broken disk"):
        replace_on_a_broken_disk()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["old"]


def test_leftovers_of_dead_processes_are_swept_and_others_kept(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    mine = atomic._temporary_name(target, "tmp").name
    dead = mine.replace(f"-{os.getpid()}-", f"-{dead_pid()}-")
    living = mine.replace(f"-{os.getpid()}-", "-1-")
    other_machine = dead.replace(f"-{atomic._host()}-", "-elsewhere-")
    other_target = dead.replace("-out.txt", "-another-out.txt")
    kept = sorted([living, other_machine, other_target])
    for name in (dead, *kept):
        (tmp_path / name).write_text("half")
    folder = tmp_path / dead.replace("-out.txt", "-f")
    folder.mkdir()
    (folder / "x").write_text("half")
    atomic.write_text(target, "whole")
    atomic.recover_folder(tmp_path / "f")
    assert names(tmp_path) == sorted([*kept, "out.txt"])


def test_a_process_killed_between_two_renames_loses_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out"
    script = f"""
import os
from pathlib import Path
from xrt import atomic
rename = os.rename
def kill_after_the_first(source, target):
    rename(source, target)
    os._exit(9)
for content in "old", "new":
    with atomic.atomic_folder(Path({str(target)!r})) as folder:
        (folder / "x").write_text(content)
        if content == "new":
            atomic.os.rename = kill_after_the_first
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    assert not target.exists()
    atomic.recover_folder(target)
    assert (target / "x").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_sha256_of(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert atomic.sha256_of(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
