"""Rows of features instead of texts, and what is refused before any work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_corpora import WORDS, fit_in_folder, make_rows, small_params, write_rows
from xrt.data.formats import read_corpus
from xrt.errors import ArtifactError, ConfigError, DataError
from xrt.pipeline import PipelineParams, train
from xrt.predict import Predictor
from xrt.search.beam import SearchParams
from xrt.tree.clustering import TreeParams


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, num_rows, seed in (("trn", 140, 0), ("tst", 30, 1)):
        write_rows(folder / f"{name}.jsonl", make_rows(num_rows, seed))
    return folder


@pytest.fixture(scope="module")
def params(data: Path) -> PipelineParams:
    return small_params(data / "trn.jsonl", data / "tst.jsonl")


def bow(path: Path, num_features: int, seed: int = 0) -> Path:
    """20 rows of 4 labels: row n has feature and label n mod 4, and one feature by chance."""
    extra = np.random.default_rng(seed).integers(4, num_features, 20)
    lines = [f"{n % 4} {n % 4}:1 {extra[n]}:0.5" for n in range(20)]
    path.write_text("\n".join([f"20 {num_features} 4", *lines]) + "\n")
    return path


def test_rows_of_features_make_a_linear_model(tmp_path: Path):
    trn, tst = bow(tmp_path / "train.txt", 8), bow(tmp_path / "test.txt", 8, seed=1)
    params = small_params(trn, tst, encoder=None)
    outcome = train(params, tmp_path / "run")
    assert outcome.reports["linear"].value("P@1") == 1.0
    predictor = Predictor.load(outcome.model_folder)
    with pytest.raises(DataError, match="rows of 8 features, not on texts"):
        predictor.predict(["a text"])


def test_rows_of_features_with_an_encoder_are_refused_before_any_work(tmp_path: Path):
    trn = bow(tmp_path / "train.txt", 8)
    with pytest.raises(ConfigError, match=r"train\.txt has rows of features.*with texts"):
        train(small_params(trn), tmp_path / "run")
    with pytest.raises(ConfigError, match="give a file with texts"):
        fit_in_folder(small_params(trn), read_corpus(trn), tmp_path / "run")
    assert not (tmp_path / "run" / "stages").exists()


def test_a_test_file_of_another_kind_is_refused_before_any_work(data: Path, tmp_path: Path):
    trn, wider = bow(tmp_path / "train.txt", 8), bow(tmp_path / "wider.txt", 9)
    for train_file, test_file, message in (
        (trn, data / "tst.jsonl", r"tst\.jsonl: has texts, the training file rows of features"),
        (data / "trn.jsonl", trn, r"train\.txt: has rows of features, the training file texts"),
        (trn, wider, r"wider\.txt: 9 features, the training file has 8"),
    ):
        with pytest.raises(DataError, match=message):
            train(small_params(train_file, test_file, encoder=None), tmp_path / "run")
    assert not (tmp_path / "run" / "stages").exists()


def test_what_is_no_model_is_not_overwritten(params: PipelineParams, tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="is not a saved model"):
        train(params, tmp_path)
    assert not (tmp_path / "stages").exists()
    assert (tmp_path / "model" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("deep", [False, True])
def test_another_taxonomy_in_the_same_file_has_all_that_a_tree_reaches_run_again(
    data: Path, tmp_path: Path, stages_that_run: Any, deep: bool
):
    paths = tmp_path / "paths.tsv"
    labels = [word.upper() for word in WORDS]
    write = lambda sign: paths.write_text(  # noqa: E731
        "".join(f"{label}\t{label[sign]}\n" for label in labels)
    )
    write(0)
    changes = {"tree": TreeParams(paths=str(paths)), "search": SearchParams(path_weight=None)}
    changes |= {} if deep else {"encoder": None}
    params = small_params(data / "trn.jsonl", None, **changes)
    train(params, tmp_path / "run")
    assert stages_that_run(params, tmp_path / "run") == set()
    write(2)
    ran = stages_that_run(params, tmp_path / "run")
    assert {"tree", "linear", "path-weight", "fusion" if deep else "linear-fusion"} <= ran
    assert not {"features", "matcher", "matcher-tree"} & ran
