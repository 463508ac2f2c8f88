"""TF-IDF rows of texts, with scikit-learn's semantics, frozen after `fit` and saved without pickle.

A block of word n-grams, a block of character n-grams (within word boundaries), or both. Each block
is what `TfidfVectorizer` gives for the same settings: terms in sorted order, counts (or 1 + ln
count), times idf = ln((1 + n) / (1 + df)) + 1, rows of Euclidean length 1. With both blocks the
rows stand side by side and are scaled to length 1 again, so that words and characters weigh the
same.

N texts, F features (word n-grams first, then character n-grams).
"""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer

from xrt.atomic import save_array, write_json, write_text
from xrt.errors import ArtifactError, ConfigError, DataError, NotFittedError
from xrt.features.tfidf_params import TfidfParams as TfidfParams
from xrt.progress import Progress
from xrt.reading import load_array, read_json_bounded
from xrt.sparse import normalize_rows

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
_MAX_VOCABULARY_BYTES = 4 << 30
_PROGRESS_STEP = 500
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, eq=False)
class _Block:
    """One kind of n-grams: its terms in column order and their idf, float32."""

    kind: str
    terms: list[str]
    idf_F: np.ndarray


class TfidfFeatures:
    """Texts to TF-IDF rows.

    >>> tfidf = TfidfFeatures(TfidfParams(min_df=1)).fit(["red shirt", "blue shirt"])
    >>> tfidf.feature_names()
    ['blue', 'red', 'shirt']
    """

    def __init__(self, params: TfidfParams | None = None) -> None:
        self.params = params or TfidfParams()
        self._blocks: list[_Block] | None = None
        self._counters: list[CountVectorizer] = []

    @property
    def num_features(self) -> int:
        """Number of columns, F."""
        return sum(len(block.terms) for block in self._fitted())

    def feature_names(self) -> list[str]:
        """The term of each column; where words are used too, characters start with 'char:'."""
        blocks = self._fitted()
        return [
            f"char:{term}" if block.kind == "char" and len(blocks) > 1 else term
            for block in blocks
            for term in block.terms
        ]

    def fit(self, texts: Sequence[str], progress: Progress | None = None) -> "TfidfFeatures":
        """Learn the vocabulary and the idf of `texts`. Raises what `fit_transform` raises."""
        self.fit_transform(texts, progress)
        return self

    def fit_transform(self, texts: Sequence[str], progress: Progress | None = None) -> sp.csr_array:
        """Learn vocabulary and idf from `texts` and return their rows, csr float32 (N, F).

        Raises DataError when something other than a list of strings is passed, or when no term
        passes the frequency limits.
        """
        _check_texts(texts)
        blocks, counters, counts = [], [], []
        for kind in self.params.kinds:
            counter = _make_counter(self.params, kind)
            try:
                counts_NF = counter.fit_transform(_watched(texts, f"TF-IDF, {kind}s", progress))
            except ValueError as error:
                logger.info("no %s n-grams: %s", kind, error)
                continue
            terms = counter.get_feature_names_out().tolist()
            blocks.append(_Block(kind, terms, _idf(counts_NF)))
            counters.append(_make_counter(self.params, kind, terms))
            counts.append(counts_NF)
        if not blocks:
            raise DataError(_nothing_left(self.params, len(texts)))
        self._blocks, self._counters = blocks, counters
        return self._weigh(counts)

    def transform(self, texts: Sequence[str], progress: Progress | None = None) -> sp.csr_array:
        """Rows of `texts`, csr float32 (N, F), length 1; a text without known terms is an empty
        row.

        Raises NotFittedError before `fit` or `load`, DataError unless `texts` is a list of strings.
        """
        blocks = self._fitted()
        _check_texts(texts)
        return self._weigh(
            [
                counter.transform(_watched(texts, f"TF-IDF, {block.kind}s", progress))
                for block, counter in zip(blocks, self._counters, strict=True)
            ]
        )

    def save(self, folder: str | Path) -> None:
        """Write parameters and terms (JSON) and the idf (npy) to `folder`."""
        blocks = self._fitted()
        folder = Path(folder)
        for block in blocks:
            terms = json.dumps(block.terms, ensure_ascii=False, indent=0)
            write_text(folder / f"{block.kind}_terms.json", terms + "\n")
            save_array(folder / f"{block.kind}_idf.npy", block.idf_F)
        head = {
            "format_version": FORMAT_VERSION,
            "params": asdict(self.params),
            "blocks": [block.kind for block in blocks],
        }
        write_json(folder / "tfidf.json", head)

    @classmethod
    def load(cls, folder: str | Path) -> "TfidfFeatures":
        """Read what `save` wrote.

        Raises ArtifactError when a file is missing, altered, or of another format version.
        """
        folder = Path(folder)
        path = folder / "tfidf.json"
        head = read_json_bounded(path)
        if not isinstance(head, dict) or head.get("format_version") != FORMAT_VERSION:
            found = head.get("format_version") if isinstance(head, dict) else None
            raise ArtifactError(
                f"{path}: format version {found}, this xrt reads {FORMAT_VERSION}; "
                "use the xrt that wrote it, or train again"
            )
        try:
            loaded = cls(TfidfParams(**head["params"]))
            kinds = [kind for kind in loaded.params.kinds if kind in head["blocks"]]
        except (KeyError, TypeError, ConfigError) as error:
            raise ArtifactError(f"{path}: unusable settings ({error}); train again") from error
        if not kinds:
            raise ArtifactError(f"{path}: names no block of terms; restore the file or train again")
        loaded._blocks = [_load_block(folder, kind) for kind in kinds]
        loaded._counters = [
            _make_counter(loaded.params, block.kind, block.terms) for block in loaded._blocks
        ]
        return loaded

    def _fitted(self) -> list[_Block]:
        if self._blocks is None:
            raise NotFittedError("TfidfFeatures has no vocabulary yet; call fit or load first")
        return self._blocks

    def _weigh(self, counts: list[sp.csr_matrix]) -> sp.csr_array:
        """Counts of each block to rows of length 1, blocks side by side."""
        rows = [
            normalize_rows(_tfidf(counts_NF, block.idf_F, self.params.sublinear_tf))
            for counts_NF, block in zip(counts, self._fitted(), strict=True)
        ]
        if len(rows) == 1:
            return rows[0]
        return normalize_rows(sp.csr_array(sp.hstack(rows, format="csr")))


def _make_counter(
    params: TfidfParams, kind: str, vocabulary: list[str] | None = None
) -> CountVectorizer:
    """scikit-learn's counter of one block; with a `vocabulary` it is ready to transform."""
    if kind == "word":
        settings: dict[str, Any] = {
            "ngram_range": (1, params.word_ngram_max),
            "token_pattern": params.token_pattern,
        }
    else:
        settings = {"analyzer": "char_wb", "ngram_range": params.char_ngrams, "token_pattern": None}
    if vocabulary is None:
        settings |= {
            "min_df": params.min_df,
            "max_df": params.max_df,
            "max_features": params.max_features,
        }
    return CountVectorizer(
        lowercase=params.lowercase, vocabulary=vocabulary, dtype=np.float32, **settings
    )


def _idf(counts_NF: sp.csr_matrix) -> np.ndarray:
    """ln((1 + n) / (1 + df)) + 1 of every column, float32."""
    df_F = np.bincount(counts_NF.indices, minlength=counts_NF.shape[1])
    idf_F: np.ndarray = np.log((1.0 + counts_NF.shape[0]) / (1.0 + df_F)) + 1.0
    return idf_F.astype(np.float32)


def _tfidf(counts_NF: sp.csr_matrix, idf_F: np.ndarray, sublinear_tf: bool) -> sp.csr_array:
    """Counts times idf, rows not yet scaled, indices sorted."""
    counts_NF.sort_indices()
    tf = 1.0 + np.log(counts_NF.data) if sublinear_tf else counts_NF.data
    data = (tf * idf_F[counts_NF.indices]).astype(np.float32, copy=False)
    index_dtype = np.int32 if counts_NF.nnz < 2**31 - 1 else np.int64
    indices = counts_NF.indices.astype(index_dtype, copy=False)
    indptr = counts_NF.indptr.astype(index_dtype, copy=False)
    return sp.csr_array((data, indices, indptr), shape=counts_NF.shape)


def _check_texts(texts: Any) -> None:
    """A list of strings, with at least nothing else in it."""
    if isinstance(texts, str | bytes) or not hasattr(texts, "__len__"):
        raise DataError(f"texts is a {type(texts).__name__}; pass a list of strings")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"text {row} is a {type(text).__name__}, not a string; use '' for a missing text"
            )


def _watched(texts: Sequence[str], step: str, progress: Progress | None) -> Iterator[str]:
    """The texts one by one, reported every few hundred."""
    if progress is not None:
        progress.start(step, len(texts))
    for row, text in enumerate(texts, start=1):
        yield _whole(text)
        if progress is not None and row % _PROGRESS_STEP == 0:
            progress.advance(_PROGRESS_STEP)
    if progress is not None:
        progress.advance(len(texts) % _PROGRESS_STEP)
        progress.finish()


def _whole(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which no UTF-8 file could hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def _nothing_left(params: TfidfParams, num_texts: int) -> str:
    """Why there is no vocabulary, and what to change."""
    return (
        f"no term is left of {num_texts} texts with min_df={params.min_df}, "
        f"max_df={params.max_df:g} and token_pattern={params.token_pattern!r}; "
        "lower min_df, raise max_df, or check that the texts are not empty"
    )


def _load_block(folder: Path, kind: str) -> _Block:
    """Terms and idf of one block, checked against each other."""
    path = folder / f"{kind}_terms.json"
    terms = read_json_bounded(path, _MAX_VOCABULARY_BYTES)
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        raise ArtifactError(f"{path}: not a list of terms; restore the file or train again")
    idf_F = load_array(folder / f"{kind}_idf.npy", np.float32, 1, mmap=False)
    if len(set(terms)) != len(terms) or not 0 < len(terms) == len(idf_F):
        raise ArtifactError(
            f"{path}: {len(terms)} terms ({len(set(terms))} different) for {len(idf_F)} idf "
            "values; restore the file or train again"
        )
    if not (np.isfinite(idf_F).all() and idf_F.min() > 0):
        raise ArtifactError(f"{folder}: {kind} idf holds values not above 0; train again")
    return _Block(kind, terms, idf_F)
