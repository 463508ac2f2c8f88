"""What stages took: kept beside their outputs, and no part of them."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from xrt.pipeline.report_content import stage_lines
from xrt.storage import memory_watch
from xrt.storage.memory_watch import resident_bytes, watch_memory
from xrt.storage.stages import StageCost, run_stage

needs_proc = pytest.mark.skipif(resident_bytes() is None, reason="no /proc")


@needs_proc
def test_memory_that_came_and_went_is_seen() -> None:
    before, _ = resident_bytes() or (0, 0)
    with watch_memory() as peak:
        block = np.ones(40_000_000)  # 320 MB
        time.sleep(2.5 * memory_watch.INTERVAL)
        del block
    assert peak.num_bytes is not None
    assert peak.num_bytes > before + 250_000_000
    with watch_memory() as later:
        pass
    assert later.num_bytes is not None
    assert later.num_bytes < peak.num_bytes


def test_without_proc_memory_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_watch, "_STATUS", tmp_path / "none")
    with watch_memory() as peak:
        pass
    assert peak.num_bytes is None
    assert run_stage(tmp_path, "a", 1, {}, {}, write).cost.peak_bytes is None


def write(folder: Path) -> None:
    (folder / "x").write_text("x")


def test_a_stage_keeps_what_it_and_the_stages_inside_of_it_took(tmp_path: Path) -> None:
    def outer(folder: Path) -> None:
        run_stage(tmp_path, "inner", 1, {}, {}, lambda inside: (time.sleep(0.2), write(inside)))
        run_stage(tmp_path, "inner", 1, {}, {}, write)  # up to date: takes nothing
        write(folder)

    result = run_stage(tmp_path, "outer", 1, {}, {}, outer)
    assert set(result.cost.nested) == {"inner"}
    assert 0.2 <= result.cost.nested["inner"] <= result.cost.seconds
    again = run_stage(tmp_path, "outer", 1, {}, {}, outer)
    assert again.was_cached
    assert again.cost == result.cost


def test_costs_are_no_output(tmp_path: Path) -> None:
    """Two runs of other durations have the same outputs, and a cost of an earlier version loads."""
    first = run_stage(tmp_path / "one", "a", 1, {}, {}, write)
    slow = run_stage(tmp_path / "two", "a", 1, {}, {}, lambda f: (time.sleep(0.05), write(f)))
    assert first.output_hash == slow.output_hash
    assert first.cost.seconds < slow.cost.seconds
    path = first.folder / "done.json"
    done = json.loads(path.read_text())
    path.write_text(
        json.dumps({k: v for k, v in done.items() if k not in ("peak_bytes", "nested")})
    )
    old = run_stage(tmp_path / "one", "a", 1, {}, {}, write)
    assert old.was_cached
    assert old.cost == StageCost(first.cost.seconds)


def test_time_counts_once() -> None:
    """That of an inner stage with a line of its own is not in the outer one's line."""
    costs = {
        "fit-tree": StageCost(2.0, 100),
        "fusion": StageCost(5.0, 200, {"fit-tree": 2.0, "gone": 1.0}),
    }
    inner, outer = stage_lines(costs)
    assert (inner["own_seconds"], outer["own_seconds"], outer["seconds"]) == (2.0, 3.0, 5.0)
