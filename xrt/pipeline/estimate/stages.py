"""What a run will take, told before it begins: seconds, memory, disk.

N rows, L labels, F TF-IDF columns, H hidden width, G groups of sixteen nodes. Memory and disk
follow from the corpus's shape and the settings. Seconds are measured: a model is trained on a small
sample on this machine, and what it took is scaled by the work that the formulas below count.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xrt.data.corpus import Corpus
from xrt.errors import CapacityError
from xrt.features.tfidf import TfidfFeatures
from xrt.pipeline.estimate.costs import UNCERTAINTY, Estimate, StageCost, show_bytes
from xrt.pipeline.estimate.machine import Machine
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trainer import Trainer
from xrt.pipeline.trees import MAX_PIFA_FEATURES
from xrt.sparse import as_csr
from xrt.threads import default_num_threads
from xrt.tree.clustering import TreeParams

SAMPLE_ROWS = 3_000
"""Rows that are looked at, and trained on for the seconds."""
HYBRID_TREE = 3
"""Times as long as a linear tree's rankers: those with an embedding."""
LIBRARIES = 400 << 20
"""Bytes of the interpreter and its libraries; with an encoder torch's too."""
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
        ConfigError: the encoder cannot be had; with `probe` only.
    """
    shape = _shape(params, corpus)
    seconds = _probe(params, corpus, shape) if probe else {}
    threads = params.num_threads or default_num_threads()
    depth_groups, trees = _groups(params.tree, shape.num_labels), params.num_trees
    root_groups = depth_groups[0] if depth_groups else 1
    rows = 12 * shape.nonzeros + 8 * shape.num_rows
    label_features = 8 * shape.num_labels * min(MAX_PIFA_FEATURES, int(20 * shape.per_row))
    label_features = min(label_features, 8 * int(shape.nonzeros * shape.labels_per_row))
    solver = threads * (68 * shape.num_features + 132 * min(shape.num_rows, 2**31))
    if root_groups == 1:  # one block at the root: other threads are in small clusters
        solver = 68 * threads * shape.num_features + 132 * shape.num_rows
    weights = int(5.5 * shape.weights)
    solver += 16 * int(shape.num_rows * shape.labels_per_row) * 3
    stages = [
        StageCost(
            name="TF-IDF", seconds=seconds.get("features"),
            memory=rows if corpus.texts is not None else 0,
            disk=rows if corpus.texts is not None else 0,
        ),
        StageCost(
            name="label tree", seconds=_times(seconds.get("tree"), trees),
            memory=2 * label_features, disk=trees * 12 * shape.num_labels,
        ),
        StageCost(
            name=f"linear rankers, {trees} tree(s)", seconds=_times(seconds.get("rankers"), trees),
            memory=solver, disk=2 * trees * weights,
        ),
    ]  # fmt: skip
    if params.encoder is not None:
        stages += _deep_stages(params, shape, solver, weights, seconds)
    elif params.fused:
        again = [_times(seconds.get(part), trees) for part in ("tree", "rankers")]
        stages.append(
            StageCost(
                name="the same without held-out rows, fusion",
                seconds=None if None in again else sum(each or 0.0 for each in again),
                memory=solver, disk=trees * weights,
            )
        )  # fmt: skip
    libraries = LIBRARIES * (3 if params.encoder is not None else 1)
    held = rows + shape.text_bytes + 120 * shape.num_rows + 48 * int(corpus.Y.nnz)
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
    advice = {
        "memory": "lower features.max_features, raise features.min_df, or take a larger machine",
        "disk": "raise ranker.threshold, say ranker.half=true, or set paths.runs to another disk",
    }
    have = {"memory": machine.memory, "disk": machine.disk}
    for kind, need in (("memory", needed.memory), ("disk", needed.disk)):
        there = have[kind]
        if there is None or need <= 0.8 * there:
            continue
        told = f"{show_bytes(need)} of {kind} will be needed, {show_bytes(there)} are free"
        if need > UNCERTAINTY * there and not force:
            raise CapacityError(
                f"{told}; {advice[kind]}", settings={"force": "to try all the same"}
            )
        warnings.append(f"{told}; {advice[kind]}")
    return warnings


@dataclass(frozen=True, kw_only=True)
class _Shape:
    num_rows: int
    num_labels: int
    num_features: int
    per_row: float
    labels_per_row: float
    weights: int
    text_bytes: int
    sample: np.ndarray

    @property
    def nonzeros(self) -> int:
        return int(self.num_rows * self.per_row)


def _shape(params: PipelineParams, corpus: Corpus) -> _Shape:
    """Sizes of the problem; those of TF-IDF from a sample of the texts."""
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
    labels_per_row = corpus.Y.nnz / N
    # kept weights of a label and row: fewer the more rows share a label's columns
    few = params.ranker.threshold_for(per_row) >= _FEW_KEPT_FROM
    kept = 0.45 * per_row if few else per_row
    weights = int(corpus.Y.nnz * min(kept, 60.0 if few else per_row))
    weights = min(weights, len(corpus.labels) * num_features)
    return _Shape(
        num_rows=N, num_labels=len(corpus.labels), num_features=num_features, per_row=per_row,
        labels_per_row=labels_per_row, weights=weights, text_bytes=text_bytes, sample=sample,
    )  # fmt: skip


def _groups(tree: TreeParams, num_labels: int) -> list[int]:
    """Groups of sixteen nodes under one node, level by level below the root."""
    given = tree.paths is not None and not tree.inside
    if given or num_labels <= tree.max_leaf_size:
        return [-(-num_labels // _WIDTH)]
    clusters = 2 ** int(np.ceil(np.log2(num_labels / tree.max_leaf_size)))
    groups = [-(-max(1, num_labels // clusters) // _WIDTH)]
    while clusters > tree.max_top_nodes:
        groups.insert(0, -(-tree.branching // _WIDTH))
        clusters = -(-clusters // tree.branching)
    return [-(-clusters // _WIDTH), *groups]


def _work(tree: TreeParams, num_rows: int, num_labels: int, per_row: float, labels: float) -> float:
    """Nonzeros visited in a sweep of all problems, sixteen nodes counted once.

    A row is in one cluster at the root, and at each level below in up to as many as it has labels.
    """
    groups = _groups(tree, num_labels)
    levels = [1.0] + [min(labels, 1 + 0.7 * (labels - 1))] * (len(groups) - 1)
    visits = sum(count * share for count, share in zip(groups, levels, strict=True))
    return num_rows * visits * (per_row + 30)  # 30: what a visit costs besides


def _probe(params: PipelineParams, corpus: Corpus, shape: _Shape) -> dict[str, float]:
    """Seconds of each linear stage, scaled from a sample trained here and now."""
    sample = corpus.subset(shape.sample)
    Y = as_csr(sample.Y)
    used = np.unique(Y.indices)
    small = Corpus(
        texts=sample.texts, Y=as_csr(Y[:, used]), X=sample.X,
        labels=type(corpus.labels).from_ids([str(label) for label in used]),
    )  # fmt: skip
    clock, probed = _Clock(), replace(params, encoder=None, fused=False, num_trees=1)
    for _ in range(2):  # the first time kernels are compiled, or read from the disk
        clock.seconds.clear()
        started = time.perf_counter()
        Trainer(probed, progress=clock).fit(small)
        total = time.perf_counter() - started
    tree = clock.of("label features", "cluster labels")
    rankers = clock.of("rankers")
    features = max(0.0, total - tree - rankers) if corpus.texts is not None else 0.0
    scale = shape.num_rows / len(shape.sample)
    sizes = (
        (shape.num_rows, shape.num_labels), (len(shape.sample), len(used)),
    )  # fmt: skip
    whole, part = (
        _work(params.tree, rows, labels, shape.per_row, shape.labels_per_row)
        for rows, labels in sizes
    )
    splits = np.log2(2 + shape.num_labels / params.tree.max_leaf_size)
    splits /= np.log2(2 + len(used) / params.tree.max_leaf_size)
    found = {
        "features": features * scale,
        "tree": tree * scale * splits,
        "rankers": rankers * whole / part * 1.3,  # larger clusters take more sweeps
    }
    if params.encoder is not None:
        from xrt.pipeline.estimate.encoder import encoder_seconds

        found["matcher"] = encoder_seconds(params, corpus, shape.sample)
    return found


def _deep_stages(
    params: PipelineParams,
    shape: _Shape,
    solver: int,
    weights: int,
    seconds: Mapping[str, float],
) -> Sequence[StageCost]:
    """Matcher with its encoding; and hybrid rankers, trained once without the held-out rows and
    once with them, with the linear ones once more without.
    """
    assert params.encoder is not None
    hidden, parameters = 768, 110_000_000
    if "minilm" in params.encoder.name.lower() or "tiny" in params.encoder.name:
        hidden, parameters = 384, 23_000_000
    tokens = 4 * shape.num_rows * min(params.encoder.max_length, int(2 * shape.per_row) + 8)
    embeddings = 4 * hidden * shape.num_rows
    activations = 40 * params.matcher.token_budget * hidden * 12
    dense = 4 * hidden * shape.num_labels
    matcher = StageCost(
        name="matcher",
        seconds=seconds.get("matcher"),
        memory=16 * parameters + activations + embeddings,
        disk=tokens + embeddings + 4 * parameters * 3,
    )
    trees = params.num_deep_trees
    rankers = StageCost(
        name=f"hybrid rankers, {trees} tree(s)",
        seconds=_times(seconds.get("rankers"), 2 * HYBRID_TREE * trees + params.num_trees),
        memory=solver + 3 * embeddings + 2 * dense,
        disk=4 * trees * (weights + dense),
    )
    return matcher, rankers


def _times(seconds: float | None, factor: int) -> float | None:
    return None if seconds is None else seconds * factor


class _Clock:
    """A `Progress` that adds up what each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._step, self._started = "", 0.0

    def start(self, description: str, total: int | None) -> None:
        self._step, self._started = description, time.perf_counter()

    def advance(self, n: int = 1, **figures: float) -> None:
        pass

    def finish(self) -> None:
        took = time.perf_counter() - self._started
        self.seconds[self._step] = self.seconds.get(self._step, 0.0) + took

    def of(self, *steps: str) -> float:
        return sum(took for name, took in self.seconds.items() if name.startswith(steps))
