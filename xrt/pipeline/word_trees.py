"""Trees that see the words of a text alone, among trees that see n-grams of characters too.

Where TF-IDF has both blocks, words first, the trees of the linear model differ in what they see: of
several the second, fourth, ... has all columns, the others those of words. A tree on words takes a
fraction of the time, and trees that see different things err differently.

N rows, F columns, W of them words.
"""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from xrt.features.tfidf import TfidfFeatures
from xrt.hybrid import HybridMatrix
from xrt.pipeline.params import PipelineParams
from xrt.sources.ranker import RankerParams


def word_columns(
    params: PipelineParams, features: TfidfFeatures | None, num_dense: int = 0
) -> int | None:
    """How many columns the trees on words see.

    Args:
        params: of these, `num_trees` is used.
        features: what made the rows; None for rows that came as they are.
        num_dense: dense columns of the rows.

    Returns:
        W; None where every tree sees all columns.
    """
    if params.num_trees == 1 or features is None or num_dense:
        return None
    sizes = features.block_sizes
    return sizes["word"] if len(sizes) > 1 and "word" in sizes else None


def word_inputs(params: PipelineParams, features: TfidfFeatures | None) -> dict[str, str]:
    """What says to a stage that some trees see words alone.

    Args:
        params: of these, `num_trees` is used.
        features: what made the rows; None for rows that came as they are.

    Returns:
        An input by its name; empty where every tree sees all columns.
    """
    words = word_columns(params, features)
    return {} if words is None else {"word trees": str(words)}


def columns_of(index: int, words: int | None) -> int | None:
    """The columns that a tree sees.

    Args:
        index: number of the tree, from 0.
        words: what `word_columns` gave.

    Returns:
        W for a tree on words; None for all columns.
    """
    return None if index % 2 else words


def first_columns(X: HybridMatrix, num_columns: int) -> HybridMatrix:
    """The rows without the sparse entries behind the first columns; the number of columns stays.

    Args:
        X: N rows of F columns.
        num_columns: W.

    Returns:
        N rows of F columns.
    """
    kept = sp.csr_array(X.sparse[:, :num_columns])
    kept.resize(X.sparse.shape)
    return replace(X, sparse=kept)


def ranker_params_of(params: RankerParams, X: HybridMatrix) -> RankerParams:
    """Settings that solve the problem of rows of length 1 for rows of words, whose length is 1/√2
    beside the block of characters.

    Weights come out √2 times as large for the same margins, so that a cost counts half as much
    against their length, and a threshold means √2 times as much.

    Args:
        params: the settings for rows of length 1.
        X: the rows, with their words alone.

    Returns:
        The settings.
    """
    threshold = params.threshold_for(X.sparse.nnz / max(X.num_rows, 1), X.num_rows)
    return replace(
        params,
        cost_positive=2 * params.cost_positive,
        cost_negative=2 * params.cost_negative,
        threshold=float(np.sqrt(2) * threshold),
    )
