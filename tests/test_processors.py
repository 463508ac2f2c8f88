"""Processors under affinity and the quotas of control groups, made and real; what libraries get."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xrt import cli
from xrt.processors import SPIN_COUNT, cpu_quota, num_processors, share_processors

V1 = (
    "30 25 0:27 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
)
MEMORY = "31 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
V2 = "32 25 0:29 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"


def machine(tmp_path: Path, mounts: list[str], groups: str, quotas: dict[str, str]) -> Path:
    """A folder with what the kernel would show: `quotas` are files' contents by their paths."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("".join(f"{line}\n" for line in mounts))
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for path, content in quotas.items():
        file = tmp_path / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return tmp_path


def v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    base = f"cpu,cpuacct/{folder}".rstrip("/")
    return {f"{base}/cpu.cfs_quota_us": f"{quota}\n", f"{base}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("mounts", "groups", "quotas", "expected"),
    [
        ([], "", {}, None),
        ([V2.format(root="/")], "0::/a/b\n", {"a/cpu.max": "max 100000\n"}, None),
        ([V2.format(root="/")], "0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        # the smallest along the path, wherever it stands
        ([V2.format(root="/")], "0::/a/b\n",
         {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 0.5),
        ([V2.format(root="/")], "0::/a/b\n",
         {"cpu.max": "30000 10000\n", "a/b/cpu.max": "max 100000\n"}, 3.0),
        # the group beside ours is none of ours
        ([V2.format(root="/")], "0::/a/b\n", {"a/c/cpu.max": "10000 100000\n"}, None),
        # in a container: the namespace shows its own group as the root, or the host's path
        ([V2.format(root="/")], "0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ([V2.format(root="/docker/f7")], "0::/docker/f7/in\n",
         {"in/cpu.max": "100000 100000\n"}, 1.0),
        ([V2.format(root="/docker/f7")], "0::/docker/f7\n", {"cpu.max": "100000 100000\n"}, 1.0),
        ([V2.format(root="/")], "0::/../other\n", {"cpu.max": "100000 100000\n"}, 1.0),
        ([V2.format(root="/else")], "0::/a\n", {"cpu.max": "70000 100000\n"}, 0.7),
        ([V1.format(root="/"), MEMORY], "4:memory:/x\n3:cpu,cpuacct:/a/b\n0::/\n",
         v1("a/b", 100_000) | v1("a", -1) | v1("", -1), 1.0),
        ([V1.format(root="/"), MEMORY], "3:cpu,cpuacct:/a/b\n", v1("a/b", -1) |
         v1("a", 25_000, 50_000), 0.5),
        ([V1.format(root="/"), MEMORY], "3:cpuacct,cpu:/a/b\n", v1("a/b", -1) | v1("a", -1), None),
        # both versions mounted, as systemd's hybrid does: each may hold a quota
        ([V1.format(root="/"), V2.format(root="/").replace("cgroup rw", "cgroup/unified rw")],
         "3:cpu,cpuacct:/a\n0::/u\n",
         v1("a", 300_000) | {"unified/u/cpu.max": "200000 100000\n"}, 2.0),
        # broken files set no limit
        ([V2.format(root="/")], "0::/a\nnonsense\n", {"a/cpu.max": "many few\n"}, None),
        ([V2.format(root="/")], "0::/a (deleted)\n", {"cpu.max": "0 0\n"}, None),
        (["too short", V2.format(root="/").replace("/sys/fs/cgroup", "/sys/fs/cgroup/my\\040own")],
         "0::/a\n", {"my own/a/cpu.max": "120000 100000\n"}, 1.2),
    ],
)  # fmt: skip
def test_the_smallest_quota_counts(tmp_path, mounts, groups, quotas, expected):
    assert cpu_quota(machine(tmp_path, mounts, groups, quotas)) == expected


@pytest.mark.parametrize(
    ("quota", "reachable", "expected"),
    [(None, 8, 8), (3.0, 8, 3), (2.2, 8, 3), (0.1, 8, 1), (16.0, 4, 4)],
)
def test_affinity_and_quota_both_limit(monkeypatch, quota, reachable, expected):
    monkeypatch.setattr("xrt.processors.cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(reachable)), raising=False)
    assert num_processors() == expected


def test_a_real_group_of_one_processor_is_seen_through_a_group_without_limit():
    """joblib.cpu_count, which was used before, saw two processors in such a group."""
    top = Path("/sys/fs/cgroup/cpu")
    outer, inner = top / f"xrt-test-{os.getpid()}", top / f"xrt-test-{os.getpid()}" / "inner"
    try:
        inner.mkdir(parents=True)
        (outer / "cpu.cfs_quota_us").write_text("100000")
    except OSError:
        for group in (inner, outer):
            if group.is_dir():
                group.rmdir()
        pytest.skip("no control group of version 1 can be made here")
    code = (
        "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "from xrt.processors import cpu_quota\n"
        "from xrt.threads import default_num_threads\n"
        "print(cpu_quota(), default_num_threads())"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    try:
        run = subprocess.run(
            [sys.executable, "-c", code, str(inner / "cgroup.procs")],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )
        assert run.stdout.split() == ["1.0", "1"], run.stderr
    finally:
        inner.rmdir()
        outer.rmdir()


@pytest.fixture
def bare(monkeypatch):
    """An environment without a word on threads; what is written there is forgotten."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "POLARS_MAX_THREADS")
    for name in (*names, "XRT_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that monkeypatch takes away what the code writes
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    return monkeypatch


def test_libraries_get_no_more_threads_than_there_are_processors(bare):
    share_processors(4)
    assert "OMP_NUM_THREADS" not in os.environ
    share_processors(2)
    assert os.environ["OMP_NUM_THREADS"] == os.environ["POLARS_MAX_THREADS"] == "2"
    share_processors(1)  # what is there stays
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_threads_spin_for_a_moment_unless_the_user_says_otherwise(bare):
    share_processors(4)
    assert os.environ["GOMP_SPINCOUNT"] == str(SPIN_COUNT)
    bare.setenv("GOMP_SPINCOUNT", "7")
    share_processors(4)
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    bare.delenv("GOMP_SPINCOUNT")
    bare.setenv("OMP_WAIT_POLICY", "ACTIVE")
    share_processors(4)
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize(
    "words", [["train", "no.such=1"], ["inspect", "none"], ["predict", "none"]]
)
def test_every_command_says_so_before_it_loads_a_library(bare, words, capsys):
    assert cli.main(words) == 2
    assert os.environ["GOMP_SPINCOUNT"] == str(SPIN_COUNT)


@pytest.mark.parametrize("quota", [1, 2])
def test_the_pools_of_a_command_follow(quota):
    """torch, FAISS and the BLAS of numpy, in a process where a command has begun."""
    code = (
        "import os, xrt.processors as p\n"
        "os.sched_getaffinity = lambda pid: {0, 1, 2}\n"
        f"p.cpu_quota = lambda: {quota}\n"
        "from xrt import cli; cli.main(['predict', 'none'])\n"
        "import numpy, torch, faiss, threadpoolctl\n"
        "print(torch.get_num_threads(), faiss.omp_get_max_threads(),\n"
        " *{pool['num_threads'] for pool in threadpoolctl.threadpool_info()})"
    )
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XRT_NUM_THREADS")
    environment = {k: v for k, v in os.environ.items() if k not in names}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
    )
    assert run.stdout.split() == [str(quota)] * 3, run.stderr
