"""Compiled kernels are kept where only this user writes, are never of another version, and a cache
that cannot be used costs time alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import numpy as np
import pytest

from xrt import jit

CALLED = "from xrt.jit import njit\n\n@njit()\ndef called(x):\n    return x + {}\n"
CALLER = """
from xrt.called import called
from xrt.jit import njit
from xrt.sizes import WIDTH
from xrt.words import join

@njit()
def caller(x):
    return called(x) * WIDTH

if __name__ == "__main__":
    print(caller(1))
"""


@pytest.fixture(autouse=True)
def nothing_remembered():
    """What one test reads or chooses is not to be another's."""
    remembered = jit.cache_base, jit.cache_folder, jit._source, jit._imported_sources
    for function in remembered:
        function.cache_clear()
    yield
    for function in remembered:
        function.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A package of the same name with a kernel that calls another one."""
    folder = tmp_path / "src" / "xrt"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    shutil.copy(jit.__file__, folder / "jit.py")
    (folder / "called.py").write_text(CALLED.format(1))
    (folder / "caller.py").write_text(CALLER)
    (folder / "sizes.py").write_text("WIDTH = 10\n")
    (folder / "words.py").write_text("def join(a, b):\n    return a + b\n")
    monkeypatch.setattr(jit, "_PACKAGE", folder)
    return folder


def folder_of(source: Path) -> Path | None:
    for function in (jit.cache_folder, jit._source, jit._imported_sources):
        function.cache_clear()
    return jit.cache_folder(str(source))


@pytest.mark.parametrize(
    ("changed", "new", "is_another"),
    [
        ("caller.py", CALLER + "\n", True),
        ("called.py", CALLED.format(2), True),  # a kernel that is called
        ("sizes.py", "WIDTH = 11\n", True),  # a number that is compiled in
        ("words.py", "def join(a, b):\n    return b + a\n", False),  # plain Python
        ("other.py", CALLED.format(3), False),  # a kernel that is not called
    ],
)
def test_a_folder_is_named_by_the_sources_of_its_kernels(package, changed, new, is_another):
    before = folder_of(package / "caller.py")
    (package / changed).write_text(new)
    assert (folder_of(package / "caller.py") != before) is is_another


def test_a_changed_kernel_answers_through_the_kernels_that_call_it(package, tmp_path):
    def answer() -> str:
        run = subprocess.run(
            [sys.executable, "-m", "xrt.caller"],
            env={"HOME": str(tmp_path), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=package.parent, capture_output=True, text=True,
        )  # fmt: skip
        return run.stdout.strip() or run.stderr

    assert answer() == "20"
    times = os.stat(package / "called.py")
    (package / "called.py").write_text(CALLED.format(2))  # as long, and as old: a checkout's times
    os.utime(package / "called.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert answer() == "30"
    assert list((tmp_path / ".cache").glob("xrt-kernels-*/called-*/**/*.nbc"))


def test_every_kernel_of_the_package_takes_part():
    """Each file that compiles does it here, so that no cache but this one is used."""
    root = Path(jit.__file__).parent
    others = [
        path for path in root.rglob("*.py")
        if "from numba import njit" in path.read_text() or "numba.njit(" in path.read_text()
    ]  # fmt: skip
    assert others == [root / "jit.py"]
    sources = jit.kernel_sources(root / "sources" / "nearest.py")
    assert {path.name for path in sources} >= {"nearest.py", "simd.py", "jit.py"}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Sets the three places where a cache may lie; each is absent unless named."""

    def choose(numba_dir: str = "", home: str = "/proc/none", temp: str = "/proc/none"):
        monkeypatch.setattr(numba.config, "CACHE_DIR", numba_dir)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv("HOME", home)
        monkeypatch.setattr(tempfile, "tempdir", temp)
        jit.cache_base.cache_clear()
        jit.cache_folder.cache_clear()
        return jit.cache_base()

    return choose


def test_the_first_usable_place_is_taken(places, tmp_path):
    (tmp_path / "file").write_text("")
    name = f"xrt-kernels-{os.geteuid()}"
    home, temp = str(tmp_path / "home"), str(tmp_path / "temp")
    assert places(str(tmp_path / "n"), home, temp) == tmp_path / "n" / name
    assert (tmp_path / "n" / name).stat().st_mode & 0o777 == 0o700
    assert places("", home, temp) == tmp_path / "home" / ".cache" / name
    assert places("/proc/none", home, temp) == tmp_path / "home" / ".cache" / name
    assert places(str(tmp_path / "file"), home, temp) == tmp_path / "home" / ".cache" / name
    for absent in ("/proc/none", str(tmp_path / "file"), "/dev/null"):
        assert places(absent, absent, temp) == tmp_path / "temp" / name
    assert places("", "relative", temp) == tmp_path / "temp" / name
    assert places("/proc/none", "/proc/none", "/proc/none") is None


@pytest.mark.parametrize("fault", ["group writes", "others write", "link", "other owner"])
def test_a_folder_that_others_can_write_to_is_not_used(places, tmp_path, monkeypatch, fault):
    """Machine code is kept as pickles: who can write them can run code."""
    folder = tmp_path / "n" / f"xrt-kernels-{os.geteuid()}"
    folder.mkdir(parents=True)
    if fault == "link":
        folder.rmdir()
        (tmp_path / "real").mkdir()
        folder.symlink_to(tmp_path / "real")
    elif fault == "other owner":
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)
        folder.rename(folder.with_name(f"xrt-kernels-{other}"))
    else:
        folder.chmod(0o770 if fault == "group writes" else 0o777)
    assert places(str(tmp_path / "n")) is None


def test_a_kernel_computes_without_any_place(places):
    places("/proc/none", "/proc/none", "/proc/none")
    assert jit.njit()(lambda x: x + 1)(2) == 3


def kernel_in(folder: Path):
    source = folder / "one_kernel.py"
    source.write_text("def add(a, b):\n    return a + b\n")
    names: dict = {}
    exec(compile(source.read_text(), str(source), "exec"), names)
    return jit.njit(nogil=True)(names["add"])


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("fault", ["empty", "cut", "foreign", "folder"])
def test_a_damaged_cache_costs_a_compilation(places, tmp_path, suffix, fault):
    places(str(tmp_path / "n"))
    assert kernel_in(tmp_path)(np.float64(1), np.float64(2)) == 3
    (file,) = (tmp_path / "n").rglob(f"*.{suffix}")
    whole = file.read_bytes()
    file.unlink()
    if fault == "folder":
        file.mkdir()
    else:
        file.write_bytes({"empty": b"", "cut": whole[:40], "foreign": b"no pickle at all"}[fault])
    assert kernel_in(tmp_path)(np.float64(1), np.float64(2)) == 3


def test_a_folder_that_goes_away_costs_a_compilation(places, tmp_path):
    base = places(str(tmp_path / "n"))
    shutil.rmtree(tmp_path / "n")
    (tmp_path / "n").write_text("")
    assert jit.cache_base() == base
    assert kernel_in(tmp_path)(np.float64(1), np.float64(2)) == 3
