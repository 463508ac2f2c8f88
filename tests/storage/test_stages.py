import dataclasses
import enum
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.errors import ArtifactError, ConfigError, XrtError
from xrt.storage.hashing import canonical_json, content_hash
from xrt.storage.stages import (
    FolderCache,
    MemoryCache,
    Settings,
    Stage,
    StageOutput,
    StageResult,
    Workspace,
    explain,
    read_stage,
    run_lock,
    run_stage,
)


class Pipeline:
    """Three stages in a row; `ran` lists those that were not cached."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.ran: list[str] = []

    def __call__(self, corpus: str = "abc", branching: int = 16, epochs: int = 3) -> StageResult:
        self.ran.clear()
        tree = self._stage("tree", {"branching": branching}, corpus=content_hash(corpus))
        ranker = self._stage("ranker", {"epochs": epochs}, tree=tree.output_hash)
        return self._stage("report", {}, ranker=ranker.output_hash)

    def _stage(self, name: str, parameters: dict[str, Any], **inputs: str) -> StageResult:
        def produce(folder: Path) -> None:
            self.ran.append(name)
            (folder / "sub").mkdir()
            (folder / "sub" / "out.txt").write_text(f"{name} {parameters} {inputs}")

        return run_stage(self.run, name, 1, parameters, inputs, produce)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path / "run")


def write_one(text: str = "x") -> Callable[[Path], None]:
    return lambda folder: (folder / "out.txt").write_text(text) and None


def fail(folder: Path) -> None:
    raise AssertionError("this stage should not run")


def test_an_unchanged_rerun_runs_nothing(pipeline: Pipeline) -> None:
    first = pipeline()
    assert pipeline.ran == ["tree", "ranker", "report"]
    again = pipeline()
    assert pipeline.ran == []
    assert not first.was_cached
    assert again == dataclasses.replace(first, was_cached=True)
    assert read_stage(pipeline.run, "report") == again


@pytest.mark.parametrize(
    ("change", "ran"),
    [
        ({"corpus": "abd"}, ["tree", "ranker", "report"]),
        ({"branching": 8}, ["tree", "ranker", "report"]),
        ({"epochs": 4}, ["ranker", "report"]),
    ],
)
def test_a_change_runs_its_stage_and_those_behind_it(
    pipeline: Pipeline, change: dict[str, Any], ran: list[str]
) -> None:
    pipeline()
    pipeline(**change)
    assert pipeline.ran == ran


def test_a_rerun_with_the_same_bytes_makes_nobody_else_run(tmp_path: Path) -> None:
    first = run_stage(tmp_path, "tree", 1, {}, {}, write_one())
    second = run_stage(tmp_path, "tree", 2, {}, {}, write_one())
    assert not second.was_cached
    assert second.key != first.key
    assert second.output_hash == first.output_hash


def test_old_outputs_are_replaced_not_mixed(tmp_path: Path) -> None:
    run_stage(tmp_path, "a", 1, {}, {}, lambda folder: (folder / "old").touch())
    result = run_stage(tmp_path, "a", 2, {}, {}, lambda folder: (folder / "new").touch())
    assert sorted(path.name for path in result.folder.iterdir()) == ["done.json", "new"]


def test_damaged_outputs_are_made_again(pipeline: Pipeline) -> None:
    out = pipeline().folder / "sub" / "out.txt"
    good = out.read_bytes()
    for damage in (out.unlink, lambda: out.write_bytes(good + b"!"), (out.parent / "x").touch):
        damage()
        pipeline()
        assert pipeline.ran == ["report"]
        assert out.read_bytes() == good
        assert [path.name for path in out.parent.iterdir()] == ["out.txt"]


def test_altered_bytes_of_the_same_size_make_the_stage_run_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = run_stage(tmp_path, "a", 1, {}, {}, write_one("good"))
    (result.folder / "out.txt").write_text("evil")
    fault = "output out.txt has been altered (its sha256 differs)"
    assert explain(tmp_path, "a", 1, {}, {}) == [fault]
    assert explain(tmp_path, "a", 1, {}, {}, verify=False) == []
    with caplog.at_level("INFO"):
        again = run_stage(tmp_path, "a", 1, {}, {}, write_one("good"))
    assert f"a: runs ({fault})" in caplog.text
    assert (again.was_cached, again.output_hash) == (False, result.output_hash)
    assert (again.folder / "out.txt").read_text() == "good"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"key": 1}', "[" * 5000, '{"a": NaN}', "\ud800", '{"k": 1, "k": 2}'],
)
def test_a_damaged_record_of_a_stage_makes_it_run_again(tmp_path: Path, content: str) -> None:
    result = run_stage(tmp_path, "a", 1, {}, {}, write_one("good"))
    (result.folder / "done.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    assert not run_stage(tmp_path, "a", 1, {}, {}, write_one("good")).was_cached
    assert run_stage(tmp_path, "a", 1, {}, {}, fail).was_cached


def test_a_failing_stage_leaves_the_old_outputs_and_no_rest(tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    run_stage(tmp_path, "a", 1, {}, {}, write_one())
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, "a", 2, {}, {}, half)
    assert [path.name for path in (tmp_path / "stages").iterdir()] == ["a"]
    assert run_stage(tmp_path, "a", 1, {}, {}, fail).was_cached


def test_explain_names_what_changed(tmp_path: Path) -> None:
    before = {"solver": {"loss": "hinge", "cost": 1.0}, "k": 5, "gone": 1}
    now = {"solver": {"loss": "hinge", "cost": 2.0}, "k": 5, "fresh": 1}
    assert explain(tmp_path, "a", 1, before, {"corpus": "0a"}) == ["never finished"]
    run_stage(tmp_path, "a", 1, before, {"corpus": "0a"}, write_one())
    assert explain(tmp_path, "a", 1, before, {"corpus": "0a"}) == []
    assert explain(tmp_path, "a", 2, now, {"corpus": "0b"}) == [
        "input corpus changed",
        "fresh is new",
        "gone is gone",
        "solver.cost: 1.0 -> 2.0",
        "version: 1 -> 2",
    ]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"key": "x"}'])
def test_an_unreadable_record_makes_the_stage_run(tmp_path: Path, content: str) -> None:
    result = run_stage(tmp_path, "a", 1, {}, {}, write_one())
    (result.folder / "done.json").write_text(content)
    assert not run_stage(tmp_path, "a", 1, {}, {}, write_one()).was_cached


def test_a_stage_may_not_write_the_record_itself(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"done\.json is written by the cache"):
        run_stage(tmp_path, "a", 1, {}, {}, lambda folder: (folder / "done.json").touch())


def test_scratch_survives_a_failure_and_belongs_to_one_key(tmp_path: Path) -> None:
    found: list[list[str]] = []

    def produce(folder: Path, scratch: Path) -> None:
        found.append(sorted(path.name for path in scratch.iterdir()))
        (scratch / f"step{len(found)}").touch()
        if len(found) < 4:
            raise RuntimeError("killed")
        (folder / "out").touch()

    other = tmp_path / "scratch" / "matcher-2-0123456789abcdef"
    other.mkdir(parents=True)
    for version in (1, 1, 2):
        with pytest.raises(RuntimeError, match="killed"):
            run_stage(tmp_path, "matcher", version, {}, {}, produce, keeps_scratch=True)
    run_stage(tmp_path, "matcher", 2, {}, {}, produce, keeps_scratch=True)
    assert found == [[], ["step1"], [], ["step3"]]
    assert list((tmp_path / "scratch").iterdir()) == [other]


def test_a_second_process_is_refused_by_name(tmp_path: Path) -> None:
    script = f"""
        import sys
        from xrt.storage.stages import run_lock
        with run_lock({str(tmp_path)!r}):
            print("locked", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(XrtError, match=f"process {other.pid} is working in this run folder"):
            run_stage(tmp_path, "a", 1, {}, {}, write_one())
        other.communicate()
    assert not run_stage(tmp_path, "a", 1, {}, {}, write_one()).was_cached


def test_a_process_may_take_its_own_lock_again(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        run_stage(tmp_path, "a", 1, {}, {}, write_one())
        assert run_stage(tmp_path, "a", 1, {}, {}, fail).was_cached


KILLED_PIPELINE = """
import os, sys
from pathlib import Path
from xrt.storage.stages import run_stage

root = Path(sys.argv[1])
kill_at = calls = 0

def deadly(function):
    def wrapper(*args, **kwargs):
        global calls
        calls += 1
        if calls == kill_at:
            os._exit(9)
        return function(*args, **kwargs)
    return wrapper

os.fsync = lambda descriptor: None  # the test is about kills, not about power cuts; this is quicker
for name in "replace", "rename", "fsync", "mkdir", "rmdir", "unlink":
    setattr(os, name, deadly(getattr(os, name)))

def steps(folder, scratch):
    for step in range(2):
        if not (scratch / str(step)).exists():
            (scratch / str(step)).mkdir()
    (folder / "steps").write_text("0 1")

def run(folder):
    for version in 1, 2:
        a = run_stage(folder, "a", version, {}, {}, lambda f: (f / "x").write_text(f"a{version}"))
        b = run_stage(folder, "b", 1, {}, {"a": a.output_hash}, steps, keeps_scratch=True)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return f"{b.key} {a.output_hash} {b.output_hash} {left}"

def in_child(folder, name):  # a fork, so that each of the many runs need not import again
    if (child := os.fork()) == 0:
        (root / name).write_text(run(folder))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

expected = run(root / "unbroken")
num_calls = calls
for point in range(1, num_calls + 1):
    folder, calls, kill_at = root / f"killed{point}", 0, point
    assert in_child(folder, "killed.txt") == 9, point
    kill_at = 0
    assert in_child(folder, "resumed.txt") == 0, point
    assert (root / "resumed.txt").read_text() == expected, (point, expected)
print(num_calls, expected)
"""


def test_killed_at_any_file_operation_a_run_ends_with_the_same_outputs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_PIPELINE, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    num_calls, *_ = done.stdout.split()
    assert int(num_calls) > 20
    expected = "['.lock', 'scratch', 'stages', 'stages/a', 'stages/a/done.json', 'stages/a/x', "
    assert expected + "'stages/b', 'stages/b/done.json', 'stages/b/steps']" in done.stdout


class Loss(enum.StrEnum):
    HINGE = "hinge"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Params:
    loss: Loss = Loss.HINGE
    sizes: tuple[int, int] = (1, 2)


def test_parameters_may_be_a_dataclass(tmp_path: Path) -> None:
    result = run_stage(tmp_path, "a", 1, Params(), {}, write_one())
    done = json.loads((result.folder / "done.json").read_text())
    assert done["parameters"] == {"loss": "hinge", "sizes": [1, 2]}
    as_dict = {"sizes": [1, 2], "loss": "hinge"}
    assert run_stage(tmp_path, "a", 1, as_dict, {}, fail).was_cached
    assert canonical_json(Params()) == '{"loss":"hinge","sizes":[1,2]}'


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"a": float("nan")}, r"parameters of stage a\.a: nan cannot"),
        ({"a": [Path("x")]}, r"a\[0\]: a path \(x\) depends on the machine"),
        ({1: 2}, "key 1 is not a string"),
        ({"a": {1, 2}}, "a set cannot be written"),
    ],
)
def test_parameters_without_a_stable_form_are_refused(
    tmp_path: Path, value: Any, fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault):
        run_stage(tmp_path, "a", 1, value, {}, write_one())


SOLVER = {"loss": "hinge", "cost": 1.0}


def test_a_parameter_at_its_neutral_value_adds_nothing_to_the_key(tmp_path: Path) -> None:
    neutral: dict[str, Any] = {"solver": SOLVER, "k": 5}
    first = run_stage(tmp_path, "a", 1, {"solver": {**SOLVER, "cost": 2.0}, "k": 5}, {},
                      write_one(), neutral=neutral)  # fmt: skip
    newer = {**neutral, "solver": {**SOLVER, "half": False}, "seed": 0}
    same = {"solver": {"loss": "hinge", "cost": 2.0, "half": False}, "k": 5, "seed": 0}
    assert run_stage(tmp_path, "a", 1, same, {}, fail, neutral=newer).key == first.key
    for change in ({"seed": 1}, {"solver": newer["solver"]}, {"k": 6}):
        other = {**same, **change}
        (reason,) = explain(tmp_path, "a", 1, other, {}, neutral=newer)[:1]
        assert reason
        assert explain(tmp_path, "a", 1, other, {}) != []


TEXT = Stage[str](
    "text", 1, ("case",),
    save=lambda text, folder: (folder / "text").write_text(text) and None,
    load=lambda folder: (folder / "text").read_text(),
)  # fmt: skip
CASES = Settings({"case": "upper"}, {"case": "lower"})


def test_both_caches_give_the_same_output_and_one_of_them_keeps_it(tmp_path: Path) -> None:
    ran: list[str] = []

    def make(settings: Settings, workspace: Workspace) -> str:
        ran.append(settings["case"])
        return "ab"

    def hashed() -> str:
        ran.append("hashed")
        return "00"

    def run(cache: Any) -> StageOutput[str]:
        return cache.run(TEXT, make, CASES, {"rows": hashed}, "words")

    assert [run(MemoryCache()).value for _ in range(2)] == ["ab", "ab"]
    assert ran == ["upper", "upper"]
    first, again = run(FolderCache(tmp_path)), run(FolderCache(tmp_path))
    assert ran[2:] == ["hashed", "upper", "hashed"]
    assert (first.value, first.hash) == (again.value, again.hash)
    assert first.hash == read_stage(tmp_path, "words").output_hash


def test_a_stage_reads_no_setting_that_it_does_not_declare() -> None:
    with pytest.raises(KeyError, match=r"seed: the stage reads case alone; declare it"):
        MemoryCache().run(TEXT, lambda settings, _: settings["seed"], CASES, {})


def test_a_stage_that_needs_a_folder_has_one_in_memory_too() -> None:
    large = dataclasses.replace(TEXT, needs_folder=True)

    def make(settings: Settings, workspace: Workspace) -> str:
        assert workspace.folder is not None
        assert workspace.scratch is not None
        (workspace.folder / "text").write_text("ab")
        (workspace.scratch / "step").touch()
        return str(workspace.folder / "text")

    cache = MemoryCache()
    path = Path(cache.run(large, make, CASES, {}).value)
    assert path.read_text() == "ab"
    del cache
    assert not path.exists()


VALUES: list[Any] = [
    None, True, 1, 1.0, "1", b"1", [], [1], ["1"], [["1"]], {"1": 1}, ["ab", "c"], ["a", "bc"],
    "", [""], ["", ""], "\ud800", {"a": ["b"]}, np.arange(2), np.arange(2.0), np.zeros((2, 1)),
    np.zeros((1, 2)), sp.csr_array(np.eye(2)), sp.csr_array((2, 2)), sp.csr_array((2, 3)),
]  # fmt: skip


def test_different_values_have_different_hashes() -> None:
    hashes = [content_hash(value) for value in VALUES]
    assert len(set(hashes)) == len(VALUES)


def test_equal_contents_have_equal_hashes() -> None:
    csr = sp.csr_array(np.array([[0, 2, 1], [0, 0, 3]], np.float32))
    wide = csr.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    coo = sp.coo_array(([1, 1, 1, 3], ([0, 0, 0, 1], [1, 2, 1, 2])), shape=(2, 3), dtype=np.float32)
    assert len({content_hash(matrix) for matrix in (csr, wide, csr.tocsc(), coo)}) == 1
    array = np.arange(12, dtype=np.int32).reshape(3, 4)
    others = (np.asfortranarray(array), array.astype(">i4"), np.tile(array, 2)[:, :4])
    assert {content_hash(other) for other in others} == {content_hash(array)}
    assert content_hash({"a": 1, "b": (2, "x")}) == content_hash({"b": [2, "x"], "a": 1})


def test_hashes_do_not_depend_on_the_process() -> None:
    script = """
        import numpy as np, scipy.sparse as sp
        from xrt.storage.hashing import content_hash
        values = [{"b": 1.5, "a": ["x", "é"]}, np.arange(3, dtype="i4"), sp.csr_array(np.eye(2))]
        print(*(content_hash(value)[:16] for value in values))
    """
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    assert shown.split() == ["03773e727195a2c8", "f0784b1d0a9c732a", "429ffdec6ee1eb68"]


def test_long_inputs_are_hashed_in_blocks_without_loss() -> None:
    texts = [str(i) for i in range(10_000)]
    array = np.arange(600_000)
    assert content_hash(texts) != content_hash([*texts[:-1], "x"])
    assert content_hash(array) != content_hash(np.append(array[:-1], 0))
