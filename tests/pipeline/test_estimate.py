"""What a run will take, told before; machines too small are refused."""

from dataclasses import replace

import numpy as np
import pytest

from tests.small_corpora import make_rows, small_params, write_rows
from tests.small_encoders import write_encoder
from xrt.cli import main
from xrt.data.formats import read_corpus
from xrt.errors import CapacityError, ConfigError
from xrt.pipeline.estimate.costs import Estimate, StageCost, show_bytes, show_seconds
from xrt.pipeline.estimate.machine import Machine, available_memory
from xrt.pipeline.estimate.stages import (
    ACTIVATIONS,
    _groups,
    estimate,
    refuse_if_too_small,
)
from xrt.tree.clustering import TreeParams, TreeShape


@pytest.fixture
def small(tmp_path):
    path = write_rows(tmp_path / "trn.jsonl", make_rows(300, 0))
    return small_params(path), read_corpus(path)


def needs(memory, disk):
    return Estimate((StageCost(name="all", seconds=1.0, memory=memory, disk=disk),), held=0)


def test_a_machine_with_room_is_silent_and_a_tight_one_warns():
    machine = Machine(memory=100 * 10**9, disk=10 * 10**9)
    assert refuse_if_too_small(needs(79 * 10**9, 7 * 10**9), machine) == []
    (warning,) = refuse_if_too_small(needs(90 * 10**9, 1), machine)
    assert warning.startswith("90.0 GB of memory will be needed, 100.0 GB are free; ")


@pytest.mark.parametrize(("memory", "disk", "kind"), [(300, 1, "memory"), (1, 30, "disk")])
def test_a_machine_far_too_small_is_refused_unless_forced(memory, disk, kind):
    machine, needed = Machine(memory=100 * 10**9, disk=10**10), needs(memory * 10**9, disk * 10**9)
    with pytest.raises(CapacityError, match=rf"GB of {kind} will be needed.*force=True"):
        refuse_if_too_small(needed, machine)
    assert len(refuse_if_too_small(needed, machine, force=True)) == 1


def test_memory_unknown_is_not_judged():
    assert refuse_if_too_small(needs(10**15, 1), Machine(memory=None, disk=10**12)) == []


def test_a_containers_limit_counts(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  8000000 kB\n")
    assert available_memory(tmp_path) == 8_000_000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("5\n")
    assert available_memory(tmp_path) == 8_000_000 * 1024
    (group / "memory.max").write_text("1000\n")
    assert available_memory(tmp_path) == 995
    assert available_memory(tmp_path / "nowhere") is None


def test_needs_grow_with_the_corpus_trees_and_the_encoder(small):
    deep, corpus = small
    params = replace(deep, encoder=None, num_trees=1)
    told = estimate(params, corpus, probe=False)
    many = corpus.subset(np.tile(np.arange(corpus.num_instances), 50))
    large = estimate(params, many, probe=False)
    assert large.memory > told.memory
    assert large.disk > 10 * told.disk
    assert estimate(replace(params, num_trees=3), corpus, probe=False).disk > 1.5 * told.disk
    assert estimate(deep, corpus, probe=False).memory > 1.5 * told.memory
    assert told.seconds is None


def test_seconds_are_measured_on_a_sample(small):
    params, corpus = small
    told = estimate(replace(params, encoder=None), corpus)
    assert told.seconds is not None
    assert 0 < told.seconds < 60
    assert all(stage.seconds for stage in told.stages)
    assert "linear rankers" in told.to_text()
    assert told.to_dict()["seconds"] == told.seconds


def test_seconds_of_the_encoder_grow_with_its_passes(small):
    params, corpus = small
    one, many = (
        estimate(
            replace(params, matcher=replace(params.matcher, steps=0, num_epochs=epochs)), corpus
        )
        for epochs in (1.0, 400.0)
    )
    seconds = [{stage.name: stage.seconds for stage in told.stages} for told in (one, many)]
    assert 0 < seconds[0]["matcher"] < seconds[1]["matcher"] < 1e5
    assert seconds[1]["matcher"] > 10 * seconds[0]["matcher"]
    assert one.seconds is not None
    assert "?" not in one.to_text()


def test_the_command_tells_and_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ["encoder=none", "dataset.num_rows=600", f"paths.runs={tmp_path / 'runs'}"]
    assert main(["train", *settings, "estimate=true"]) == 0
    assert "label tree" in capsys.readouterr().out
    assert not list(tmp_path.rglob("stages"))
    assert not list(tmp_path.rglob("manifest.json"))


def test_a_run_on_a_full_disk_is_refused_before_it_begins(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        Machine, "here", classmethod(lambda cls, folder: Machine(memory=None, disk=1000))
    )
    settings = ["encoder=none", "dataset.num_rows=600", f"paths.runs={tmp_path / 'runs'}"]
    assert main(["train", *settings]) == 2
    assert "of disk will be needed" in capsys.readouterr().err
    assert not list(tmp_path.rglob("stages"))
    assert main(["train", *settings, "force=true"]) == 0


def test_sizes_and_times_for_people():
    assert [show_bytes(n) for n in (5, 2_000_000, 3_500_000_000)] == ["1 MB", "2 MB", "3.5 GB"]
    times = [show_seconds(s) for s in (None, 0.2, 8.4, 600.0, 7200.0)]
    assert times == ["?", "<1 s", "8 s", "10 min", "2.0 h"]


def test_an_encoder_is_asked_for_its_size_not_its_name(small, tmp_path):
    params, corpus = small
    wide = write_encoder(tmp_path / "minilm-tiny", hidden_size=64, num_hidden_layers=8)
    narrow = write_encoder(tmp_path / "large", hidden_size=16, num_hidden_layers=1)
    memory = []
    for folder in (wide, narrow):
        encoder = replace(params.encoder, name=str(folder))
        told = estimate(replace(params, encoder=encoder), corpus, probe=False)
        memory.append({stage.name: stage.memory for stage in told.stages}["matcher"])
    activations = [ACTIVATIONS * params.matcher.token_budget * size for size in (64 * 8, 16)]
    assert activations[0] < memory[0] < 2 * activations[0]
    assert activations[1] < memory[1] < activations[0] / 4


def test_an_encoder_that_is_not_here_is_one_line_and_nothing_is_trained(small, monkeypatch):
    params, corpus = small
    monkeypatch.setattr("xrt.pipeline.estimate.stages.measure_linear", None)
    params = replace(params, encoder=replace(params.encoder, name="someone/encoder"))
    with pytest.raises(ConfigError, match=r"encoder.name = 'someone/encoder'.*hf download"):
        estimate(params, corpus)


@pytest.mark.parametrize(
    ("tree", "num_labels", "groups"),
    [
        (TreeParams(shape=TreeShape.k_means, fan_out=50, depth=2), 5000, [4, 4, 1]),
        (TreeParams(shape=TreeShape.k_means, fan_out=50, depth=1), 5000, [4, 7]),
        (TreeParams(shape=TreeShape.k_means, fan_out=50), 40, [3]),
        (TreeParams(shape=TreeShape.halves, max_leaf_size=100), 5000, [4, 5]),
        (TreeParams(max_leaf_size=5000), 5000, [313]),
    ],
)
def test_groups_of_nodes_follow_the_shape_of_the_tree(tree, num_labels, groups):
    assert _groups(tree, num_labels) == groups
