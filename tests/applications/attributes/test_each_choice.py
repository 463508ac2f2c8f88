"""Each choice of each group of settings, on the smallest corpus: it trains, saves and answers."""

from pathlib import Path

import pytest

from tests import ROOT
from tests.small_corpora import WORDS, make_rows, write_rows
from xrt import Predictor, config
from xrt.pipeline import train

CONF = ROOT / "conf"
LINEAR_GROUPS = ("features", "linear", "tree", "ranker", "search")
DEEP_GROUPS = (*LINEAR_GROUPS, "training")
NEED_A_TAXONOMY = {"tree=given", "tree=inside"}
SMALL_ENCODER = ["encoder=tiny", "encoder.max_length=8", "matcher.max_batch_rows=16"]


def choices(groups: tuple[str, ...]) -> list[str]:
    """`group=name` for each file of the groups."""
    result = [f"{group}={path.stem}" for group in groups for path in (CONF / group).glob("*.yaml")]
    return sorted(result)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty rows of 24 labels; beside it `paths.tsv`, which puts labels below their first sign."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = [f"{word.upper()}\t{word[0]} > {word[:2]}\n" for word in WORDS]
    (folder / "paths.tsv").write_text("".join(lines))
    return write_rows(folder / "trn.jsonl", make_rows(40, 0))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where stages that choices share are kept."""
    return tmp_path_factory.mktemp("runs")


def check(settings: list[str], corpus: Path, folder: Path) -> None:
    """Train with these settings, open the model and ask it."""
    if NEED_A_TAXONOMY & set(settings):
        settings = [*settings, f"tree.paths={corpus.with_name('paths.tsv')}"]
    of_all = ["dataset=files", f"dataset.trn={corpus}", "validation_rows=8", "num_threads=1"]
    params = config.build(config.pipeline_params(), config.compose([*of_all, *settings]))
    outcome = train(params, folder)
    result = Predictor.load(outcome.model_folder, expect=outcome.digest).predict(["kare losox"], 3)
    assert len(result[0]) == 3


@pytest.mark.parametrize("choice", ["tree=flat", "ranker=hard_negatives", "features=words_chars"])
def test_some_linear_choices_train(choice: str, corpus: Path, runs: Path) -> None:
    check(["encoder=none", choice], corpus, runs / "linear")


@pytest.mark.slow
@pytest.mark.parametrize("choice", choices(LINEAR_GROUPS))
def test_each_linear_choice_trains(choice: str, corpus: Path, runs: Path) -> None:
    check(["encoder=none", choice], corpus, runs / "linear")


@pytest.mark.slow
@pytest.mark.parametrize("choice", choices(DEEP_GROUPS))
def test_each_choice_trains_with_an_encoder(choice: str, corpus: Path, runs: Path) -> None:
    steps = [] if choice.startswith("training=") else ["matcher.steps=2"]
    check([*SMALL_ENCODER, "always_deep=true", *steps, choice], corpus, runs / "deep")
