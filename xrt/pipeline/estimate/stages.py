"""What a run will take, told before it begins: seconds, memory, disk.

N rows, L labels, F TF-IDF columns, H hidden width. Memory and disk follow from the corpus's shape,
the settings and the encoder's configuration. Seconds are measured: a model is trained on a small
sample on this machine, and what it took is scaled by the work that the formulas below count.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xrt.data.corpus import Corpus
from xrt.errors import CapacityError
from xrt.features.tfidf import TfidfFeatures
from xrt.pipeline.choosing.aspects import is_large_enough, options_of
from xrt.pipeline.estimate.costs import UNCERTAINTY, Estimate, StageCost, show_bytes
from xrt.pipeline.estimate.machine import Machine
from xrt.pipeline.estimate.pace import encoder_seconds, measure_linear
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trees import MAX_PIFA_FEATURES
from xrt.threads import default_num_threads
from xrt.tree.clustering import TreeParams, TreeShape

SAMPLE_ROWS = 3_000
"""Rows that are looked at, and trained on for the seconds."""
HYBRID_TREE = 3
"""Times as long as a linear tree's rankers: those with an embedding."""
LIBRARIES = 400 << 20
"""Bytes of the interpreter and its libraries; with an encoder torch's too."""
CHOICES_COST = "choices, at most as long again"
"""The stage that tries settings: its allowance is the work of the linear model's training."""
_CHOICES_DISK = 1 << 20
ACTIVATIONS = 120
"""Bytes of a step for each token, layer and number of a vector; measured in float32."""
_FEW_KEPT_FROM = 0.05  # weights up to this dropped: then few are kept
_WIDTH = 16  # nodes solved together


def estimate(params: PipelineParams, corpus: Corpus, probe: bool = True) -> Estimate:
    """What training on the corpus will take.

    Args:
        params: settings of the run.
        corpus: the training corpus.
        probe: train on a sample to measure seconds. Without it nothing is trained and seconds are
            None: then it takes a fraction of a second.

    Returns:
        Seconds, memory and disk of each stage.

    Raises:
        ConfigError: the files of the encoder are not on this machine.
    """
    shape = _Shape.of(params, corpus)
    stages = list(_stages(params, shape))  # first, since it looks for the encoder
    if probe:
        seconds = _seconds(params, corpus, shape)
        stages = [stage.taking(seconds[stage.name]) for stage in stages]
    libraries = LIBRARIES * (3 if params.encoder is not None else 1)
    held = shape.rows + shape.text_bytes + 120 * shape.num_rows + 48 * int(corpus.Y.nnz)
    return Estimate(tuple(stages), libraries + held)


def refuse_if_too_small(needed: Estimate, machine: Machine, force: bool = False) -> list[str]:
    """Compare an estimate with the machine's limits; 80 % of one comes near it.

    Args:
        needed: the estimate.
        machine: what there is.
        force: do not refuse.

    Returns:
        A warning for each limit that is near or passed.

    Raises:
        CapacityError: more than UNCERTAINTY times what there is would be needed, and `force` is
            False.
    """
    warnings = []
    for kind, need, there, advice in (
        ("memory", needed.memory, machine.memory,
         "lower features.max_features, raise features.min_df, or take a larger machine"),
        ("disk", needed.disk, machine.disk,
         "raise ranker.threshold, say ranker.half=true, or set paths.runs to another disk"),
    ):  # fmt: skip
        if there is None or need <= 0.8 * there:
            continue
        told = f"{show_bytes(need)} of {kind} will be needed, {show_bytes(there)} are free"
        if need > UNCERTAINTY * there and not force:
            raise CapacityError(f"{told}; {advice}", settings={"force": "to try all the same"})
        warnings.append(f"{told}; {advice}")
    return warnings


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """The problem's size; of TF-IDF by a sample of the texts."""

    num_rows: int
    num_labels: int
    num_features: int
    per_row: float
    """Columns of a row that are not 0."""
    labels_per_row: float
    weights: int
    """Weights that a tree's rankers keep."""
    rows: int
    """Bytes of TF-IDF rows."""
    text_bytes: int
    sample: np.ndarray

    @classmethod
    def of(cls, params: PipelineParams, corpus: Corpus) -> "_Shape":
        rng = np.random.default_rng(params.seed)
        N = corpus.num_instances
        sample = np.sort(rng.choice(N, min(N, SAMPLE_ROWS), replace=False))
        text_bytes = 0
        if corpus.texts is None:
            assert corpus.X is not None
            per_row, num_features = corpus.X.nnz / N, int(corpus.X.shape[1])
        else:
            texts = [corpus.texts[row] for row in sample]
            X = TfidfFeatures(params.features).fit_transform(texts)
            half = TfidfFeatures(params.features).fit_transform(texts[: max(2, len(texts) // 2)])
            # Heaps's law: how the vocabulary grew over the second half of the sample
            growth = np.log2(max(1.05, X.shape[1] / max(1, half.shape[1])))
            num_features = int(X.shape[1] * (N / len(texts)) ** min(growth, 0.9))
            per_row = X.nnz / len(texts) * 1.1
            if params.features.max_features is not None:
                num_features = min(num_features, 2 * params.features.max_features)
            text_bytes = int(sum(len(text) for text in texts) / len(texts) * N * 1.3)
        # kept weights of a label and row: fewer the more rows share a label's columns
        few = params.ranker.threshold_for(per_row) >= _FEW_KEPT_FROM
        weights = int(corpus.Y.nnz * (min(0.45 * per_row, 60.0) if few else per_row))
        return cls(
            num_rows=N, num_labels=len(corpus.labels), num_features=num_features, per_row=per_row,
            labels_per_row=corpus.Y.nnz / N, text_bytes=text_bytes, sample=sample,
            weights=min(weights, len(corpus.labels) * num_features),
            rows=12 * int(N * per_row) + 8 * N,
        )  # fmt: skip


def _stages(params: PipelineParams, shape: _Shape) -> Iterator[StageCost]:
    """Memory and disk of each stage.

    Hybrid rankers are trained once without the held-out rows and once with them, with the linear
    ones once more without.
    """
    trees, of_texts = params.num_trees, shape.rows if shape.text_bytes else 0
    threads = params.num_threads or default_num_threads()
    label_features = 8 * min(
        shape.num_labels * min(MAX_PIFA_FEATURES, int(20 * shape.per_row)),
        int(shape.num_rows * shape.per_row * shape.labels_per_row),
    )
    # one block at the root: other threads are in small clusters
    whole = 1 if _groups(params.tree, shape.num_labels)[0] == 1 else threads
    solver = 68 * threads * shape.num_features + 132 * whole * min(shape.num_rows, 2**31)
    solver += 48 * int(shape.num_rows * shape.labels_per_row)
    weights = int(5.5 * shape.weights)
    if _chooses(params, bool(shape.text_bytes), shape.num_rows):
        yield StageCost(name=CHOICES_COST, memory=solver + of_texts, disk=_CHOICES_DISK)
    yield StageCost(name="TF-IDF", memory=of_texts, disk=of_texts)
    yield StageCost(
        name="label tree", memory=2 * label_features, disk=trees * 12 * shape.num_labels
    )
    yield StageCost(
        name=f"linear rankers, {trees} tree(s)", memory=solver, disk=2 * trees * weights
    )
    if params.encoder is not None:
        from xrt.encoder.size import encoder_size

        encoder = encoder_size(params.encoder)
        tokens = shape.num_rows * min(params.encoder.max_length, int(2 * shape.per_row) + 8)
        embeddings = 4 * encoder.width * shape.num_rows
        layers = max(1, encoder.num_layers - params.encoder.frozen_layers)
        activations = ACTIVATIONS * params.matcher.token_budget * encoder.width * layers
        dense, deep = 4 * encoder.width * shape.num_labels, params.num_deep_trees
        yield StageCost(
            name="matcher",
            memory=4 * encoder.num_weights + 12 * encoder.num_trained + activations + embeddings,
            disk=4 * tokens + embeddings + 4 * encoder.num_weights + 8 * encoder.num_trained,
        )
        yield StageCost(
            name=f"hybrid rankers, {deep} tree(s)",
            memory=solver + 3 * embeddings + 2 * dense, disk=4 * deep * (weights + dense),
        )  # fmt: skip
    elif params.fused:
        yield StageCost(
            name="the same without held-out rows, fusion", memory=solver, disk=trees * weights
        )


def _seconds(params: PipelineParams, corpus: Corpus, shape: _Shape) -> dict[str, float]:
    """Seconds of each stage by its name, from a sample trained here and now."""
    pace = measure_linear(params, corpus, shape.sample)
    trees, deep = params.num_trees, params.num_deep_trees
    scale = shape.num_rows / len(shape.sample)
    splits = np.log2(2 + shape.num_labels / params.tree.max_leaf_size)
    splits /= np.log2(2 + pace.num_labels / params.tree.max_leaf_size)
    whole, part = (
        _work(params.tree, rows, labels, shape)
        for rows, labels in (
            (shape.num_rows, shape.num_labels), (len(shape.sample), pace.num_labels),
        )
    )  # fmt: skip
    tree = pace.tree * scale * float(splits)
    rankers = pace.rankers * whole / part * 1.3  # larger clusters take more sweeps
    found = {
        "TF-IDF": pace.features * scale,
        "label tree": trees * tree,
        f"linear rankers, {trees} tree(s)": trees * rankers,
        f"hybrid rankers, {deep} tree(s)": (2 * HYBRID_TREE * deep + trees) * rankers,
        "the same without held-out rows, fusion": trees * (tree + rankers),
    }
    if _chooses(params, corpus.texts is not None, shape.num_rows):
        again = trees * (tree + rankers) if params.fused else 0.0
        found[CHOICES_COST] = found["TF-IDF"] + trees * (tree + rankers) + again
    if params.encoder is not None:
        found["matcher"] = encoder_seconds(params, corpus, shape.sample)
    return found


def _chooses(params: PipelineParams, has_texts: bool, num_rows: int) -> bool:
    """Whether the run chooses settings; those that it finds may take longer than these."""
    return is_large_enough(num_rows) and bool(options_of(params, has_texts=has_texts))


def _groups(tree: TreeParams, num_labels: int) -> list[int]:
    """Groups of sixteen nodes under one node, level by level below the root."""
    if tree.paths is not None and not tree.inside:
        return [-(-num_labels // _WIDTH)]
    if tree.shape_of(0) is TreeShape.k_means:
        groups: list[int] = []
        labels = num_labels
        while len(groups) < tree.depth and labels >= tree.fan_out:
            groups.append(-(-tree.fan_out // _WIDTH))
            labels = -(-labels // tree.fan_out)
        return [*groups, -(-labels // _WIDTH)]
    if num_labels <= tree.max_leaf_size:
        return [-(-num_labels // _WIDTH)]
    clusters = 2 ** int(np.ceil(np.log2(num_labels / tree.max_leaf_size)))
    groups = [-(-max(1, num_labels // clusters) // _WIDTH)]
    while clusters > tree.max_top_nodes:
        groups.insert(0, -(-tree.branching // _WIDTH))
        clusters = -(-clusters // tree.branching)
    return [-(-clusters // _WIDTH), *groups]


def _work(tree: TreeParams, num_rows: int, num_labels: int, shape: _Shape) -> float:
    """Nonzeros visited in a sweep of all problems, sixteen nodes counted once.

    A row is in one cluster at the root, and at each level below in up to as many as it has labels.
    """
    top, *below = _groups(tree, num_labels)
    clusters = min(shape.labels_per_row, 1 + 0.7 * (shape.labels_per_row - 1))
    visits = top + clusters * sum(below)
    return num_rows * visits * (shape.per_row + 30)  # 30: what a visit costs besides
