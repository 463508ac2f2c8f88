"""The named settings of the linear model are the same in Python and on the command line."""

import pytest

from tests import ROOT
from xrt import config
from xrt.errors import ConfigError
from xrt.estimators import PRESETS, XRLinear
from xrt.pipeline import PipelineParams

CONF = ROOT / "conf"


def composed(*overrides: str) -> PipelineParams:
    built = config.build(config.pipeline_params(), config.compose([*overrides, "encoder=none"]))
    assert isinstance(built, PipelineParams)
    return built


def test_there_are_as_many_files_as_presets():
    names = {path.stem for path in (CONF / "linear").glob("*.yaml")}
    assert names == set(PRESETS)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_the_same_in_both_places(name: str):
    params, estimator = composed(f"linear={name}"), XRLinear.preset(name)
    own = estimator.pipeline_params()
    assert params.num_trees == own.num_trees
    assert params.tree == own.tree
    assert params.ranker == own.ranker
    assert params.search == own.search
    assert sorted(params.choose) == sorted(own.choose)


def test_without_a_preset_both_have_the_defaults_of_the_parameter_classes():
    params, own, plain = composed(), XRLinear().pipeline_params(), PipelineParams()
    assert params.num_trees == plain.num_trees == own.num_trees
    assert params.tree == plain.tree == own.tree
    assert params.ranker == plain.ranker == own.ranker
    assert params.search == plain.search == own.search
    assert plain.validation_rows == own.validation_rows
    assert params.choose == own.choose


def test_other_choices_are_laid_over_a_preset():
    params = composed("linear=quality", "tree=flat", "num_trees=2", "ranker=hard_negatives")
    assert params.num_trees == 2
    assert params.tree.max_leaf_size == composed("tree=flat").tree.max_leaf_size
    assert params.ranker.matcher_negatives == 10
    estimator = XRLinear.preset("quality", num_trees=2, seed=4)
    assert (estimator.num_trees, estimator.seed) == (2, 4)
    assert estimator.path_weight == XRLinear.preset("fast").path_weight


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(
        ConfigError, match="preset 'fats' is unknown; choose one of auto, default, fast, quality"
    ):
        XRLinear.preset("fats")


def test_presets_cannot_be_written_to():
    with pytest.raises(TypeError):
        PRESETS["fast"]["num_trees"] = 9  # type: ignore[index]


def test_the_path_weight_may_be_left_to_the_data():
    assert composed("search.path_weight=null").search.path_weight is None


ENCODERS = sorted(path.stem for path in (CONF / "encoder").glob("*.yaml"))


def test_the_encoders_of_the_presets_are_there():
    asked = {"minilm", "distilroberta", "bert_base", "roberta_large", "xlm_roberta", "modernbert",
             "deberta_v3", "t5_encoder"}  # fmt: skip
    assert asked <= set(ENCODERS)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_brings_its_learning_rate_and_the_command_line_has_the_last_word(name: str):
    built = [
        config.build(config.pipeline_params(), config.compose([f"encoder={name}", *more]))
        for more in ([], ["matcher.encoder_learning_rate=1e-3"])
    ]
    assert built[1].matcher.encoder_learning_rate == 1e-3
    if name == "none":
        assert built[0].encoder is None
        return
    assert built[0].encoder.name
    assert (built[0].encoder.lora_rank > 0) == name.endswith("_lora")
    large = name in ("roberta_large", "deberta_v3")
    assert (built[0].matcher.encoder_learning_rate < 5e-5) == large
