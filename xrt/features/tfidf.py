"""TF-IDF rows of texts, with scikit-learn's semantics, frozen after `fit` and saved without pickle.

A block of word n-grams, a block of character n-grams (within word boundaries), or both. Each block
is what `TfidfVectorizer` gives for the same settings: terms in sorted order, counts (or 1 + ln
count), times idf = ln((1 + n) / (1 + df)) + 1, rows of Euclidean length 1. With both blocks the
rows stand side by side and are scaled to length 1 again, so that words and characters count the
same.

N texts, F features (word n-grams first, then character n-grams).
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError, ConfigError, DataError, NotFittedError
from xrt.features.ngrams.counter import NgramCounter, SklearnCounter
from xrt.features.ngrams.table import Terms
from xrt.features.tfidf_params import TfidfParams as TfidfParams
from xrt.inputs import check_texts
from xrt.jit import njit
from xrt.progress import Progress
from xrt.sparse import as_csr, normalize_rows
from xrt.storage.atomic import save_array, write_bytes, write_json
from xrt.storage.reading import load_array, read_bytes_bounded
from xrt.storage.saved_values import SavedValues

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2
_MAX_VOCABULARY_BYTES = 4 << 30


@dataclass(frozen=True, eq=False)
class _Block:
    """One kind of n-grams: its terms in column order, their idf (float32), and their counter."""

    kind: str
    terms: Terms
    idf_F: np.ndarray
    counter: NgramCounter | SklearnCounter


class TfidfFeatures:
    """Texts to TF-IDF rows.

    >>> tfidf = TfidfFeatures(TfidfParams(min_df=1)).fit(["red shirt", "blue shirt"])
    >>> tfidf.feature_names()
    ['blue', 'red', 'shirt']
    """

    def __init__(self, params: TfidfParams | None = None) -> None:
        self.params = params or TfidfParams()
        self._blocks: list[_Block] | None = None
        self._scripts = True  # False for a model saved before it was known

    @property
    def num_features(self) -> int:
        """Number of columns, F."""
        return sum(len(block.terms) for block in self._fitted())

    @property
    def block_sizes(self) -> dict[str, int]:
        """Columns of each block, 'word' and 'char', in column order."""
        return {block.kind: len(block.terms) for block in self._fitted()}

    def feature_names(self) -> list[str]:
        """The term of each column; where words are used too, characters start with 'char:'.

        Returns:
            F strings.
        """
        blocks = self._fitted()
        return [
            f"char:{term}" if block.kind == "char" and len(blocks) > 1 else term
            for block in blocks
            for term in block.terms.strings()
        ]

    def feature_name(self, column: int) -> str:
        """The term of one column, as in `feature_names`.

        Args:
            column: 0 to F - 1.

        Returns:
            The term.

        Raises:
            DataError: there is no such column.
            NotFittedError: before `fit` or `load`.
        """
        blocks, place = self._fitted(), column
        for block in blocks:
            if 0 <= place < len(block.terms):
                term = block.terms[place]
                return f"char:{term}" if block.kind == "char" and len(blocks) > 1 else term
            place -= len(block.terms)
        raise DataError(f"column {column} is none of the {self.num_features} features")

    def fit(self, texts: Sequence[str], progress: Progress | None = None) -> "TfidfFeatures":
        """Learn the vocabulary and the idf of `texts`.

        Args:
            texts: N strings.
            progress: receives the progress; None for none.

        Returns:
            The object itself.

        Raises:
            DataError: as for `fit_transform`.
        """
        self.fit_transform(texts, progress)
        return self

    def fit_transform(self, texts: Sequence[str], progress: Progress | None = None) -> sp.csr_array:
        """Learn vocabulary and idf from `texts` and return their rows, csr float32 (N, F).

        Args:
            texts: N strings.
            progress: receives the progress; None for none.

        Returns:
            csr float32 (N, F).

        Raises:
            DataError: `texts` is no list of strings, or no term passes the frequency limits.
        """
        texts = check_texts(texts)
        learned = self._learn(texts, self.params, progress)
        if not learned and self.params.min_df is None and texts:
            learned = self._learn(texts, replace(self.params, min_df=1), progress)
            if learned:
                logger.warning(
                    "no term occurs in two of %d texts: those of one text are taken (min_df 1)",
                    len(texts),
                )
        if not learned:
            raise DataError(_nothing_left(self.params, len(texts)))
        self._blocks = [block for block, _ in learned]
        return self._weigh([counts_NF for _, counts_NF in learned])

    def _learn(
        self, texts: Sequence[str], params: TfidfParams, progress: Progress | None
    ) -> list[tuple[_Block, sp.csr_array]]:
        """Blocks that have terms, with their counts (N, F of the block)."""
        learned = []
        for kind in params.kinds:
            counter = _make_counter(params, kind, self._scripts)
            if progress is not None:
                progress.start(f"TF-IDF, {kind}s", len(texts))
            result = counter.learn(texts, progress)
            if progress is not None:
                progress.finish()
            if result is not None:
                terms, counts_NF = result
                learned.append((_Block(kind, terms, idf_of(counts_NF), counter), counts_NF))
        return learned

    def transform(self, texts: Sequence[str], progress: Progress | None = None) -> sp.csr_array:
        """Rows of `texts`, csr float32 (N, F), length 1; a text without known terms is an empty
        row.

        Args:
            texts: N strings.
            progress: receives the progress; None for none.

        Returns:
            csr float32 (N, F).

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: `texts` is no list of strings.
        """
        blocks = self._fitted()
        texts = check_texts(texts)
        counts = []
        for block in blocks:
            if progress is not None:
                progress.start(f"TF-IDF, {block.kind}s", len(texts))
            counts.append(block.counter.count(texts, block.terms, progress))
            if progress is not None:
                progress.finish()
        return self._weigh(counts)

    def single_words(self, texts: Sequence[str]) -> tuple[sp.csr_array, np.ndarray] | None:
        """The single words of texts, each once, with their idf; a word that is no column counts as
        much as the rarest that is one.

        Args:
            texts: N strings.

        Returns:
            The idf of the words that are columns, csr float32 (N, F), and the sum over all words,
            float64 (N,); None where no column is a word, or no text has one.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: `texts` is no list of strings.
        """
        block = next((block for block in self._fitted() if block.kind == "word"), None)
        if block is None:
            return None
        every = replace(self.params.single_words, min_df=1, max_features=None)
        learned = _make_counter(every, "word", self._scripts).learn(check_texts(texts))
        if learned is None:
            return None
        terms, counts_NV = learned
        column_of = {term: column for column, term in enumerate(block.terms.strings())}
        columns_V = np.array([column_of.get(term, -1) for term in terms.strings()], np.int64)
        idf_V = np.where(columns_V < 0, block.idf_F.max(), block.idf_F[columns_V])
        known_V = np.flatnonzero(columns_V >= 0)
        ones_NV = sp.csr_array(
            (np.ones(counts_NV.nnz), counts_NV.indices, counts_NV.indptr), shape=counts_NV.shape
        )
        places_VF = sp.csr_array(
            (idf_V[known_V], (known_V, columns_V[known_V])), shape=(len(idf_V), self.num_features)
        )
        return as_csr(ones_NV @ places_VF), ones_NV @ idf_V.astype(np.float64)

    def save(self, folder: str | Path) -> None:
        """Write parameters (JSON), terms (text, one a line) and the idf (npy) to `folder`.

        Args:
            folder: a folder.

        Raises:
            NotFittedError: before `fit` or `load`.
        """
        blocks = self._fitted()
        folder = Path(folder)
        for block in blocks:
            write_bytes(folder / f"{block.kind}_terms.txt", block.terms.to_text())
            save_array(folder / f"{block.kind}_idf.npy", block.idf_F)
        head = {
            "format_version": FORMAT_VERSION,
            "params": asdict(self.params),
            "blocks": [block.kind for block in blocks],
            "scripts": self._scripts,
        }
        write_json(folder / "tfidf.json", head)

    @classmethod
    def load(cls, folder: str | Path) -> "TfidfFeatures":
        """Read what `save` wrote.

        Args:
            folder: a folder.

        Returns:
            The features, fitted.

        Raises:
            ArtifactError: a file is missing, altered, or of another format version.
        """
        folder = Path(folder)
        head = SavedValues.read(folder / "tfidf.json")
        if head.content.get("format_version") != FORMAT_VERSION:
            raise ArtifactError(
                f"{head.where}: format version {str(head.content.get('format_version'))[:20]}, "
                f"this xrt reads {FORMAT_VERSION}; use the xrt that wrote it, or train again"
            )
        loaded = cls(_saved_params(head.part("params")))
        saved_kinds = head.texts("blocks")
        kinds = [kind for kind in loaded.params.kinds if kind in saved_kinds]
        if not kinds or len(kinds) != len(saved_kinds):
            raise ArtifactError(
                f"{head.where}: blocks {saved_kinds!r}, of which none or others are used; "
                "restore the file or train again"
            )
        loaded._scripts = head.has("scripts") and head.flag("scripts")
        counters = {kind: _make_counter(loaded.params, kind, loaded._scripts) for kind in kinds}
        loaded._blocks = [_load_block(folder, kind, counters[kind]) for kind in kinds]
        return loaded

    def _fitted(self) -> list[_Block]:
        if self._blocks is None:
            raise NotFittedError("TfidfFeatures has no vocabulary yet; call fit or load first")
        return self._blocks

    def _weigh(self, counts: list[sp.csr_array]) -> sp.csr_array:
        """Counts of each block, overwritten, to rows of length 1, blocks side by side."""
        for counts_NF, block in zip(counts, self._fitted(), strict=True):
            weigh(counts_NF, block.idf_F, self.params.sublinear_tf)
        if len(counts) == 1:
            return counts[0]
        return normalize_rows(sp.csr_array(sp.hstack(counts, format="csr")))


def _saved_params(saved: SavedValues) -> TfidfParams:
    """Settings as `asdict` wrote them. Raises ArtifactError for anything else."""
    chars = saved.has("char_ngrams")
    try:
        return TfidfParams(
            word_ngram_max=saved.whole("word_ngram_max"),
            char_ngrams=saved.whole_numbers("char_ngrams", 2) if chars else None,  # type: ignore[arg-type]
            min_df=saved.whole("min_df", 1) if saved.has("min_df") else None,
            max_features=saved.whole("max_features", 1) if saved.has("max_features") else None,
            sublinear_tf=saved.flag("sublinear_tf"),
            lowercase=saved.flag("lowercase"),
            token_pattern=saved.text("token_pattern"),
        )
    except (ConfigError, RecursionError, OverflowError) as error:  # the last two by a pattern
        raise ArtifactError(
            f"{saved.where}: unusable settings ({error}); restore the file or train again"
        ) from error


def _make_counter(params: TfidfParams, kind: str, scripts: bool) -> NgramCounter | SklearnCounter:
    """The fast counter, or scikit-learn's for words that only a regular expression can find."""
    if NgramCounter.can_count(params, kind):
        return NgramCounter(params, kind, scripts)
    return SklearnCounter(params, kind)


def _nothing_left(params: TfidfParams, num_texts: int) -> str:
    """The message for an empty vocabulary."""
    return (
        f"no term is left of {num_texts} texts with min_df {params.min_df_for(num_texts)} and "
        f"token_pattern {params.token_pattern!r}; lower min_df, or check that the texts are not "
        "empty"
    )


def _load_block(folder: Path, kind: str, counter: NgramCounter | SklearnCounter) -> _Block:
    """Terms and idf of one block, checked against each other."""
    path = folder / f"{kind}_terms.txt"
    text = read_bytes_bounded(path, _MAX_VOCABULARY_BYTES)
    idf_F = load_array(folder / f"{kind}_idf.npy", np.float32, 1, mmap=False)
    try:
        terms = Terms.from_text(text)
    except ValueError as error:  # twice the same, no end, or not UTF-8
        raise ArtifactError(
            f"{path}: not a list of different terms ({error}); restore the file or train again"
        ) from error
    if len(terms) != len(idf_F):
        raise ArtifactError(
            f"{path}: {len(terms)} terms for {len(idf_F)} idf values; restore the file or train "
            "again"
        )
    if not (len(idf_F) and np.isfinite(idf_F).all() and idf_F.min() > 0):
        raise ArtifactError(f"{folder}: {kind} idf holds values not above 0; train again")
    return _Block(kind, terms, idf_F, counter)


def idf_of(counts_NF: sp.csr_array) -> np.ndarray:
    """ln((1 + n) / (1 + df)) + 1 of every column, float32 (F,).

    Args:
        counts_NF: counts of terms.

    Returns:
        float32 (F,).
    """
    df_F = np.bincount(counts_NF.indices, minlength=counts_NF.shape[1])
    idf_F: np.ndarray = np.log((1.0 + counts_NF.shape[0]) / (1.0 + df_F)) + 1.0
    return idf_F.astype(np.float32)


def weigh(counts_NF: sp.csr_array, idf_F: np.ndarray, sublinear_tf: bool) -> None:
    """Turn counts (float32) into TF-IDF rows of length 1, in place.

    Args:
        counts_NF: float32 counts, overwritten.
        idf_F: of `idf_of`.
        sublinear_tf: whether 1 + ln(count) replaces the count.
    """
    if sublinear_tf:
        np.log(counts_NF.data, out=counts_NF.data)
        counts_NF.data += 1.0
    _weigh_rows(counts_NF.indptr, counts_NF.indices, counts_NF.data, idf_F)


@njit(nogil=True, cache=True)
def _weigh_rows(
    indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, idf_F: np.ndarray
) -> None:
    for row in range(len(indptr) - 1):
        squares = 0.0
        for i in range(indptr[row], indptr[row + 1]):
            data[i] *= idf_F[indices[i]]
            squares += np.float64(data[i]) * np.float64(data[i])
        length = np.sqrt(squares)
        for i in range(indptr[row], indptr[row + 1]):
            data[i] = np.float64(data[i]) / length
