"""`XRLinear` and `XRTransformer`: the pipeline with scikit-learn's manners.

N rows, L labels, F features. `fit` takes a corpus, texts with Y, or a matrix of rows with Y; scores
come back as `csr_array` (N, L) in [0, 1]. Settings are plain arguments; what is not here stands in
the parameter dataclasses, which `xrt train` sets in full.
"""

from xrt.estimators.base import corpus_of as corpus_of
from xrt.estimators.linear import XRLinear as XRLinear
from xrt.estimators.presets import PRESETS as PRESETS
from xrt.estimators.transformer import XRTransformer as XRTransformer
