"""A run chooses settings on held-out rows of its own corpus, the same through every door."""

import logging
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.small_corpora import make_rows, write_rows
from xrt import config
from xrt.cli.settings import ready_for_hydra
from xrt.cli.train import _said_of_stop
from xrt.data.corpus import Corpus
from xrt.data.formats import read_corpus
from xrt.errors import ArtifactError, ConfigError, DataError
from xrt.estimators import XRLinear, XRTransformer
from xrt.pipeline import DatasetParams, PipelineParams, train
from xrt.pipeline.choosing import aspects, contest, trial
from xrt.pipeline.choosing.aspects import KNOWN, leave_given, open_aspects, options_of
from xrt.pipeline.choosing.choices import PLAIN, Choices, Tried, with_values
from xrt.pipeline.choosing.contest import ChoosingStopped
from xrt.pipeline.choosing.trial import FIGURES, Trials, figures_of_rows, take_subsample
from xrt.pipeline.choosing.work import GROWTH, VISIT, work_at, work_of_tree
from xrt.pipeline.estimate.stages import CHOICES_COST, estimate
from xrt.pipeline.params import ASPECTS, AUTO_ASPECTS
from xrt.pipeline.trainer import Trainer
from xrt.search.beam import SearchParams
from xrt.storage.reading import read_json_bounded
from xrt.storage.stages import FolderCache, MemoryCache, read_stage
from xrt.tree.clustering import TreeParams
from xrt.tree.label_tree import LabelTree

FEWEST_ROWS = 200
SOME = ("ranker", "search.path_weight")  # few options: each test trains in a second or two


@pytest.fixture(autouse=True)
def enough_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corpora of a few hundred rows are too small to choose on; here they may take their time."""
    monkeypatch.setattr(contest, "SHARE", 1e6)
    monkeypatch.setattr(aspects, "FEWEST_ROWS", FEWEST_ROWS)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("choosing") / "trn.jsonl", make_rows(400, seed=3))


@pytest.fixture(scope="module")
def corpus(file: Path) -> Corpus:
    return read_corpus(file)


def params_of(**changes: Any) -> PipelineParams:
    settings = {
        "num_trees": 1,
        "tree": TreeParams(max_leaf_size=4),
        "choose": SOME,
        "num_threads": 1,
        **changes,
    }
    return PipelineParams(**settings)


def misspelt(num_rows: int, seed: int) -> tuple[list[str], sp.csr_array]:
    """Each text is one word of its label with another ending each time: its signs alone tell."""
    rng = np.random.default_rng(seed)
    stems = [f"{a}{b}{c}" for a in ("brak", "drul", "snef") for b in ("os", "im") for c in "ptk"]
    labels_N = np.arange(num_rows) % len(stems)
    endings = ("".join(rng.choice(list("abcdefghij"), 4)) for _ in range(num_rows))
    texts = [stems[label] + ending for label, ending in zip(labels_N, endings, strict=True)]
    return texts, sp.csr_array(np.eye(len(stems), dtype=np.float32)[labels_N])


def without_times(choices: Choices) -> dict[str, Any]:
    return {**choices.to_dict(), "tried": [{**t.__dict__, "seconds": 0} for t in choices.tried]}


def test_what_the_corpus_needs_is_chosen_and_everything_tried_is_told(caplog: Any):
    caplog.set_level(logging.INFO)
    texts, Y_NL = misspelt(600, seed=0)
    estimator = XRLinear(choose=["features"], num_threads=1, label_text_weight=0).fit(texts, Y_NL)
    choices = estimator.choices_
    assert choices.values["features.char_ngrams"] == [4, 4]
    assert estimator.model_.features is not None
    assert estimator.model_.features.params.char_ngrams == (4, 4)
    names = [tried.name for tried in choices.tried]
    assert names[0] == PLAIN
    assert {option.name for _, option in options_of(params_of(choose=["features"]))} <= set(names)
    assert all(set(tried.figures) == set(FIGURES) for tried in choices.tried)
    assert choices.to_text() in "\n".join(record.message for record in caplog.records)
    new, Y_new = misspelt(100, seed=9)
    plain = XRLinear(choose=(), num_threads=1, label_text_weight=0).fit(texts, Y_NL)

    def first(model: XRLinear) -> float:
        return float((model.predict(new, 1).toarray().argmax(1) == Y_new.indices).mean())

    assert first(estimator) > first(plain) + 0.3


def test_plain_settings_stay_where_nothing_is_better():
    rng = np.random.default_rng(0)
    X_NF = sp.csr_array((rng.random((300, 40)) < 0.3).astype(np.float32))
    Y_NL = sp.csr_array(np.eye(6, dtype=np.float32)[rng.integers(0, 6, 300)])  # noise
    estimator = XRLinear(choose=SOME, max_leaf_size=2, num_threads=1).fit(X_NF, Y_NL)
    assert estimator.choices_.values == {}
    assert estimator.choices_.message.startswith("the settings stay as they are")
    plain = XRLinear(choose=(), max_leaf_size=2, num_threads=1).fit(X_NF, Y_NL)
    same = estimator.predict(X_NF).toarray() == plain.predict(X_NF).toarray()
    assert same.all()


def test_the_same_seed_chooses_the_same_on_any_number_of_threads(corpus: Corpus):
    found = [
        Trainer(params_of(num_threads=threads, choose=(*SOME, "num_trees"))).fit(corpus)
        for threads in (1, 2)
    ]
    first, second = (one.choices for one in found)
    assert first is not None
    assert second is not None
    assert without_times(first) == without_times(second)
    texts = corpus.texts
    assert texts is not None
    scores = [one.model.predict(texts, 10, num_threads=1).toarray() for one in found]
    np.testing.assert_array_equal(*scores)


def test_the_stage_is_kept_and_goes_on_where_it_was_stopped(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = Trainer(params_of()).fit(corpus).choices
    runs: list[PipelineParams] = []
    real = Trials.run

    def stopping(trials: Trials, params: PipelineParams) -> Any:
        if len(runs) == 3:
            raise KeyboardInterrupt
        runs.append(params)
        return real(trials, params)

    monkeypatch.setattr(Trials, "run", stopping)
    with pytest.raises(ChoosingStopped) as stop:
        Trainer(params_of(), FolderCache(tmp_path)).fit(corpus)
    assert not stop.value.choices.complete
    assert 2 <= len(stop.value.choices.tried) <= 3
    monkeypatch.setattr(Trials, "run", lambda t, p: runs.append(p) or real(t, p))
    again = Trainer(params_of(), FolderCache(tmp_path)).fit(corpus).choices
    assert whole is not None
    assert again is not None
    assert without_times(again) == without_times(whole)
    assert len(runs) == len({(t.num_rows, t.name) for t in whole.tried}) + _probes(whole)
    seen = len(runs)
    Trainer(params_of(), FolderCache(tmp_path)).fit(corpus)
    assert len(runs) == seen  # the stage is up to date
    assert Choices.from_dict(whole.to_dict()) == whole
    assert (read_stage(tmp_path, "choices").folder / "choices.json").is_file()


def _probes(choices: Choices) -> int:
    """The probe is a try of its own, unless the first round has as many rows."""
    return 0 if choices.tried[0].num_rows <= contest.PROBE_ROWS else 1


def test_what_fails_is_left_out_in_one_line(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, caplog: Any
):
    real = Trials.run

    def failing(trials: Trials, params: PipelineParams) -> Any:
        if params.ranker.threshold == 0.02:
            raise MemoryError
        return real(trials, params)

    monkeypatch.setattr(Trials, "run", failing)
    choices = Trainer(params_of()).fit(corpus).choices
    assert choices is not None
    faults = [tried for tried in choices.tried if tried.fault]
    assert {tried.name for tried in faults} == {"small weights kept"}
    assert "left out: out of memory" in faults[0].fault
    assert "small weights kept" in caplog.text
    assert faults[0].fault in choices.to_text()


def test_tries_fuse_scores_that_every_source_gave(corpus: Corpus, monkeypatch: pytest.MonkeyPatch):
    """Labels that neighbours alone name have the trees' score, too, as in a model that is kept."""
    seen: list[Any] = []
    real = trial.cross_fitted_fusion
    monkeypatch.setattr(
        trial, "cross_fitted_fusion", lambda s, *rest: seen.append(s) or real(s, *rest)
    )
    params = params_of(tree=TreeParams(max_leaf_size=2), search=SearchParams(beam_size=1))
    Trials(take_subsample(corpus, np.arange(300), np.arange(300, 400))).run(params)
    (candidates,) = seen
    named = dict(zip(candidates.names, candidates.named_SP, strict=True))
    missed = named["neighbours"] & ~named["linear"]
    assert missed.any()
    assert (candidates.scores_of("linear")[missed] > 0).all()


@pytest.mark.parametrize("chosen", [False, True])
def test_dropping_small_weights_stands_beside_keeping_them(chosen: bool):
    values = {"ranker.threshold": 0.02}
    figures = [dict.fromkeys(FIGURES, figure) for figure in (0.5, 0.52)]
    tried = (
        Tried(name=PLAIN, values={}, num_rows=90, one_tree=True, figures=figures[0]),
        Tried(
            name="small weights kept", values=values, num_rows=90, one_tree=True,
            figures=figures[1], gain=0.02, standard_error=0.01,
        ),
    )  # fmt: skip
    step = Choices(values=values if chosen else {}, tried=tried).judgements[-1]
    assert (step.name, step.plain_name) == ("small weights dropped", "small weights kept")
    assert (step.plain, step.learnt, step.error) == (0.52, 0.5, 0.01)
    assert step.ships is not chosen
    assert "90 rows, one tree" in step.note
    failed = replace(tried[1], figures={}, fault="left out")
    assert Choices(tried=(tried[0], failed)).judgements == []


def test_too_few_rows_keep_the_settings_and_say_so(caplog: Any):
    X_NF = sp.csr_array(np.eye(8, dtype=np.float32)[np.arange(FEWEST_ROWS - 1) % 8])
    caplog.set_level(logging.INFO)
    estimator = XRLinear(choose=None, num_threads=1).fit(X_NF, X_NF)
    assert estimator.choices_.values == {}
    assert f"{FEWEST_ROWS - 1} rows are too few to choose settings on" in caplog.text


def test_tries_that_take_longer_than_the_training_are_not_made(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(contest, "SHARE", 0.8)
    choices = Trainer(params_of()).fit(corpus).choices
    assert choices is not None
    assert choices.values == {}
    assert choices.tried == ()
    assert "400 rows are too few to choose settings on" in choices.message
    assert "longer than the training" in choices.message


@pytest.mark.parametrize("share", [3.0, 30.0])
def test_tries_keep_to_the_work_that_is_allowed(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, share: float
):
    monkeypatch.setattr(contest, "SHARE", share)
    monkeypatch.setattr(contest, "FEWEST_ROWS", 40)
    monkeypatch.setattr(contest, "PROBE_ROWS", 100)
    found: list[contest.Contest] = []
    real = contest.Contest.run
    monkeypatch.setattr(
        contest.Contest,
        "run",
        lambda self: found.append(self) or real(self),  # type: ignore[func-returns-value]
    )
    choices = Trainer(params_of(num_trees=3)).fit(corpus).choices
    assert choices is not None
    assert choices.tried
    assert 0 < found[0].spent <= 1.5 * found[0].allowance


def test_what_one_tree_finds_is_chosen_only_where_all_trees_find_it_too(
    monkeypatch: pytest.MonkeyPatch,
):
    texts, Y_NL = misspelt(600, seed=0)
    real = Trials.run

    def run(trials: Trials, params: PipelineParams) -> Any:
        if params.num_trees > 1:  # the second round: all are the same
            params = replace(params, features=PipelineParams().features)
        return real(trials, params)

    monkeypatch.setattr(Trials, "run", run)
    settings: dict[str, Any] = {"num_threads": 1, "label_text_weight": 0, "max_leaf_size": 4}
    estimator = XRLinear(choose=["features"], shape="halves", **settings).fit(texts, Y_NL)
    tried = estimator.choices_.tried
    assert {one.one_tree for one in tried} == {True, False}
    assert max(one.gain for one in tried if one.one_tree) > 0.2
    assert estimator.choices_.values == {}
    assert "one tree" in estimator.choices_.to_text()


def test_no_row_that_can_be_held_out_keeps_the_settings(caplog: Any):
    X_NF = sp.csr_array(np.ones((FEWEST_ROWS, 2), np.float32))
    Y_NL = sp.identity(FEWEST_ROWS, dtype=np.float32, format="csr")
    estimator = XRLinear(choose=None, num_threads=1).fit(X_NF, Y_NL)
    assert estimator.choices_.values == {}
    assert "no setting is chosen: no row can be held out" in caplog.text


def test_an_argument_that_is_given_is_not_chosen():
    assert XRLinear(choose=None).pipeline_params().choose == AUTO_ASPECTS
    assert set(XRLinear(choose=ASPECTS).pipeline_params().choose) == set(ASPECTS)
    for argument, value, aspect in (
        ("num_trees", 1, "num_trees"),
        ("branching", 16, "tree"),
        ("shape", "halves", "tree"),
        ("path_weight", 0.5, "search.path_weight"),
        ("threshold", 0.1, "ranker"),
        ("features", PipelineParams().features, "features"),
    ):
        chosen = XRLinear(choose=ASPECTS, **{argument: value}).pipeline_params().choose
        assert set(ASPECTS) - set(chosen) == {aspect}
    assert XRLinear.preset("fast").pipeline_params().choose == ()
    with pytest.raises(ConfigError, match="choose = colour: nothing that can be chosen"):
        XRLinear(choose=["colour"]).pipeline_params()


@pytest.mark.parametrize(
    ("words", "closed"),
    [
        ([], set()),
        (["tree.branching=8"], {"tree"}),
        (["tree=wide"], {"tree"}),
        (["features=words_chars"], {"features"}),
        (["features.max_features=1000"], set()),
        (["num_trees=3"], {"num_trees"}),
        (["ranker.half=true", "search.beam_size=20"], set()),
        (["ranker.threshold=0.05"], {"ranker"}),
        (["search=wide_beam"], {"search.path_weight"}),
        (["neighbours.num_neighbours=0"], {"neighbours"}),
        (["experiment=tibkat_linear"], {"num_trees", "ranker"}),
        (["experiment=tibkat_chars"], {"num_trees", "ranker", "tree", "features"}),
        (["experiment=many_labels"], {"search.path_weight", "ranker"}),
    ],
)
def test_what_the_command_line_or_an_experiment_names_is_not_chosen(
    words: list[str], closed: set[str]
):
    open_names = open_aspects(ASPECTS, config.given_settings(words))
    assert set(ASPECTS) - set(open_names) == closed


@pytest.mark.parametrize("experiment", config.conf_groups()["experiment"])
def test_an_experiment_chooses_nothing(experiment: str):
    words = ["linear=auto"] if experiment is None else [f"experiment={experiment}"]
    node = config.compose([*words, "dataset.trn=x.csv"] if experiment == "attributes" else words)
    assert config.build(config.pipeline_params(), node).choose == ()


def test_both_doors_choose_the_same(file: Path, corpus: Corpus, tmp_path: Path):
    words = ["dataset=files", f"dataset.trn={file}", "encoder=none", "linear=auto", "num_trees=1",
             "tree.max_leaf_size=4", "num_threads=1", f"choose=[{','.join(SOME)}]"]  # fmt: skip
    node = config.compose(words)
    params = leave_given(config.build(config.pipeline_params(), node), config.given_settings(words))
    run = Trainer(params, FolderCache(tmp_path)).fit(corpus)
    estimator = XRLinear(choose=SOME, num_trees=1, max_leaf_size=4, num_threads=1).fit(corpus)
    assert run.choices is not None
    assert without_times(run.choices) == without_times(estimator.choices_)
    texts = corpus.texts
    np.testing.assert_array_equal(
        run.model.predict(texts, 5).toarray(), estimator.predict(texts, 5).toarray()
    )


def test_choices_are_saved_with_the_model_and_a_warm_start_keeps_them(tmp_path: Path):
    texts, Y_NL = misspelt(400, seed=0)
    estimator = XRLinear(choose=["features"], num_threads=1, warm_start=True).fit(texts, Y_NL)
    assert estimator.choices_.values
    folder = estimator.save(tmp_path / "m")
    loaded = XRLinear.load(folder)
    assert loaded.choices_ == estimator.choices_.without_seconds()
    card = (folder / "README.md").read_text()
    assert "## Settings that were chosen" in card
    assert "`features.char_ngrams=[4,4]`" in card
    more, Y_more = misspelt(100, seed=5)
    for one in (estimator, loaded):
        one.fit(more, Y_more)
        assert one.model_.features is not None
        assert one.model_.features.params.char_ngrams == (4, 4)
        assert one.choices_.values
    (folder / "choices.json").write_text("{}")
    with pytest.raises(ArtifactError):
        XRLinear.load(folder)


def test_words_of_a_command_line_give_the_same_settings():
    values = {"features.char_ngrams": [4, 4], "features.token_pattern": r"(?u)\b\w+\b",
              "features.sublinear_tf": True, "num_trees": 3, "ranker.threshold": None}  # fmt: skip
    choices = Choices(values=values)
    words = shlex.split(shlex.join(choices.as_words()))
    node = config.compose([*ready_for_hydra(words), "encoder=none", "linear=fast"])
    built = config.build(config.pipeline_params(), node)
    applied = choices.applied_to(replace(built, features=PipelineParams().features, num_trees=1))
    assert (built.features, built.num_trees) == (applied.features, applied.num_trees)


def test_every_option_is_a_setting_of_its_aspect():
    for name, aspect in KNOWN.items():
        assert name in ASPECTS
        for option in aspect.options:
            assert set(option.values) <= set(aspect.settings)
            with_values(PipelineParams(), option.values)
    assert set(KNOWN) == set(ASPECTS)


def test_options_that_change_nothing_or_cannot_be_had_are_not_tried():
    every = PipelineParams(choose=ASPECTS)
    names = {aspect for aspect, _ in options_of(every)}
    assert names == set(ASPECTS)
    assert "features" not in {a for a, _ in options_of(every, has_texts=False)}
    assert not {"tree", "num_trees"} & {a for a, _ in options_of(every, has_tree=True)}
    assert "neighbours" not in {a for a, _ in options_of(replace(every, fused=False))}
    weights = [option.values for aspect, option in options_of(every) if aspect[:6] == "search"]
    assert weights == [{"search.path_weight": 0.5}]
    assert options_of(PipelineParams()) == []


def test_labels_outside_of_a_subsample_count_as_missed():
    Y_NL = sp.csr_array(np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1]], np.float32))
    corpus = Corpus(
        texts=["a b", "b c", "c d", "d a"], Y=Y_NL,
        labels=type(read_labels()).from_ids(["x", "y", "z"]),
    )  # fmt: skip
    sample = take_subsample(corpus, np.array([1, 0]), np.array([3, 2]))
    assert sample.corpus.texts == ["a b", "b c", "c d", "d a"]
    assert sample.corpus.labels.ids == ("x", "y")
    assert sample.truth_ML.toarray().tolist() == [[0, 1, 1], [1, 0, 1]]
    scores = sp.csr_array(np.array([[0, 0.9], [0.1, 0.8]], np.float32))
    figures = figures_of_rows(sample.truth_ML, scores)
    assert figures.shape == (2, len(FIGURES))
    assert figures[:, 1].tolist() == [1, 0]  # P@1
    assert figures[:, 4].tolist() == [0.5, 0.5]  # R@10


def read_labels() -> Any:
    from xrt.data.corpus import LabelTable

    return LabelTable(("x",), ("",))


def test_the_table_tells_rows_gain_and_faults():
    figures = dict.fromkeys(FIGURES, 0.5)
    tried = (
        Tried(name=PLAIN, values={}, num_rows=1000, figures=figures, seconds=1.0),
        Tried(name="wide", values={}, num_rows=1000, figures=figures, gain=0.01,
              standard_error=0.004, seconds=2.5),
        Tried(name="dear", values={}, num_rows=1000, fault="left out: out of memory"),
    )  # fmt: skip
    lines = Choices(tried=tried, message="chosen: wide").to_text().split("\n")
    assert "+1.00 ± 0.40" in lines[2]
    assert lines[2].split()[-1] == "2.5"
    assert "left out: out of memory" in lines[3]
    assert lines[-1] == "chosen: wide"


def test_damaged_choices_are_refused():
    with pytest.raises(ArtifactError, match=r"choices\.json is damaged"):
        Choices.from_dict({"tried": [{"name": 3}]})


def test_a_memory_cache_leaves_nothing_behind(corpus: Corpus):
    cache = MemoryCache()
    Trainer(params_of(), cache).fit(corpus)
    assert not list(Path(cache._home).rglob("tried-*"))


def test_a_corpus_without_labels_is_refused_before_anything_is_tried():
    with pytest.raises(DataError):
        XRLinear(choose=None).fit(["a"] * 300, sp.csr_array((300, 3)))


def test_report_and_model_tell_what_was_chosen(file: Path, tmp_path: Path):
    dataset = DatasetParams(name="small", trn=str(file), tst=str(file))
    outcome = train(params_of(dataset=dataset, choose=("search.path_weight",)), tmp_path)
    choices = outcome.choices
    assert choices is not None
    report = read_json_bounded(tmp_path / "report.json")
    assert report["choices"]["message"] == choices.message
    assert len(report["choices"]["tried"]) == len(choices.tried) >= 2
    page = (tmp_path / "report.html").read_text()
    assert "Settings tried on held-out rows" in page
    assert "half the path" in page
    told = Choices.from_dict(report["choices"])
    assert told.seconds > 0
    of_model = Choices.from_dict(read_json_bounded(tmp_path / "model" / "choices.json"))
    assert of_model == told.without_seconds()
    assert of_model.seconds == 0
    judged = [one for one in outcome.judgements if one.name.startswith("chosen settings")]
    assert [one.ships for one in judged] == [bool(choices.values)]
    assert judged[0].learnt - judged[0].plain == pytest.approx(
        max(tried.gain for tried in choices.tried if tried.values)
    )
    assert "## Settings that were chosen" in (tmp_path / "model" / "README.md").read_text()
    assert f"chosen:  {' '.join(choices.as_words()) or choices.message}" in outcome.to_text()
    manifest = read_json_bounded(tmp_path / "model" / "manifest.json")
    trained = choices.applied_to(params_of(dataset=dataset))
    assert manifest["configuration"]["search"]["path_weight"] == trained.search.path_weight
    assert manifest["configuration"]["choose"] == []


def test_the_stop_is_told_with_the_command_that_trains_the_best_so_far():
    stop = ChoosingStopped(Choices(values={"num_trees": 3, "features.char_ngrams": [4, 4]}))
    words = ready_for_hydra(["dataset=files", "dataset.trn=my file.csv", "linear=auto"])
    assert words[1] == "dataset.trn='my file.csv'"
    assert _said_of_stop(stop, words) == (
        "xrt: settings were being chosen; to train with the best so far: xrt train dataset=files "
        "'dataset.trn=my file.csv' linear=default num_trees=3 'features.char_ngrams=[4,4]'"
    )


def test_an_encoder_chooses_too_and_keeps_what_it_chose():
    texts, Y_NL = misspelt(FEWEST_ROWS, seed=0)
    estimator = XRTransformer(
        encoder="tiny-random", max_length=16, num_epochs=0.1, num_threads=1, always_deep=True,
        choose=["search.path_weight"],
    )  # fmt: skip
    estimator.fit(texts, Y_NL)
    assert estimator.choices_.aspects == ("search.path_weight",)
    weight = estimator.choices_.applied_to(PipelineParams()).search.path_weight
    assert estimator.model_.search.path_weight == weight


def test_an_estimate_counts_the_choosing(corpus: Corpus):
    def stages(choose: tuple[str, ...]) -> list[str]:
        told = estimate(params_of(choose=choose), corpus, probe=False)
        return [stage.name for stage in told.stages]

    assert set(stages(SOME)) - set(stages(())) == {CHOICES_COST}


def test_work_is_counted_by_hand_alike():
    """Two clusters of two labels: each row visits the root, and each of its clusters once."""
    tree = LabelTree.from_clusters(np.array([0, 0, 1, 1]), [np.array([0, 0], np.int32)])
    Y_nl = sp.csr_array(np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]], np.float32))
    visits = 3 + (1 + 2 + 1)
    assert work_of_tree(tree, Y_nl, 10.0) == visits * (10 + VISIT)
    assert work_of_tree(tree, Y_nl, 10.0, matcher_negatives=2) == (visits + 2 * 3) * (10 + VISIT)
    assert work_at(5.0, 100, 200) == pytest.approx(5 * 2**GROWTH)


def test_what_is_too_dear_together_is_tried_in_part(
    monkeypatch: pytest.MonkeyPatch, corpus: Corpus
):
    monkeypatch.setattr(contest, "MOST_RATIO", 1.1)
    choices = Trainer(params_of(choose=("ranker", "num_trees"))).fit(corpus).choices
    assert choices is not None
    assert all("," not in tried.name for tried in choices.tried if "trees" in tried.name)
