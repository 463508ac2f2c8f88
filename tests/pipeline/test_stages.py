"""Which stages of a run are taken from what is there, and that a broken run ends as a whole one."""

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import ROOT
from tests.processes import ends_with_the_test
from tests.small_corpora import fit_in_folder, make_rows, model_bytes
from xrt.config import build, compose, pipeline_params
from xrt.data.formats import read_corpus
from xrt.features.tfidf_params import WORDS_OF_TWO, TfidfParams
from xrt.pipeline import PipelineParams, train
from xrt.pipeline.params import MatcherFeatures
from xrt.predict import Predictor
from xrt.search.beam import SearchParams
from xrt.sources.linear_trees import LinearTrees
from xrt.sources.ranker import RankerParams, TreeRanker
from xrt.storage import stages
from xrt.storage.reading import read_json_bounded

REPORTING = ("README.md", "manifest.json")  # the two files of a model that tell of the test file
BOTH = TfidfParams(char_ngrams=(2, 3))
TEXTS = [row["title"] for row in make_rows(40, seed=9)]
LABELS = 24
pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_second_run_runs_nothing_and_writes_the_same_bytes(
    params: PipelineParams, copied: Path, stages_that_run: Any
):
    before = model_bytes(copied / "model")
    assert stages_that_run(params, copied) == set()
    assert model_bytes(copied / "model") == before


def test_a_changed_ranker_leaves_features_trees_and_matcher_alone(
    params: PipelineParams, copied: Path, stages_that_run: Any
):
    before = model_bytes(copied / "model")
    changed = replace(params, ranker=RankerParams(cost_positive=2.0))
    rankers = {"linear", "fit-linear", "fit-ranker", "ranker"}
    assert stages_that_run(changed, copied) == {*rankers, "fusion", "verdict"}
    after = model_bytes(copied / "model")
    assert after["linear/level.1/entry_values.npy"] != before["linear/level.1/entry_values.npy"]
    assert after["encoder/model.safetensors"] == before["encoder/model.safetensors"]


def test_a_changed_search_only_weighs_the_sources_anew(
    params: PipelineParams, copied: Path, stages_that_run: Any
):
    changed = replace(params, search=SearchParams(beam_size=3))
    assert stages_that_run(changed, copied) == {"fusion", "verdict"}
    assert Predictor.load(copied / "model").model.search.beam_size == 3


def test_neither_the_test_file_nor_an_interruption_changes_a_byte_of_the_model(
    params: PipelineParams, run_folder: Path, data: Path, tmp_path: Path, monkeypatch: Any
):
    """The same training file elsewhere, with another test file, stopped before two stages."""
    other = replace(params, dataset=replace(params.dataset, tst=str(data / "other.jsonl")))
    begin = stages.run_stage
    for stage in ("tree", "ranker"):

        def stop(run: Path, name: str, *rest: Any, stage: str = stage, **named: Any) -> Any:
            if name == stage:
                raise KeyboardInterrupt
            return begin(run, name, *rest, **named)

        monkeypatch.setattr(stages, "run_stage", stop)
        with pytest.raises(KeyboardInterrupt):
            train(other, tmp_path / "elsewhere")
        assert not (tmp_path / "elsewhere" / "model").exists()
    monkeypatch.setattr(stages, "run_stage", begin)
    train(other, tmp_path / "elsewhere")
    elsewhere = tmp_path / "elsewhere" / "model"
    assert model_bytes(elsewhere, *REPORTING) == model_bytes(run_folder / "model", *REPORTING)
    told = [read_json_bounded(folder / "manifest.json")["metrics"]
            for folder in (elsewhere, run_folder / "model")]  # fmt: skip
    assert told[0] != told[1]


def test_several_trees_and_a_chosen_path_weight_are_part_of_every_model(
    params: PipelineParams, copied: Path, data: Path, stages_that_run: Any
):
    search = SearchParams(path_weight=None)
    changed = replace(params, num_trees=2, search=search)
    added = {"trial-tree", "trial-linear", "path-weight", "tree-2", "linear-2", "fit-tree-2"}
    added |= {"fit-linear-2", "fusion", "verdict"}
    assert stages_that_run(changed, copied) == added
    assert stages_that_run(changed, copied) == set()
    saved = Predictor.load(copied / "model").model
    assert len(saved.source(LinearTrees).trees) == 2
    chosen = read_json_bounded(copied / "stages" / "path-weight" / "path_weight.json")
    assert saved.search == replace(search, path_weight=chosen["path_weight"])
    kept = fit_in_folder(changed, read_corpus(data / "trn.jsonl"), copied).model
    np.testing.assert_array_equal(
        saved.predict(TEXTS, LABELS).toarray(), kept.predict(TEXTS, LABELS).toarray()
    )
    first = TreeRanker.load(copied / "stages" / "linear" / "ranker")
    assert first.num_weights == saved.source(LinearTrees).trees[0].num_weights
    alone = replace(changed, encoder=None, num_trees=3)
    added = {"tree-3", "linear-3", "linear-fusion"}
    for end in ("", "-2", "-3"):  # without an encoder more rows are held out of so few
        added |= {f"fit-tree{end}", f"fit-linear{end}"}
    assert stages_that_run(alone, copied) == added
    assert (copied / "model" / "linear" / "2" / "level.1").is_dir()


def test_other_features_keep_the_matcher_whose_tree_has_its_own(
    params: PipelineParams, copied: Path, tmp_path: Path, stages_that_run: Any
):
    before = model_bytes(copied / "model")
    swept = replace(params, features=BOTH, matcher_features=MatcherFeatures.words)
    ran = stages_that_run(swept, copied)
    assert {"features", "matcher-features", "linear", "ranker"} <= ran
    assert not ran & {"matcher-tree", "matcher"}
    after = model_bytes(copied / "model")
    assert after["encoder/model.safetensors"] == before["encoder/model.safetensors"]
    assert after["ranker/level.1/entry_values.npy"] != before["ranker/level.1/entry_values.npy"]

    fresh = tmp_path / "fresh"
    train(swept, fresh)
    assert model_bytes(fresh / "model", "model_card.json", "README.md") == model_bytes(
        copied / "model", "model_card.json", "README.md"
    )
    scores = Predictor.load(copied / "model").scores(TEXTS, 5).toarray()
    np.testing.assert_array_equal(
        Predictor.load(fresh / "model").scores(TEXTS, 5).toarray(), scores
    )


def test_features_that_are_the_same_are_not_made_twice(
    params: PipelineParams, copied: Path, stages_that_run: Any
):
    same = replace(params, matcher_features=MatcherFeatures.words)
    assert stages_that_run(same, copied) == set()
    assert not (copied / "stages" / "matcher-features").exists()


def test_the_preset_keeps_the_matcher_of_the_one_it_builds_on():
    names = ("tibkat_long", "tibkat_chars")
    plain, chars = (build(pipeline_params(), compose([f"experiment={name}"])) for name in names)
    assert (chars.matcher_features, plain.features) == (
        MatcherFeatures.words,
        TfidfParams(sublinear_tf=False, token_pattern=WORDS_OF_TWO),
    )
    assert chars.features.char_ngrams == (4, 4)
    changed = {"features", "matcher_features", "dataset"}
    for name in vars(plain):
        assert name in changed or getattr(chars, name) == getattr(plain, name), name


KILLED = """
import sys
from pathlib import Path
from tests.small_corpora import small_params
from xrt.pipeline import train
train(small_params(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3])
"""


@contextlib.contextmanager
def training_process(data: Path, folder: Path) -> Iterator[subprocess.Popen]:
    root = ROOT
    env = {**os.environ, "PYTHONPATH": str(root), "XRT_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-c", KILLED, data / "trn.jsonl", data / "tst.jsonl", folder]
    process = subprocess.Popen([str(arg) for arg in argv], env=env, stderr=subprocess.DEVNULL,
                               start_new_session=True)  # fmt: skip
    with ends_with_the_test(process):
        yield process


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    params: PipelineParams, run_folder: Path, data: Path, tmp_path: Path
):
    rng = random.Random(0)
    folder = tmp_path / "killed"
    num_kills = 0
    for sign in ("stages/features", "scratch/matcher-*/tokens", "stages/fit-ranker", "model"):
        if any(folder.glob(sign)):
            continue  # the last kill came late
        with training_process(data, folder) as process:
            while not any(folder.glob(sign)) and process.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.random() * 0.1)
            num_kills += process.poll() is None
    assert num_kills >= 2
    train(params, folder)
    assert model_bytes(folder / "model") == model_bytes(run_folder / "model")
    assert not list(folder.glob(".tmp-*"))
    assert not list((folder / "stages").glob(".tmp-*"))
