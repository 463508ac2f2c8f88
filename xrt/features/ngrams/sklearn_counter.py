"""scikit-learn's counter behind the interface of `NgramCounter`.

It takes any token pattern, so it stands in where the fast counter cannot; and it is what that one
is tested against.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.features.ngrams.terms import Terms
from xrt.features.ngrams.text_blocks import whole
from xrt.features.tfidf_params import TfidfParams
from xrt.progress import Progress

logger = logging.getLogger(__name__)

_PROGRESS_STEP = 500


class SklearnCounter:
    """Counts the n-grams of one kind, 'word' or 'char', with scikit-learn's `CountVectorizer`."""

    def __init__(self, params: TfidfParams, kind: str) -> None:
        self.params, self.kind = params, kind
        self._ready: tuple[Terms, Any] | None = None

    def learn(
        self, texts: Sequence[str], progress: Progress | None = None
    ) -> tuple[Terms, sp.csr_array] | None:
        """Terms within the frequency limits and their counts, csr float32 (N, F); None where no
        term is left.
        """
        params = self.params
        counter = self._counter(
            min_df=params.min_df, max_df=float(params.max_df), max_features=params.max_features
        )
        try:
            counts_NF = counter.fit_transform(_watched(texts, progress))
        except ValueError as error:
            logger.info("no %s n-grams: %s", self.kind, error)
            return None
        return Terms.from_strings(counter.get_feature_names_out().tolist()), _sorted(counts_NF)

    def count(
        self, texts: Sequence[str], terms: Terms, progress: Progress | None = None
    ) -> sp.csr_array:
        """Counts of `terms` in `texts`, csr float32 (N, F)."""
        if self._ready is None or self._ready[0] is not terms:
            self._ready = terms, self._counter(vocabulary=terms.strings())
        return _sorted(self._ready[1].transform(_watched(texts, progress)))

    def _counter(self, **settings: Any) -> Any:
        from sklearn.feature_extraction.text import CountVectorizer

        if self.kind == "word":
            settings["ngram_range"] = (1, self.params.word_ngram_max)
            settings["token_pattern"] = self.params.token_pattern
        else:
            settings |= {"analyzer": "char_wb", "ngram_range": self.params.char_ngrams}
            settings["token_pattern"] = None
        return CountVectorizer(lowercase=self.params.lowercase, dtype=np.float32, **settings)


def _sorted(counts_NF: Any) -> sp.csr_array:
    counts_NF.sort_indices()
    return sp.csr_array(counts_NF)


def _watched(texts: Sequence[str], progress: Progress | None) -> Iterator[str]:
    """The texts one by one, reported every few hundred."""
    for row, text in enumerate(texts, start=1):
        yield whole(text)
        if progress is not None and row % _PROGRESS_STEP == 0:
            progress.advance(_PROGRESS_STEP)
    if progress is not None:
        progress.advance(len(texts) % _PROGRESS_STEP)
