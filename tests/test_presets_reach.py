"""Every mechanism that the documentation names is reached by a preset or a file of a group."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from xrt import config
from xrt.cli.doors import _training_fields
from xrt.features.tfidf_params import WORDS_AND_SIGNS
from xrt.pipeline.params import PipelineParams

MOST_SETTINGS = 86
"""Settings of `xrt train`; a new one takes the place of another."""

MECHANISMS: dict[str, tuple[str, Callable[[PipelineParams], Any]]] = {
    "levels trained on candidates": (
        "experiment=many_labels",
        lambda p: p.matcher.dense_level_limit < 32,
    ),
    "early stopping": (
        "experiment=many_labels",
        lambda p: p.matcher.validate_every_steps and p.matcher.patience,
    ),
    "embedding weight chosen on held-out rows": (
        "experiment=many_labels",
        lambda p: p.embedding_weight is None,
    ),
    "the frozen encoder beside": ("experiment=many_labels", lambda p: p.frozen_weight > 0),
    "wide beam": (
        "experiment=many_labels",
        lambda p: p.search.beam_size > PipelineParams().search.beam_size,
    ),
    "hard negatives": ("experiment=tibkat", lambda p: p.ranker.matcher_negatives > 0),
    "features of the matcher's tree": (
        "experiment=tibkat_chars",
        lambda p: p.matcher_features.value == "words",
    ),
    "frozen layers": ("experiment=tibkat_fast", lambda p: p.encoder.frozen_layers > 0),
    "several trees": ("experiment=tibkat", lambda p: p.num_trees > 1 and p.num_deep_trees > 1),
    "settings chosen on held-out rows": ("linear=auto", lambda p: p.choose),
    "LoRA": ("encoder=roberta_large_lora", lambda p: p.encoder.lora_rank > 0),
    "signs of words": (
        "features=words_signs",
        lambda p: p.features.token_pattern == WORDS_AND_SIGNS,
    ),
    "character n-grams": ("features=words_chars", lambda p: p.features.char_ngrams is not None),
    "one-vs-rest": ("tree=flat", lambda p: p.tree.max_leaf_size >= 1_000_000),
    "several processes": ("trainer=ddp_sim", lambda p: p.trainer.devices > 1),
    "sharded weights": ("trainer=fsdp", lambda p: p.trainer.strategy == "fsdp"),
}
"""A choice that reaches each, and what tells that it does."""


@pytest.fixture(autouse=True)
def hydra_as_new() -> Iterator[None]:
    GlobalHydra.instance().clear()
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers, logging.root.level = handlers, level


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_mechanism_is_reached_by_a_preset(mechanism: str):
    choice, is_reached = MECHANISMS[mechanism]
    params = config.build(config.pipeline_params(), config.compose([choice]))
    assert is_reached(params)


def test_settings_stay_few():
    names = [name for name, _ in _training_fields()]
    assert len(names) == len(set(names))
    assert len(names) <= MOST_SETTINGS
