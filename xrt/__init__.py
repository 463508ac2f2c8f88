"""xrt: an XR-Transformer that tags text with the right few labels out of thousands to millions.

The floors, lowest first; each imports only what is above it in this list (an import-linter contract
in pyproject.toml enforces it):

    errors        what can go wrong, in kinds
    progress      how long work reports where it stands
    jit           numba, and where its machine code is kept
    processors    how many of them this process may use
    threads       blocks of numba work on a thread pool
    atomic        files and folders that are either whole or absent
    hashing       content hashes that are the same everywhere
    reading       files nobody vouches for, checked before use
    inventory     what lies in a folder: sizes and SHA-256
    sparse        CSR primitives: the one form of X, Y and scores
    hybrid        feature rows in two blocks, [sparse | dense]
    data/         corpus, label table, readers and writers, splits, the demo catalogue
    metrics/      P@k, nDCG@k, PSP@k ...; propensities; tables by attribute
    features/     text -> X (TF-IDF); PIFA and label text -> Z
    tree/         balanced k-means, the label tree, candidates, scores along a path
    linear/       one-vs-rest on candidate rows
    encoder/      the transformer: batches, heads, loss, matcher, training level by level
    ranker        every level of the tree on [TF-IDF ; embedding]
    search/       beam search, neighbours, fusion, calibration
    artifact      the saved folder: manifest, hashes, no pickle
    stages        steps whose outputs are kept and skipped when nothing changed
    model_card    what a saved model tells its reader
    report        a run as one page
    deep          what an encoder adds to a model; the only part that loads torch
    model         everything a trained model holds, and how it answers
    predict       `Predictor`: load a folder, tag texts
    evaluate      a model against a labelled file
    pipeline/     the stages of a training run, in order
    estimators    `XRLinear`, `XRTransformer` in scikit-learn's conventions
    applications/ attributes, query intent, audit
    config, cli   hydra and the command line stop here

`import xrt` is quick: it loads neither torch nor numba; the names below arrive when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from xrt.data.corpus import Corpus as Corpus
    from xrt.data.corpus import LabelTable as LabelTable
    from xrt.data.formats import read_corpus as read_corpus
    from xrt.data.formats import write_corpus as write_corpus
    from xrt.errors import XrtError as XrtError
    from xrt.estimators import XRLinear as XRLinear
    from xrt.estimators import XRTransformer as XRTransformer
    from xrt.metrics.report import evaluate_ranking as evaluate_ranking
    from xrt.predict import Predictor as Predictor
    from xrt.predict import Suggestion as Suggestion

_HOMES = {
    "Corpus": "xrt.data.corpus",
    "LabelTable": "xrt.data.corpus",
    "Predictor": "xrt.predict",
    "Suggestion": "xrt.predict",
    "XRLinear": "xrt.estimators",
    "XRTransformer": "xrt.estimators",
    "XrtError": "xrt.errors",
    "evaluate_ranking": "xrt.metrics.report",
    "read_corpus": "xrt.data.formats",
    "write_corpus": "xrt.data.formats",
}

__all__ = [
    "Corpus",
    "LabelTable",
    "Predictor",
    "Suggestion",
    "XRLinear",
    "XRTransformer",
    "XrtError",
    "__version__",
    "evaluate_ranking",
    "read_corpus",
    "write_corpus",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'xrt' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
