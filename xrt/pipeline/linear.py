"""The linear model in memory: features, tree, rankers, without files in between."""

from xrt.data.corpus import Corpus
from xrt.features.label_features import pifa
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix
from xrt.model import XrtModel
from xrt.pipeline.fit import MAX_PIFA_FEATURES
from xrt.progress import Progress
from xrt.ranker import RankerParams, train_ranker
from xrt.search.beam import SearchParams
from xrt.sparse import as_csr, normalize_rows
from xrt.tree.clustering import TreeParams, build_tree


def train_linear(
    corpus: Corpus,
    *,
    features: TfidfParams,
    tree: TreeParams,
    ranker: RankerParams,
    search: SearchParams,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> XrtModel:
    """Train the linear model on the corpus's texts, or on its rows where it has no texts."""
    vectoriser = None
    if corpus.texts is not None:
        vectoriser = TfidfFeatures(features)
        X_NF = vectoriser.fit_transform(corpus.texts, progress)
    else:
        assert corpus.X is not None
        X_NF = normalize_rows(as_csr(corpus.X, "X"))
    Z_LF = pifa(X_NF, corpus.Y, max_features_per_label=MAX_PIFA_FEATURES, num_threads=num_threads)
    label_tree = build_tree(HybridMatrix.of(Z_LF), tree, seed, num_threads, progress)
    rankers = train_ranker(
        HybridMatrix.of(X_NF), corpus.Y, label_tree, ranker, seed, num_threads, progress
    )
    return XrtModel(corpus.labels, vectoriser, rankers, search=search)
