"""How many labels each source of scores names for a row."""

import scipy.sparse as sp

from xrt.pipeline.params import PipelineParams
from xrt.sources.base import CANDIDATES

PER_ATTRIBUTE = 8
"""Labels named for each attribute of a row, on average: the decoder chooses among them."""


def num_candidates(num_attributes: int) -> int:
    """Labels named for a row that has a value of each of so many attributes; 0: for any row."""
    return max(CANDIDATES, PER_ATTRIBUTE * num_attributes)


def num_candidates_of(params: PipelineParams, Y_NL: sp.csr_array) -> int:
    """Labels named for a row in training: with a schema, the more the more attributes rows give."""
    if params.schema is None:
        return num_candidates(0)
    return num_candidates(int((Y_NL.indptr[1:] - Y_NL.indptr[:-1]).max(initial=0)))
