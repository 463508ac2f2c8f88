"""What a model may be given: texts, or rows of features."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.hybrid import HybridMatrix


def is_texts(inputs: Any) -> bool:
    """True for a sequence of strings; one string alone is refused.

    Raises DataError for a lone string: it would be taken for a list of letters.
    """
    if isinstance(inputs, str):
        raise DataError("one string where a list of texts is needed; write [text]")
    if sp.issparse(inputs) or isinstance(inputs, HybridMatrix):
        return False
    if isinstance(inputs, np.ndarray) and inputs.dtype.kind in "fiub":
        return False
    return all(isinstance(text, str) for text in inputs)


def as_inputs(X: Any) -> Any:
    """Texts or rows that can be gone through twice: what an iterator gives is put in a list."""
    if isinstance(X, str | HybridMatrix) or hasattr(X, "__len__") or sp.issparse(X):
        return X
    return list(X)
