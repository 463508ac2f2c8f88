"""A small model of texts in which every source of scores has a say; its encoder is random."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus, LabelTable
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.params import EncoderParams
from xrt.encoder.tiny import write_tiny_encoder
from xrt.estimators import XRLinear
from xrt.fusion.fusion import Fusion
from xrt.hybrid import HybridMatrix
from xrt.model import XrtModel
from xrt.sources.deep import DeepPart
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.label_head import LabelHead
from xrt.sources.neighbours import NeighbourParams, SparseNeighbours
from xrt.sources.ranker import RankerParams, train_ranker
from xrt.sources.shortlist import IndexKind, Shortlist, ShortlistParams, centroids
from xrt.sources.trees import TreeEnsemble

WEIGHTS = dict(linear=0.1, ranker=0.3, matcher=0.2, neighbours=0.3, embedding_neighbours=0.1)


def deep_model(
    corpus: tuple[list[str], sp.csr_array, tuple[str, ...]],
    folder: Path,
    index: IndexKind = IndexKind.flat,
) -> XrtModel:
    """Trained on texts, Y and label names; the encoder is written to the folder."""
    texts, Y_NL, names = corpus
    labels = LabelTable.from_ids(names)
    estimator = XRLinear(max_leaf_size=3, num_threads=1, seed=1)
    linear = estimator.fit(Corpus(texts=texts, Y=Y_NL, labels=labels)).model_
    write_tiny_encoder(folder, texts, seed=0)
    encoder = TextEncoder.from_pretrained(folder, EncoderParams(name="tiny", max_length=16))
    bare = DeepPart(encoder, linear.linear, None, bf16=False)
    X_NF = linear.rows_of(texts)
    X, unit_NH = bare.ranker_rows(X_NF, bare.embed(texts))
    tree = linear.linear.tree
    ranker = train_ranker(HybridMatrix.of(X.sparse, X.dense), Y_NL, tree, RankerParams(), 0, 1)
    few = NeighbourParams(num_neighbours=4)
    weight_LH = np.random.default_rng(0).normal(size=(len(names), 32)).astype(np.float32)
    part = replace(
        bare,
        ranker=TreeEnsemble((ranker,)),
        head=LabelHead(weight_LH, np.zeros(len(names), np.float32)),
        shortlists=(
            Shortlist(
                centroids(unit_NH, tree.level_targets(Y_NL)[0]),
                ShortlistParams(index=index, width=2), level=0,
            ),
        ),
        embedding_neighbours=DenseNeighbours(unit_NH, Y_NL, few),
    )  # fmt: skip
    memory = SparseNeighbours(X_NF, Y_NL, few)
    return replace(linear, deep=part, neighbours=memory, fusion=Fusion(WEIGHTS))
