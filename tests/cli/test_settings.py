"""Settings as they are typed: texts are literal, names are looked up, nothing idle is taken."""

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from xrt.cli import main
from xrt.cli.settings import names_of, ready_for_hydra
from xrt.config import conf_groups, settings_type
from xrt.errors import ConfigError
from xrt.pipeline.corpora import load_corpora
from xrt.pipeline.idle_settings import refuse_idle_settings
from xrt.pipeline.params import DatasetParams, PipelineParams

DONE = SimpleNamespace(to_text=lambda: "trained", objective=None)
Composed = Callable[..., PipelineParams]


@pytest.fixture
def hydra_as_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    GlobalHydra.instance().clear()
    monkeypatch.chdir(tmp_path)
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    for handler in set(logging.root.handlers) - set(handlers):
        handler.close()
    logging.root.handlers, logging.root.level = handlers, level


@pytest.fixture
def composed(hydra_as_new: None, monkeypatch: pytest.MonkeyPatch) -> Composed:
    """The parameters that a command line gives, by way of hydra; nothing is trained."""
    found: list[Any] = []
    monkeypatch.setattr(
        "xrt.pipeline.train", lambda params, *_, **__: (found.append(params), DONE)[1]
    )

    def compose(*words: str) -> PipelineParams:
        found.clear()
        assert main(["train", *words]) == 0
        return found[0]

    return compose


TEXTS = [
    "é.csv", "my (new) file.csv", "it's.csv", 'say "hi".csv', "a=b.csv", "a#1.csv", "a b.csv",
    "a,b.csv", "a;b.csv", "[x].csv", "{x}.csv", "x:y.csv", "C:\\new\\table.csv", "end\\", "\\'",
    "$HOME.csv", "100%.csv", "?*.csv", "~/x.csv", "-x.csv", "007", "1e5", "true", "nan", "глава",
    "数据.csv", "a\tb.csv", " outer ", "@x", "!x", "&x", "|x", "key: value", "choice(a,b)",
]  # fmt: skip


def test_texts_reach_the_run_as_they_were_typed(composed: Composed):
    """All of them as columns of one list, which costs one composition."""
    columns = [text for text in TEXTS if not set(text) & set(",'\"") and text == text.strip()]
    params = composed(
        "encoder=none", f"data.path={TEXTS[1]}", f"dataset.tst={TEXTS[2]}",
        f"dataset.label_columns=[{','.join(columns)}]", "dataset.label_separator=,",
        f"dataset.labels={TEXTS[12]}", "dataset.text_columns=['a, b', \"it's\", c ]",
        f"dataset.name={TEXTS[7]}", "dataset.id_column=end\\", "dataset.weight_column=Name (EN)",
    )  # fmt: skip
    dataset = params.dataset
    assert (dataset.trn, dataset.tst, dataset.labels) == (TEXTS[1], TEXTS[2], TEXTS[12])
    assert dataset.label_columns == columns
    assert dataset.text_columns == ["a, b", "it's", "c"]
    assert (dataset.label_separator, dataset.name) == (",", TEXTS[7])
    assert (dataset.id_column, dataset.weight_column) == ("end\\", "Name (EN)")


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_quoted_so_that_hydra_gives_it_back(text: str):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (word,) = ready_for_hydra([f"dataset.trn={text}"])
    (parsed,) = OverridesParser.create().parse_overrides([word])
    assert parsed.value() == text
    assert not parsed.is_sweep_override()
    assert ready_for_hydra([word]) == [word]  # Lightning's processes get the words again


@pytest.mark.parametrize(
    ("word", "ready"),
    [
        ("dataset.trn='it is quoted.csv'", "dataset.trn='it is quoted.csv'"),
        ('dataset.trn="a, b.csv"', 'dataset.trn="a, b.csv"'),
        ("dataset.trn=null", "dataset.trn=null"),
        ("dataset.trn=", "dataset.trn=''"),
        ("paths.runs=${oc.env:HOME}/é", "paths.runs='${oc.env:HOME}/é'"),
        ("paths.runs=${oc.env:X,'a'}", "paths.runs=${oc.env:X,'a'}"),
        ("+dataset.trn=a", "dataset.trn='a'"),
        ("++seed=1", "seed=1"),
        ("tree.branching=8", "tree.branching=8"),
        ("features.char_ngrams=[3,5]", "features.char_ngrams=[3,5]"),
        ("schema.targets=[]", "schema.targets=[]"),
        ("schema.targets=[Name (EN), 'x, y',b]", "schema.targets=['Name (EN)','x, y','b']"),
        ("experiment=null", "experiment=null"),
        ("hydra.run.dir=x y", "hydra.run.dir=x y"),
    ],
)
def test_words_as_hydra_gets_them(word: str, ready: str):
    assert ready_for_hydra([word]) == [ready]


def test_options_come_first():
    words = ["tree.branching=8", "--cfg", "job", "name=a", "--resolve"]
    assert ready_for_hydra(words) == ["--cfg", "job", "--resolve", "tree.branching=8", "name='a'"]


def test_texts_of_a_sweep_are_quoted_each():
    words = ["-m", "dataset.trn=a (1).csv,b's.csv", "name='x, y',z", "paths.runs=choice(a,b)"]
    assert ready_for_hydra(words) == [
        "-m", "dataset.trn='a (1).csv','b\\'s.csv'", "name='x, y','z'", "paths.runs=choice(a,b)",
    ]  # fmt: skip
    words = ["-m", "dataset.text_columns=[Name (EN)]", "dataset.label_columns=[a],[b,c]"]
    assert ready_for_hydra(words) == [
        "-m", "dataset.text_columns=['Name (EN)']", "dataset.label_columns=[a],[b,c]",
    ]  # fmt: skip


def test_sweeps_stay_sweeps():
    words = ["-m", "tree.branching=8,16", "encoder=none,tiny", "name=a,b", "dataset.trn=é.csv"]
    assert ready_for_hydra(words) == [*words[:-2], "name='a','b'", "dataset.trn='é.csv'"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("encoder=null", r"encoder=null: no such choice; there are bert_base, .*none"),
        ("tree=1", "tree=1: no such choice; there are balanced, both"),
        ("dataset=3", "dataset=3: no such choice; there are bibtex"),
        ("tree=[balanced]", r"tree=\[balanced\]: no such choice"),
        ("tree={}", "no such choice"),
        ("trainer=", "trainer=: no such choice"),
        ("encoder=true", "no such choice"),
        ("encoder=none,tiny", "no such choice"),
        ("tree=${x}", "no such choice"),
        ("+x=1", "x: no such setting; there are dataset, features"),
        ("++tree.x=1", "tree.x: no such setting"),
        ("tree.branching.x=1", "tree.branching.x: no such setting; tree.branching has no parts"),
        ("tree..branching=1", "tree.: no such setting"),
        ("~tree", "~tree: a setting cannot be removed; give it another value"),
        ("~seed=1", "cannot be removed"),
        ("seed", "seed: not a setting; write key=value"),
        ("=1", "not a setting; write key=value"),
        ("tree@x=flat", "not a setting"),
        ("dataset.text_columns=title", r"write dataset.text_columns=\[title\]"),
        ("schema.targets=", r"write schema.targets=\[NAME\]"),
        ("--resolve", "--resolve: goes with --cfg job"),
        ("--config-name", "not an option of xrt train; settings are written key=value"),
        ("--cfg", "--cfg: needs a value; write --cfg VALUE"),
        ("-x", "-x: not an option of xrt train"),
        ("--epochs=3", "--epochs=3: not an option of xrt train"),
        ("matcher=x", r"matcher: has several settings; write matcher\.NAME=value"),
    ],
)
def test_words_that_are_no_setting(word: str, message: str):
    with pytest.raises(ConfigError, match=message):
        ready_for_hydra([word])


def test_hydra_options_with_values_that_are_none(tmp_path: Path):
    with pytest.raises(ConfigError, match="--cfg all_of_it: no such part; give one of job"):
        ready_for_hydra(["--cfg", "all_of_it"])
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        ready_for_hydra(["--config-dir", str(tmp_path / "nowhere")])
    assert ready_for_hydra(["--cfg", "job", "--resolve"]) == ["--cfg", "job", "--resolve"]
    assert names_of(["-m", "data.path=x=y", "seed=1", "--cfg", "job"]) == ["dataset.trn", "seed"]


FAULTS = [
    (["hydra.verbose=3"], "hydra.verbose=3: hydra cannot use this"),
    (["hydra.verbose=[a"], "hydra.verbose: '[a' is no value"),
    (["hydra.run.dir=/dev/null/x"], "/dev/null/x: Not a directory"),
    (["name=${nope}"], "Interpolation key 'nope' not found"),
    (["name=${name}"], "Recursive interpolation"),
    (["seed=${seed}"], "Recursive interpolation"),
    (["name="], "name = '': names the run's folder; give it a name"),
    (["name=.."], "names the run's folder"),
    (["tree.branching=a(b"], "tree.branching: 'a(b' is no value; write a number"),
    (["dataset=files"], "dataset.trn: not given, and dataset=files needs it; write"),
    (["dataset=files", "dataset.trn=null"], "dataset.trn: not given, and dataset=files needs"),
    (["dataset=bibtex", "dataset.trn=null", "dataset.tst=null"], "dataset.trn: not given; name"),
    (["experiment=attributes"], "dataset.trn: not given, and dataset=files needs it; write"),
    (["dataset.trn="], "dataset.trn = '': name a file"),
    (["tree=given"], "tree.paths: not given, and tree=given needs it; write"),
    (["tree=given", "tree.paths=null"], "tree.paths: not given, and tree=given needs it; write"),
    (["dataset.num_rows=0"], "dataset.num_rows = 0: at least 1 is needed"),
    (["dataset.trn=x", "dataset.num_rows=9"], "dataset.num_rows: is the size of the demo"),
    (["encoder=none", "matcher.num_epochs=3"], "matcher.num_epochs: has no effect without an enc"),
    (["label_tree=taxonomy"], "label_tree: has no effect without a schema"),
]  # fmt: skip


@pytest.mark.usefixtures("hydra_as_new")
@pytest.mark.parametrize(("words", "message"), FAULTS)
def test_faults_are_one_line(words: list[str], message: str, capsys, monkeypatch):
    def train(params: PipelineParams, folder: Path, *_: Any) -> Any:
        return load_corpora(params.dataset, folder, 0)

    monkeypatch.setattr("xrt.pipeline.train", train)
    assert main(["train", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("xrt: error: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("params", "names", "idle"),
    [
        ({}, ["trainer.devices", "seed"], "trainer.devices"),
        ({}, ["matcher_tree.max_leaf_size"], "matcher_tree.max_leaf_size"),
        ({}, ["always_deep", "frozen_weight"], "always_deep, frozen_weight"),
        ({"fused": False}, ["validation_rows"], "validation_rows"),
        ({"dataset": DatasetParams(trn="x")}, ["dataset.filters"], "dataset.filters"),
        ({"dataset": DatasetParams(trn="x")}, ["dataset.num_rows"], "dataset.num_rows"),
        ({}, ["tree.branching", "ranker.threshold", "features.min_df", "fused"], ""),
        ({"dataset": DatasetParams(trn="x", tst="y")}, ["dataset.filters"], ""),
    ],
)
def test_settings_without_effect_are_refused(params: dict, names: list[str], idle: str):
    if not idle:
        refuse_idle_settings(PipelineParams(**params), names)
        return
    with pytest.raises(ConfigError, match=f"^{idle}: "):
        refuse_idle_settings(PipelineParams(**params), names)


VALUES = [
    "", "0", "1", "-1", "2", "1.5", "-0.0", "nan", "inf", "1e400", "99999999999999999999", "null",
    "true", "false", "none", "auto", "[]", "[1]", "[1,2]", "[a,b]", "[[a]]", "{}", "{a:1}", "{a}",
    "'", '"', "''", "\\", "[", "]", "(", ")", "a(b", "a b", "a,b", "a=b", "é", "x" * 300, "${",
    "${seed}", "${nope}", "${oc.env:NOPE}", "${hydra:job.name}", "range(3)", "choice(1,2)",
    "${}", "glob(*)",
    "???", "*", "&", "\t", "\ud800", "0x10", "1_000", "+1", "~", "@", "#", ":", "a:b", "/", "../..",
    "same", "words", "cpu", "fp32", "hinge", "clusters", "[3,5]", "[title, body]", "Name (EN)",
]  # fmt: skip
OPTIONS = ["-m", "--resolve", "--cfg", "job", "--info", "--help-me", "-x", "hydra.verbose=true"]


def _names(params: Any, prefix: str = "") -> Iterator[str]:
    from xrt.cli.doors import _fields

    yield from (name for name, _ in _fields(params, prefix))


def random_words(rng: random.Random, names: list[str], groups: dict[str, list[str]]) -> list[str]:
    """One to five settings, right and wrong."""
    words = []
    for _ in range(rng.randint(1, 5)):
        kind = rng.random()
        if kind < 0.25:
            group = rng.choice(sorted(groups))
            choice = rng.choice(groups[group]) if rng.random() < 0.6 else rng.choice(VALUES)
            words.append(f"{group}={choice}")
        elif kind < 0.75:
            words.append(f"{rng.choice(names)}={rng.choice(VALUES)}")
        elif kind < 0.9:
            name = list(rng.choice(names))
            name[rng.randrange(len(name))] = rng.choice("xé.=@/ _-~+'[")
            words.append(f"{''.join(name)}={rng.choice(VALUES)}")
        elif kind < 0.95:
            words.append(rng.choice(["+", "++", "~"]) + f"{rng.choice(names)}={rng.choice(VALUES)}")
        else:
            words.append(rng.choice(OPTIONS))
    return words


def try_sets(number: int, seed: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("xrt.pipeline.train", lambda *_, **__: DONE)
    monkeypatch.setattr("xrt.pipeline.estimate_run", lambda *_, **__: "")
    rng = random.Random(seed)
    names = [*_names(settings_type()), "name", "paths.runs", "data.path", "hydra.job.name"]
    groups = {group: files for group, files in conf_groups().items() if group != "hydra"}
    for _ in range(number):
        words = random_words(rng, names, groups)
        GlobalHydra.instance().clear()
        code = main(["train", *words])
        err = capsys.readouterr().err
        faults = [line for line in err.splitlines() if line.startswith("xrt: error: ")]
        assert code in (0, 2), (words, err)
        assert len(faults) == (code == 2), (words, err)
        assert "Traceback" not in err, (words, err)
        if code == 2 and "-m" not in words:
            assert err.count("\n") == 1, (words, err)


@pytest.mark.usefixtures("hydra_as_new")
def test_random_settings_end_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Any):
    try_sets(60, 0, monkeypatch, capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("hydra_as_new")
@pytest.mark.parametrize("seed", range(1, 5))
def test_two_thousand_random_settings(seed: int, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    try_sets(500, seed, monkeypatch, capsys)
