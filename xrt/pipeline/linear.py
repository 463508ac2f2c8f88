"""The linear model: label trees with rankers, the path weight, the votes of training rows.

N training rows, L labels, F sparse and H dense columns.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.labels import LabelTable
from xrt.fusion.path_weight import choose_path_weight
from xrt.hybrid import HybridMatrix
from xrt.model import XrtModel
from xrt.pipeline.fusing import (
    HeldOutRows,
    SourceScores,
    choose_fusion,
    frequencies_of,
    trial_fusion,
    with_fusion,
)
from xrt.pipeline.neighbours import sparse_neighbours
from xrt.pipeline.rows import TrainingRows, hold_out, lazy_hash
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.trees import PlantedTree, grow_trees, train_rankers
from xrt.search.beam import SearchParams
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

    Returns:
        The trees with their rankers.
    """
    inputs = inputs or {}
    grown = trees[:num_trees] or grow_trees(
        runner, prefix + names[0], X, Y_NL, labels, inputs, num_trees=num_trees
    )
    return train_rankers(runner, prefix + names[1], X, Y_NL, grown, inputs)


def linear_model(runner: StageRunner, rows: TrainingRows, trees: Sequence[PlantedTree]) -> XrtModel:
    """The linear model on all rows: features, trees, rankers, and how they are searched."""
    params, corpus = runner.params, rows.corpus
    search = params.search
    if search.path_weight is None:
        search = _choose_path_weight(runner, rows, trees)
    every_row = np.arange(corpus.num_instances)
    return XrtModel(
        corpus.labels,
        rows.features,
        train_linear_trees(runner, rows, every_row, "", trees, rows.inputs, params.num_trees),
        search=search,
        frequencies=frequencies_of(params, corpus.Y),
    )


def train_linear_trees(
    runner: StageRunner,
    rows: TrainingRows,
    used: np.ndarray,
    prefix: str,
    trees: Sequence[PlantedTree],
    inputs: Mapping[str, Hash],
    num_trees: int,
) -> TreeEnsemble:
    """Linear trees on the `used` rows, and on the names of the labels."""
    whole = len(used) == rows.corpus.num_instances
    X = rows.X if whole else rows.X.take(used)
    Y_NL = rows.corpus.Y if whole else rows.labels_of(used)
    if rows.names is not None:
        X, Y_NL = rows.names.join(X, Y_NL)
    inputs = {**inputs, **rows.name_inputs}
    return train_trees(
        runner, X, Y_NL, rows.corpus.labels, inputs, prefix=prefix, num_trees=num_trees, trees=trees
    )


PATH_WEIGHT = Stage[dict[str, Any]](
    "path-weight", 2, ("search", "ranker", "tree", "seed"),
    save=lambda chosen, folder: write_json(folder / "path_weight.json", chosen),
    load=lambda folder: read_json_bounded(folder / "path_weight.json"),
)  # fmt: skip


def _choose_path_weight(
    runner: StageRunner, rows: TrainingRows, trees: Sequence[PlantedTree]
) -> SearchParams:
    """The search with the path weight that is best for one tree on rows it was not trained
    on.
    """
    params, Y_NL = runner.params, rows.corpus.Y
    held = hold_out(Y_NL, params.validation_rows, params.seed, "the path weight stays 1")
    if held is None:
        return replace(params.search, path_weight=1.0)
    inputs = {**rows.inputs, "held out": lazy_hash(held.validation)}

    def make(settings: Settings, workspace: Workspace) -> dict[str, Any]:
        trial = train_linear_trees(runner, rows, held.train, "trial-", trees, inputs, 1)
        X, Y_true = rows.X.take(held.validation), rows.labels_of(held.validation)
        chosen = choose_path_weight(trial, X, Y_true, settings["search"], runner.num_threads)
        figures = {str(weight): values for weight, values in chosen.figures.items()}
        return {"path_weight": chosen.path_weight, "figures": figures}

    own = {**inputs, **rows.name_inputs}
    chosen = runner.run(PATH_WEIGHT, make, own).value
    logger.info("path weight on %d held-out rows: %s", len(held.validation), chosen)
    return replace(params.search, path_weight=float(chosen["path_weight"]))


def fuse_linear(
    runner: StageRunner, rows: TrainingRows, model: XrtModel, trees: Sequence[PlantedTree]
) -> tuple[XrtModel, HeldOutRows | None]:
    """The linear model joined by the votes of the nearest training rows where they help, and
    calibrated; as it was where no row can be held out.
    """
    params, corpus = runner.params, rows.corpus
    purpose = "scores stay ranks, neighbours do not vote"
    held = hold_out(corpus.Y, params.validation_rows, params.seed, purpose)
    if held is None:
        return model, None
    inputs = {**rows.inputs, "held out": lazy_hash(held.validation)}

    def score() -> SourceScores:
        X_fit, Y_fit = rows.X.take(held.train), rows.labels_of(held.train)
        trial = replace(
            model,
            linear=train_linear_trees(
                runner, rows, held.train, "fit-", trees, inputs, params.num_trees
            ),
            neighbours=sparse_neighbours(
                X_fit.sparse, Y_fit, rows.names, params.neighbours, X_fit.weights_N
            ),
            fusion=trial_fusion(params, deep=False),
        )
        X_held = rows.X.take(held.validation)
        return trial.sources(X_held, num_threads=runner.num_threads, candidates=runner.candidates)

    own = {**inputs, **rows.name_inputs}
    fits = choose_fusion(runner, rows, held, score, own, "linear-fusion", "linear").value
    if "neighbours" in fits.fused.fusion.sources:
        votes = sparse_neighbours(
            rows.X_NF, corpus.Y, rows.names, params.neighbours, rows.X.weights_N
        )
        model = replace(model, neighbours=votes)
    return with_fusion(model, fits.fused), HeldOutRows(held.validation, fits.sources)
