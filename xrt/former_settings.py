"""Settings that are gone, and what to do instead: an older configuration is refused with that."""

from collections.abc import Mapping

FORMER: Mapping[str, str] = {
    "dataset.propensity_a": "choose dataset.propensity_model=default, wikipedia or amazon",
    "dataset.propensity_b": "choose dataset.propensity_model=default, wikipedia or amazon",
    "encoder.lora": "write encoder.lora_rank=RANK",
    "features.max_df": "leave it out; TF-IDF gives words of most texts little weight",
    "matcher.seed": "write seed=SEED, which is that of the whole run",
    "matcher.warmup_fraction": "leave it out; it is 0.1",
    "matcher.weight_decay": "leave it out; it is 0.01",
    "matcher_tree.branching": "leave it out; it is 16",
    "matcher_tree.max_top_nodes": "leave it out; it is 1024",
    "trainer.strategy": "write trainer.lightning.strategy",
    "shortlist": "leave it out; trees are searched from the root, and FAISS finds labels and "
    "training rows by their embeddings without a setting",
    "word_trees": "leave it out; it is true",
}
"""By full names; a part stands for all settings that it had."""


def replaced_by(name: str) -> str | None:
    """What to do in place of a setting of an earlier version.

    Args:
        name: its full name.

    Returns:
        A half sentence; None where there was no such setting, or nothing is known of it.
    """
    while name not in FORMER:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return FORMER[name]
