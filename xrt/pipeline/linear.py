"""The linear model: label trees with rankers, the path weight, the votes of training rows.

N training rows, L labels, F sparse and H dense columns.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.labels import LabelTable
from xrt.fusion.candidates import Candidates
from xrt.fusion.path_weight import choose_path_weight
from xrt.hybrid import HybridMatrix
from xrt.metrics.judgement import Judgement
from xrt.model import XrtModel
from xrt.pipeline.fusing import (
    HeldOutRows,
    choose_fusion,
    criterion_of,
    frequencies_of,
    held_out_scores,
    with_fusion,
)
from xrt.pipeline.rows import ENOUGH_ROWS, TrainingRows, hold_out
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.source_fits import fit_sources, with_sources
from xrt.pipeline.trees import PlantedTree, grow_trees, train_rankers
from xrt.pipeline.word_trees import word_columns, word_inputs
from xrt.search.beam import SearchParams
from xrt.sources.base import Source, SourceRows, Training, TreeTrainer
from xrt.sources.linear_trees import LinearTrees
from xrt.sources.registry import BASELINE, by_name
from xrt.sources.trees import TreeEnsemble
from xrt.storage.atomic import write_json
from xrt.storage.reading import read_json_bounded
from xrt.storage.stages import Hash, Settings, Stage, Workspace

logger = logging.getLogger(__name__)


def train_trees(
    runner: StageRunner,
    X: HybridMatrix,
    Y_NL: sp.csr_array,
    labels: LabelTable,
    inputs: Mapping[str, Hash] | None = None,
    *,
    prefix: str = "",
    names: tuple[str, str] = ("tree", "linear"),
    num_trees: int = 1,
    trees: Sequence[PlantedTree] = (),
    words: int | None = None,
) -> TreeEnsemble:
    """Train label trees with rankers on some rows.

    Args:
        runner: runs the stages.
        X: rows (N, F + H).
        Y_NL: their labels.
        labels: the label table.
        inputs: hashes of rows and labels; a cache without files needs none.
        prefix: of the names of the stages.
        names: of the stages of a tree and of its rankers.
        num_trees: how many, from different seeds.
        trees: use these instead of growing some.
        words: columns of words, which some trees see alone; None where all see all.

    Returns:
        The trees with their rankers.
    """
    inputs = inputs or {}
    grown = trees[:num_trees] or grow_trees(
        runner, prefix + names[0], X, Y_NL, labels, inputs, num_trees=num_trees, words=words
    )
    return train_rankers(runner, prefix + names[1], X, Y_NL, grown, inputs, words)


def tree_trainer(
    runner: StageRunner,
    prefix: str,
    labels: LabelTable,
    inputs_of: Callable[[type[Source]], Mapping[str, Hash]],
    trees: Sequence[PlantedTree] = (),
    words: int | None = None,
) -> TreeTrainer:
    """How sources grow and train trees: as stages.

    Args:
        runner: runs the stages.
        prefix: of the names of the stages.
        labels: the label table.
        inputs_of: hashes of what a source is trained on.
        trees: use these instead of growing some.
        words: columns of words, which some trees of the linear model see alone; None where all see
            all.

    Returns:
        What `Training.train_trees` is.
    """

    def train(
        source: type[Source], X: HybridMatrix, Y_NL: sp.csr_array, num_trees: int
    ) -> TreeEnsemble:
        tree_stage = "tree" if source.name == BASELINE else f"{source.name}-tree"
        return train_trees(
            runner, X, Y_NL, labels, inputs_of(source), prefix=prefix,
            names=(tree_stage, source.name), num_trees=num_trees, trees=trees,
            words=words if source.name == BASELINE and num_trees > 1 else None,
        )  # fmt: skip

    return train


def linear_training(
    runner: StageRunner,
    rows: TrainingRows,
    used: np.ndarray | None,
    prefix: str = "",
    trees: Sequence[PlantedTree] = (),
    inputs: Mapping[str, Hash] | None = None,
    search: SearchParams | None = None,
) -> Training:
    """What sources without embeddings are fitted on.

    Args:
        runner: runs the stages of the trees.
        rows: the training rows.
        used: positions of those to fit on; None for all.
        prefix: of the names of the stages.
        trees: use these instead of growing some.
        inputs: hashes of rows and labels; a cache without files needs none.
        search: instead of the settings' `search`.

    Returns:
        Rows, labels and settings, and how trees are trained.
    """
    search = runner.params.search if search is None else search
    inputs = {**(inputs or {}), **rows.name_inputs}
    return Training(
        SourceRows(rows.X if used is None else rows.X.take(used)),
        rows.corpus.Y if used is None else rows.labels_of(used),
        runner.params,
        tree_trainer(
            runner,
            prefix,
            rows.corpus.labels,
            lambda source: inputs,
            trees,
            word_columns(runner.params, rows.features, rows.X.num_dense),
        ),
        search,
        rows.names,
        name_words=rows.name_words,
        num_threads=runner.num_threads,
    )


def linear_model(runner: StageRunner, rows: TrainingRows, trees: Sequence[PlantedTree]) -> XrtModel:
    """The linear model on all rows: features, trees, rankers, and how they are searched.

    Args:
        runner: runs the stages.
        rows: the training rows.
        trees: the label trees.

    Returns:
        The model. Its scores are neither fused nor calibrated.
    """
    params, corpus, search = runner.params, rows.corpus, runner.params.search
    if search.path_weight is None:
        search = _choose_path_weight(runner, rows, trees)
    linear = LinearTrees.fit(linear_training(runner, rows, None, "", trees, rows.inputs, search))
    frequencies = frequencies_of(params, corpus.Y)
    return XrtModel(
        corpus.labels, rows.features, by_name([linear]), search=search, frequencies=frequencies
    )


PATH_WEIGHT = Stage[dict[str, Any]](
    "path-weight", 3, ("search", "ranker", "tree", "seed"),
    save=lambda chosen, folder: write_json(folder / "path_weight.json", chosen),
    load=lambda folder: read_json_bounded(folder / "path_weight.json"),
)  # fmt: skip


def _choose_path_weight(
    runner: StageRunner, rows: TrainingRows, trees: Sequence[PlantedTree]
) -> SearchParams:
    """The search with the path weight that is best for one tree on rows it was not trained
    on.
    """
    params = runner.params
    held = hold_out(rows, params.validation_rows, params.seed, "the path weight stays 1")
    if held is None:
        return replace(params.search, path_weight=1.0)
    inputs = {**rows.inputs, **held.inputs}

    def make(settings: Settings, workspace: Workspace) -> dict[str, Any]:
        training = linear_training(
            runner, rows, held.train, "trial-", trees, inputs, settings["search"]
        )
        one_tree = replace(training, settings=replace(runner.params, num_trees=1))
        trial = LinearTrees.fit(one_tree)
        assert trial is not None
        X, Y_true = rows.X.take(held.validation), rows.labels_of(held.validation)
        chosen = choose_path_weight(
            trial.ensemble, X, Y_true, settings["search"], runner.num_threads
        )
        figures = {str(weight): values for weight, values in chosen.figures.items()}
        judged = None if chosen.judgement is None else chosen.judgement.to_dict()
        return {"path_weight": chosen.path_weight, "figures": figures, "judgement": judged}

    own = {**inputs, **rows.name_inputs}
    chosen = runner.run(PATH_WEIGHT, make, own).value
    logger.info("path weight on %d held-out rows: %s", len(held.validation), chosen)
    if chosen["judgement"] is not None:
        runner.judgements.append(Judgement.from_dict(chosen["judgement"]))
    return replace(params.search, path_weight=float(chosen["path_weight"]))


def fuse_linear(
    runner: StageRunner, rows: TrainingRows, model: XrtModel, trees: Sequence[PlantedTree]
) -> tuple[XrtModel, HeldOutRows | None]:
    """The linear model joined by further sources where they help, and calibrated.

    Args:
        runner: runs the stages.
        rows: the training rows.
        model: the linear model on all rows.
        trees: its label trees.

    Returns:
        The model, and the held-out rows; the model as it was and None where no row can be held out.
    """
    params = runner.params
    purpose = "scores stay ranks, other sources than trees are left out"
    # beside a deep model, which cannot spare as many, both are judged on the same rows
    enough = ENOUGH_ROWS if params.encoder is None else 0
    held = hold_out(rows, params.validation_rows, params.seed, purpose, enough)
    if held is None:
        return model, None
    inputs = {**rows.inputs, **held.inputs}

    def score() -> Candidates:
        training = linear_training(runner, rows, held.train, "fit-", trees, inputs, model.search)
        trial = with_sources(model, fit_sources(training))
        X_held = rows.X.take(held.every)
        return trial.candidates(trial.source_rows(X_held), runner.candidates, runner.num_threads)

    own = {**inputs, **rows.source_inputs, **word_inputs(runner.params, rows.features)}
    fits = choose_fusion(runner, rows, held, score, own, "linear-fusion", BASELINE).value
    runner.judgements.extend(fits.fused.judgements)
    if further := fits.fused.fusion.sources - set(model.sources):
        training = linear_training(runner, rows, None, "", trees, rows.inputs, model.search)
        model = with_sources(model, fit_sources(training, model.sources, further))
    return with_fusion(model, fits.fused), HeldOutRows(
        held.validation, fits.sources, criterion_of(fits.fused), held_out_scores(linear=fits.fused),
        fits.fused.figures.get("slices", {}),
    )  # fmt: skip
