"""A small model of texts in which every source of scores has a say; its encoder is random."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus, LabelTable
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.params import EncoderParams
from xrt.encoder.tiny import write_tiny_encoder
from xrt.estimators import XRLinear
from xrt.features.name_words import name_words
from xrt.fusion.fusion import Fusion
from xrt.model import XrtModel
from xrt.model_encoder import ModelEncoder
from xrt.sources.base import Source
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.hybrid_trees import HybridTrees
from xrt.sources.label_head import LabelHead
from xrt.sources.label_names import LabelNames
from xrt.sources.name_meanings import NameMeanings
from xrt.sources.neighbours import NeighbourParams, SparseNeighbours
from xrt.sources.ranker import RankerParams, train_ranker
from xrt.sources.registry import by_name
from xrt.sources.trees import TreeEnsemble

WEIGHTS = dict(
    linear=0.1, ranker=0.2, matcher=0.2, neighbours=0.2, embedding_neighbours=0.1, label_names=0.1,
    name_meanings=0.1,
)  # fmt: skip


def deep_model(
    corpus: tuple[list[str], sp.csr_array, tuple[str, ...]],
    folder: Path,
) -> XrtModel:
    """Trained on texts, Y and label names; the encoder is written to the folder."""
    texts, Y_NL, names = corpus
    labels = LabelTable.from_ids(names)
    estimator = XRLinear(max_leaf_size=3, num_threads=1, seed=1)
    linear = estimator.fit(Corpus(texts=texts, Y=Y_NL, labels=labels)).model_
    write_tiny_encoder(folder, texts, seed=0)
    encoder = TextEncoder.from_pretrained(folder, EncoderParams(name="tiny", max_length=16))
    bare = replace(linear, encoder=ModelEncoder(encoder, bf16=False))
    rows, tree = bare.source_rows(texts), linear.trees.tree
    ranker = train_ranker(rows.hybrid, Y_NL, tree, RankerParams(), 0, 1)
    few = NeighbourParams(num_neighbours=4)
    weight_LH = np.random.default_rng(0).normal(size=(len(names), 32)).astype(np.float32)
    return joined(
        bare,
        HybridTrees(TreeEnsemble((ranker,))),
        LabelHead(weight_LH, np.zeros(len(names), np.float32)),
        DenseNeighbours(rows.unit_NH, Y_NL, few),
        SparseNeighbours(rows.X.sparse, Y_NL, few),
        names_in(linear, names),
        meanings_of(bare, names),
        fusion=Fusion(WEIGHTS),
    )


def names_in(model: XrtModel, names: Sequence[str]) -> LabelNames:
    """The source that finds these names in texts."""
    words = name_words(names, model.features)
    assert words is not None
    return LabelNames(words)


def meanings_of(model: XrtModel, names: Sequence[str]) -> NameMeanings:
    """The names as vectors, embedded as texts are; the first label has no name."""
    unit_LH = model.source_rows(list(names)).unit_NH.copy()
    unit_LH[0] = 0
    return NameMeanings.of(unit_LH, np.arange(1, len(names)))


def joined(model: XrtModel, *sources: Source, **changes: Any) -> XrtModel:
    """The model with these sources in the place of its own of their names, or beside them."""
    return replace(model, sources=by_name([*model.sources.values(), *sources]), **changes)


def without(model: XrtModel, *kinds: type[Source], **changes: Any) -> XrtModel:
    """The model without sources of these kinds."""
    sources = [source for source in model.sources.values() if not isinstance(source, kinds)]
    return replace(model, sources=by_name(sources), **changes)
