"""The values at which settings add nothing to the key of a stage, pinned apart from defaults.

A setting that is new gets here the value at which stages do what they did before it: then run
folders of before go on. Nothing here follows a default. Where a default changes, the setting is no
longer at the value below, the key of each stage that reads it changes, and the stage runs again.
So a line is added with a setting and removed with it, and never edited.
"""

from collections.abc import Iterable, Mapping
from typing import Any

NEUTRAL: Mapping[str, Any] = {
    "always_deep": False,
    "choose": [],
    "dataset.propensity": {"a": 0.55, "b": 1.5},
    "embedding_neighbours": {"num_neighbours": 50},
    "encoder": {},
    "features": {
        "word_ngram_max": 1,
        "char_ngrams": None,
        "min_df": 2,
        "max_features": None,
        "sublinear_tf": False,
        "lowercase": True,
        "token_pattern": r"(?u)\b\w\w+\b",
    },
    "frozen_weight": 0.0,
    "fused": True,
    "label_text_weight": 0.5,
    "matcher": {
        "max_match_clusters": 32768,
        "encoder_learning_rate": 2e-4,
        "head_learning_rate": 2e-3,
        "num_epochs": 3.0,
        "steps": 0,
        "token_budget": 4096,
        "max_batch_rows": 64,
        "dense_level_limit": 32768,
        "validate_every_steps": 0,
        "patience": 0,
    },
    "neighbours": {"num_neighbours": 50},
    "num_deep_trees": 1,
    "num_trees": 1,
    "ranker": {
        "cost_positive": 1.0,
        "cost_negative": 1.0,
        "threshold": None,
        "matcher_negatives": 0,
        "half": False,
    },
    "search": {"beam_size": 10, "path_weight": 0.5},
    "seed": 0,
    "trainer.precision": "auto",
    "tree": {
        "branching": 16,
        "max_leaf_size": 200,
        "max_top_nodes": 64,
        "paths": None,
        "inside": False,
        "shape": "halves",
        "fan_out": 100,
        "depth": 2,
    },
}
"""By the names of `Stage.reads`; a part has the values of its settings."""

COUNTED = frozenset(
    f"encoder.{name}"
    for name in ("name", "pooling", "max_length", "dropout", "frozen_layers", "lora_rank")
)
"""Settings that have no neutral value: they are in every key of a stage with an encoder."""


def neutral_values(reads: Iterable[str], parameters: Iterable[str] = ()) -> dict[str, Any]:
    """The neutral values of what a stage reads.

    Args:
        reads: full names of the settings and parts that it declares.
        parameters: names of its other values; one that stands for a part of the settings has the
            neutral values of that part.

    Returns:
        Plain values by these names, those without a neutral value left out.
    """
    parts = [name for name in parameters if isinstance(NEUTRAL.get(name), Mapping)]
    return {name: NEUTRAL[name] for name in (*reads, *parts) if name in NEUTRAL}
