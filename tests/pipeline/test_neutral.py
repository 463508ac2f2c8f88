"""Keys of stages: a new setting reruns nothing, a changed default reruns what reads it."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import xrt.pipeline
from xrt.encoder.params import EncoderParams
from xrt.features.tfidf_params import TfidfParams
from xrt.metrics.propensity import PropensityModel
from xrt.pipeline import neutral
from xrt.pipeline.params import DatasetParams, PipelineParams
from xrt.pipeline.runner import StageRunner, setting_of
from xrt.sources.ranker import RankerParams
from xrt.storage.atomic import write_text
from xrt.storage.stages import FolderCache, Stage

STAGE = Stage[str](
    "toy", 1, ("features", "ranker", "search", "tree", "num_trees", "dataset.propensity"),
    save=lambda text, folder: write_text(folder / "text", text),
    load=lambda folder: (folder / "text").read_text(),
)  # fmt: skip


def stages() -> Iterator[Stage[Any]]:
    for module in pkgutil.walk_packages(xrt.pipeline.__path__, "xrt.pipeline."):
        if module.name != "xrt.pipeline.report_page":
            named = vars(importlib.import_module(module.name))
            yield from (value for value in named.values() if isinstance(value, Stage))


def made(run: Path, params: PipelineParams, **parameters: Any) -> bool:
    """Whether the toy stage had to be made."""
    calls = []

    def make(*_: Any) -> str:
        calls.append(1)
        return "text"

    StageRunner(params, FolderCache(run)).run(STAGE, make, {}, None, parameters)
    return bool(calls)


def leaves(value: Any, name: str) -> Iterator[str]:
    if is_dataclass(value) and not isinstance(value, type):
        for field in vars(value):
            yield from leaves(getattr(value, field), f"{name}.{field}")
    else:
        yield name


def is_pinned(name: str) -> bool:
    part, _, setting = name.rpartition(".")
    return name in neutral.NEUTRAL or setting in neutral.NEUTRAL.get(part, {})


def test_all_that_stages_read_has_a_neutral_value():
    params = replace(PipelineParams(), encoder=EncoderParams())
    reads = {name for stage in stages() for name in stage.reads} | {"encoder"}
    assert {"features", "ranker", "matcher"} <= reads
    names = {leaf for name in reads for leaf in leaves(setting_of(params, name), name)}
    missing = {name for name in names - neutral.COUNTED if not is_pinned(name)}
    assert not missing, (
        f"{sorted(missing)}: new settings that a stage reads; give each the value at which the "
        "stage does as before, in xrt/pipeline/neutral.py"
    )


def test_nothing_is_pinned_that_no_stage_reads():
    reads = {name for stage in stages() for name in stage.reads} | {"encoder"}
    assert set(neutral.NEUTRAL) <= reads


def test_a_changed_default_changes_the_key(tmp_path, monkeypatch):
    assert made(tmp_path, PipelineParams())
    assert not made(tmp_path, PipelineParams())
    monkeypatch.setitem(RankerParams.__init__.__kwdefaults__, "cost_positive", 3.0)
    assert PipelineParams().ranker.cost_positive == 3.0
    assert made(tmp_path, PipelineParams())
    before = replace(PipelineParams(), ranker=RankerParams(cost_positive=1.0))
    assert made(tmp_path, before), "the folder has the output of the new default"


def test_a_new_setting_at_its_neutral_value_leaves_the_key(tmp_path, monkeypatch):
    assert made(tmp_path, PipelineParams())

    @dataclass(frozen=True, kw_only=True)
    class Newer(TfidfParams):
        stop_words: str = "none"

    newer = replace(PipelineParams(), features=Newer())
    pins = {**neutral.NEUTRAL, "features": {**neutral.NEUTRAL["features"], "stop_words": "none"}}
    monkeypatch.setattr(neutral, "NEUTRAL", pins)
    assert not made(tmp_path, newer)
    assert made(tmp_path, replace(newer, features=Newer(stop_words="english")))


def test_a_setting_without_a_neutral_value_is_counted(tmp_path, monkeypatch):
    params = PipelineParams(num_trees=1)
    assert made(tmp_path, params)
    pins = {name: value for name, value in neutral.NEUTRAL.items() if name != "num_trees"}
    monkeypatch.setattr(neutral, "NEUTRAL", pins)
    assert made(tmp_path, params)


def test_a_new_setting_of_an_optional_part_leaves_the_key(tmp_path, monkeypatch):
    encoder = asdict(EncoderParams()) | {"pooling": "mean"}
    assert made(tmp_path, PipelineParams(), encoder=encoder)
    monkeypatch.setattr(neutral, "NEUTRAL", {**neutral.NEUTRAL, "encoder": {"prefix": ""}})
    assert not made(tmp_path, PipelineParams(), encoder={**encoder, "prefix": ""})
    assert made(tmp_path, PipelineParams(), encoder={**encoder, "prefix": "query: "})


def test_keys_of_earlier_run_folders_stay():
    """The key of settings as they were, however defaults change."""
    pinned = {name: neutral.NEUTRAL[name] for name in ("features", "ranker", "search", "tree")}
    params = PipelineParams(
        features=TfidfParams(**pinned["features"] | {"min_df": 3}),
        ranker=RankerParams(**pinned["ranker"]),
        search=type(PipelineParams().search)(**pinned["search"]),
        tree=type(PipelineParams().tree)(**pinned["tree"]),
        num_trees=1,
        dataset=DatasetParams(propensity_model=PropensityModel.default),
    )
    keys = []

    class Keys(FolderCache):
        def run(self, stage, make, settings, inputs, name=None):
            from xrt.storage.stages import StageOutput, _stage_record

            record = _stage_record(stage.name, 1, settings.values, inputs, settings.neutral)
            keys.append(record["key"])
            return StageOutput("", record["key"])

    StageRunner(params, Keys(Path())).run(STAGE, lambda *_: "", {"rows": "0"})
    assert keys == ["a76b6fa8b3f8307f0b23091e4188ca812175a02f05fae5d0bf45104dbd7fe285"]
