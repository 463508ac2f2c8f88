import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xrt.errors import CapacityError, ConfigError
from xrt.storage import atomic


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
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
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


def test_leftovers_that_nobody_locks_are_swept_and_others_kept(tmp_path: Path) -> None:
    """Whatever process id or host name they carry: in a container neither says anything."""
    target = tmp_path / "out.txt"
    dead = atomic._temporary_name(target, "tmp").name
    same_pid = dead.replace(f"-{os.getpid()}-", "-1-")
    other_host = dead.replace(f"-{atomic._host()}-", "-elsewhere-")
    other_target = dead.replace("-out.txt", "-another-out.txt")
    not_ours = ".tmp-a-b-c-out.txt"
    for name in (dead, same_pid, other_host, other_target, not_ours):
        (tmp_path / name).write_text("half")
    folder = tmp_path / dead.replace("-out.txt", "-f")
    folder.mkdir()
    (folder / "x").write_text("half")
    with atomic.atomic_file(target) as living, atomic.scratch_folder(tmp_path / "f") as scratch:
        atomic.write_text(target, "whole")
        atomic.recover_folder(tmp_path / "f")
        kept = [living.name, scratch.name, other_target, not_ours, "out.txt"]
        assert names(tmp_path) == sorted(kept)
        living.write_text("later")
    assert target.read_text() == "later"
    assert names(tmp_path) == sorted([other_target, not_ours, "out.txt"])


def test_without_locks_the_process_id_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    assert atomic.fcntl is not None
    monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    target = tmp_path / "out.txt"
    mine = atomic._temporary_name(target, "tmp").name
    dead = mine.replace(f"-{os.getpid()}-", f"-{dead_pid()}-")
    for name in (mine, dead):
        (tmp_path / name).write_text("half")
    atomic.write_text(target, "whole")
    assert names(tmp_path) == sorted([mine, "out.txt"])


def test_a_process_killed_between_two_renames_loses_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out"
    script = f"""
import os
from pathlib import Path
from xrt.storage import atomic
atomic._exchange = lambda one, other: False
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


def test_a_folder_that_is_replaced_is_never_absent(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic.atomic_folder(target) as folder:
        (folder / "x").write_text("old")
    if not atomic._exchange(target, target):
        pytest.skip("this system cannot exchange two folders")
    script = f"""
from pathlib import Path
from xrt.storage import atomic
for number in range(300):
    with atomic.atomic_folder(Path({str(target)!r})) as folder:
        (folder / "x").write_text("new")
"""
    child = subprocess.Popen([sys.executable, "-c", script])
    absent = looks = 0
    while child.poll() is None:
        looks += 1
        absent += not target.is_dir()
    assert child.returncode == 0
    assert (absent, looks > 100) == (0, True)
    assert names(tmp_path) == ["out"]


def test_a_folder_that_did_not_change_stays(tmp_path: Path) -> None:
    with atomic.atomic_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("same")
    before = (tmp_path / "out").stat().st_ino
    for is_same in (True, False):
        with atomic.atomic_folder(tmp_path / "out", lambda folder: is_same) as folder:  # noqa: B023
            (folder / "x").write_text("same")
        assert ((tmp_path / "out").stat().st_ino == before) is is_same
    assert names(tmp_path) == ["out"]


FAULTS = """
import os, shutil, signal, socket, sys
from pathlib import Path
from xrt.storage import atomic

where, host, content = sys.argv[1:4]
socket.gethostname = lambda: host
os.getpid = lambda: 1
if content.endswith("plain"):
    atomic._exchange = lambda one, other: False

def die(*args, **options):
    os.kill(PID, signal.SIGKILL)

PID = int(Path("/proc/self").resolve().name)

def dying(module, name, before, count):
    call, seen = getattr(module, name), []
    def patched(*args, **options):
        seen.append(name)
        if len(seen) == count and before:
            die()
        result = call(*args, **options)
        if len(seen) == count:
            die()
        return result
    setattr(module, name, patched)

name, _, rest = where.partition("/")
if name != "none":
    when, _, count = rest.partition("/")
    module = atomic if hasattr(atomic, name) else shutil if name == "rmtree" else os
    dying(module, name, when == "before", int(count))
with atomic.atomic_folder(Path("model")) as folder:
    for part in "ab":
        atomic.write_text(folder / part, content)
atomic.write_text(Path("file.txt"), content)
"""
POINTS = [
    f"{name}/{when}/{count}"
    for name, counts in (
        ("mkdir", 1), ("replace", 3), ("sync", 8), ("_exchange", 1), ("rename", 2), ("_remove", 1),
    )
    for when in ("before", "after")
    for count in range(1, counts + 1)
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("how", ["exchange", "plain"])
def test_killed_at_every_point_with_the_same_pid_and_another_host(tmp_path: Path, how: str) -> None:
    """0 absent, 0 unreadable, 0 leftovers after the next run, as in restarted containers."""

    def run(where: str, host: str, content: str) -> int:
        argv = [sys.executable, "-c", FAULTS, where, host, f"{content} {how}"]
        return subprocess.run(argv, cwd=tmp_path, check=False).returncode

    assert run("none", "first", "start") == 0
    num_killed = 0
    for number, point in enumerate(POINTS):
        num_killed += run(point, f"host{number}", f"{number}") != 0
        atomic.recover_folder(tmp_path / "model")
        held = {(tmp_path / "model" / part).read_text() for part in "ab"}
        assert len(held) == 1
        assert (tmp_path / "file.txt").read_text().endswith(how)
        assert run("none", f"again{number}", f"again {number}") == 0
        assert names(tmp_path) == ["file.txt", "model"]
        assert names(tmp_path / "model") == ["a", "b"]
        assert (tmp_path / "model" / "a").read_text() == f"again {number} {how}"
    assert num_killed >= 20


def test_a_link_stays_and_the_file_behind_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real/a.txt")
    (tmp_path / "dangling.txt").symlink_to("real/b.txt")
    for name in ("link.txt", "dangling.txt"):
        atomic.write_text(tmp_path / name, "new")
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "new"
    assert (tmp_path / "real" / "b.txt").read_text() == "new"
    assert names(tmp_path / "real") == ["a.txt", "b.txt"]


def test_mode_and_owner_stay_and_new_files_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        atomic.write_text(tmp_path / "new.txt", "x")
        (tmp_path / "a.txt").write_text("old")
        os.chmod(tmp_path / "a.txt", 0o604)
        if os.getuid() == 0:
            os.chown(tmp_path / "a.txt", 1234, 4321)
        before = (tmp_path / "a.txt").stat()
        atomic.write_text(tmp_path / "a.txt", "new")
        after = (tmp_path / "a.txt").stat()
    finally:
        os.umask(old)
    assert (tmp_path / "new.txt").stat().st_mode & 0o777 == 0o640
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode, before.st_uid, before.st_gid,
    )  # fmt: skip
    assert after.st_ino != before.st_ino


def test_devices_are_written_into(tmp_path: Path) -> None:
    atomic.write_text("/dev/null", "gone")
    assert Path("/dev/null").is_char_device()
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
            atomic.write_text("/dev/full", "x")
        assert Path("/dev/full").is_char_device()


def test_a_fifo_is_written_into(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
        atomic.write_text(tmp_path / name, "through")
        assert reader.communicate(timeout=20)[0] == b"through"
    assert names(tmp_path) == ["link", "pipe"]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_descriptor_is_written_into_and_loses_nothing(tmp_path: Path, name: str) -> None:
    """Even where it is a file that is appended to."""
    (tmp_path / "log").write_text("first\n")
    script = f"from xrt.storage import atomic; atomic.write_text({name!r}, 'second\\n')"
    with open(tmp_path / "log", "a") as log:
        subprocess.run([sys.executable, "-c", script], stdout=log, check=True)
    assert (tmp_path / "log").read_text() == "first\nsecond\n"
    assert names(tmp_path) == ["log"]


def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"folder: is a folder; name a file"):
        atomic.write_text(tmp_path / "folder", "x")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(OSError, match=r"'[^']*a\.txt/b\.txt'|'[^']*a\.txt'"):
        atomic.write_text(tmp_path / "a.txt" / "b.txt", "x")
    long = tmp_path / f"{'n' * 240}.npy"
    atomic.save_array(long, np.ones(2))
    assert np.load(long).tolist() == [1, 1]
    with pytest.raises(OSError, match="File name too long"):
        atomic.write_text(tmp_path / ("n" * 300), "x")
    with pytest.raises(OSError, match="Bad file descriptor: '/dev/fd/999'"):
        atomic.write_text("/dev/fd/999", "x")
    assert names(tmp_path) == sorted(["a.txt", "folder", long.name])


class ComputeError(Exception):
    """As polars' own."""


@pytest.mark.parametrize(
    "error",
    [
        ComputeError("No space left on device (os error 28)"),
        ComputeError("Disk quota exceeded (os error 122)"),
        OSError("12400 requested and 7136 written"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_whatever_a_library_says_of_a_full_disk(tmp_path: Path, error: Exception) -> None:
    def write() -> None:
        with atomic.atomic_file(tmp_path / "a.parquet"):
            raise error

    with pytest.raises(CapacityError, match=r"a\.parquet: disk full while writing"):
        write()
    assert names(tmp_path) == []


def test_a_scratch_folder_lies_beside_its_target_or_with_temporary_files(tmp_path: Path) -> None:
    with atomic.scratch_folder(tmp_path / "new" / "out.csv") as scratch:
        assert scratch.parent == tmp_path / "new"
        assert list(scratch.iterdir()) == []
        atomic.sweep_stale(tmp_path / "new" / "out.csv")
        assert scratch.is_dir()
    assert names(tmp_path / "new") == []
    with atomic.scratch_folder("/dev/null") as scratch:
        assert scratch.parent != Path("/dev")
    assert not scratch.exists()
