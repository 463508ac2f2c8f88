"""The stage `choices`: what a run chooses for itself before its features are made."""

import logging
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from xrt.data.corpus import Corpus
from xrt.data.splits import validation_split
from xrt.errors import DataError
from xrt.pipeline.choosing.aspects import FEWEST_ROWS, is_large_enough, options_of
from xrt.pipeline.choosing.choices import Choices
from xrt.pipeline.choosing.contest import Contest
from xrt.pipeline.choosing.memory import TrialMemory
from xrt.pipeline.choosing.rare_words import choose_min_df, has_rare_words
from xrt.pipeline.row_groups import group_rows
from xrt.pipeline.rows import labels_hash, lazy_hash
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.trees import taxonomy_input
from xrt.storage.atomic import write_json
from xrt.storage.hashing import content_hash
from xrt.storage.reading import read_json_bounded
from xrt.storage.stages import Hash, Settings, Stage, Workspace

logger = logging.getLogger(__name__)

HELD_OUT_ROWS = 4_000
"""Rows that tries are judged on, at most; and never more than a fifth."""

CHOICES = Stage[Choices](
    "choices", 3,
    (
        "choose", "features", "tree", "ranker", "num_trees", "search", "neighbours",
        "label_text_weight", "fused", "dataset.propensity", "seed",
    ),
    save=lambda choices, folder: write_json(folder / "choices.json", choices.to_dict()),
    load=lambda folder: Choices.from_dict(read_json_bounded(folder / "choices.json")),
    needs_folder=True,
)  # fmt: skip


def choose_settings(
    runner: StageRunner,
    corpus: Corpus,
    dense_NH: np.ndarray | None = None,
    has_tree: bool = False,
) -> Choices | None:
    """Choose the settings that `choose` names on held-out rows of the training corpus.

    Args:
        runner: runs the stage; its settings are those that stand.
        corpus: N training rows.
        dense_NH: dense columns of the rows; None where there are none.
        has_tree: the label tree is given.

    Returns:
        What was chosen; None where there is nothing to choose.

    Raises:
        ChoosingStopped: Ctrl-C; it holds what was found before.
    """
    params = runner.params
    options = options_of(params, has_texts=corpus.texts is not None, has_tree=has_tree)
    if not options:
        return None
    aspects = tuple(dict.fromkeys(aspect for aspect, _ in options))
    num_rows = corpus.num_instances
    inputs = _inputs(runner, corpus, dense_NH, has_tree)
    if not is_large_enough(num_rows):
        if dense_NH is None and not has_tree and has_rare_words(params, corpus):
            groups_N = group_rows(runner, corpus)
            return _run(runner, inputs, lambda _: choose_min_df(params, corpus, groups_N))
        return _nothing(
            aspects,
            f"{num_rows:,} rows are too few to choose settings on, {FEWEST_ROWS:,} are needed",
            logging.INFO,
        )
    # another draw than that of fusion, which would flatter what is chosen here
    size = min(HELD_OUT_ROWS, num_rows // 5)
    try:
        held = validation_split(
            corpus.Y, size=size, seed=params.seed + 1,
            groups=group_rows(runner, corpus, dense_NH), times=corpus.times,
        )  # fmt: skip
    except DataError as err:
        return _nothing(aspects, f"no setting is chosen: {err}")

    def hold(workspace: Workspace) -> Choices:
        memory = TrialMemory(workspace.scratch)
        contest = Contest(params, corpus, held, options, dense_NH, memory, runner.progress)
        return contest.run()

    return _run(runner, {**inputs, "held out": lazy_hash(held.validation)}, hold)


def _run(
    runner: StageRunner, inputs: Mapping[str, Hash], choose: Callable[[Workspace], Choices]
) -> Choices:
    """Run the stage, and tell what it found."""

    def make(settings: Settings, workspace: Workspace) -> Choices:
        return choose(workspace)

    choices = runner.run(CHOICES, make, inputs).value
    for line in choices.to_text().split("\n"):
        logger.info("%s", line)
    return choices


def _nothing(aspects: tuple[str, ...], why: str, level: int = logging.WARNING) -> Choices:
    choices = Choices(aspects=aspects, message=f"{why}; the settings stay as they are")
    logger.log(level, "%s", choices.message)
    return choices


def _inputs(
    runner: StageRunner, corpus: Corpus, dense_NH: np.ndarray | None, has_tree: bool
) -> dict[str, Hash]:
    """Hashes of all that tries read."""
    texts_or_rows = corpus.X if corpus.texts is None else corpus.texts
    inputs: dict[str, Hash] = {
        "rows": lazy_hash(texts_or_rows),
        "labels": cache(lambda: labels_hash(corpus)),
    }
    if runner.params.label_text_weight and corpus.labels.num_named:
        inputs["label names"] = cache(lambda: content_hash(list(corpus.labels.names)))
    if dense_NH is not None:
        inputs["dense"] = lazy_hash(dense_NH)
    if has_tree:
        inputs["tree"] = "given"
    return inputs | taxonomy_input(runner.params.tree, corpus.labels)
