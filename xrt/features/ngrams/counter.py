"""Counts n-grams on all processors: the terms, order and counts of scikit-learn's CountVectorizer.

Texts are counted in blocks, each on one thread: bytes to n-grams (`text`), n-grams to numbers
(`count.learn` when fitting, `count.look_up` afterwards), numbers to rows. The result
depends neither on the number of threads nor on the blocks.

N texts, F terms that stay, V terms seen.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import CapacityError
from xrt.features.ngrams.characters import character_table
from xrt.features.ngrams.count import Learned, count_columns, learn, look_up, merge, nothing_learned
from xrt.features.ngrams.table import MAX_TERMS, Terms, copy_terms, sorted_terms
from xrt.features.ngrams.text import (
    BLOCK_CHARS,
    NgramPlan,
    TextBlocks,
    shortest_word,
    whole,
)
from xrt.features.tfidf_params import WORDS_AND_SIGNS, TfidfParams
from xrt.progress import Progress
from xrt.threads import default_num_threads, run_blocks

logger = logging.getLogger(__name__)


@dataclass
class _ThreadTerms:
    """The terms that a thread has learned, and their numbers in the merged table."""

    learned: Learned = field(default_factory=nothing_learned)
    numbers: np.ndarray | None = None  # None: the same

    def in_merged(self, terms: np.ndarray) -> np.ndarray:
        """Numbers of this table as numbers of the merged table."""
        return terms if self.numbers is None else self.numbers[terms]


@dataclass
class _Stream:
    """The n-grams of a block as numbers of terms of a thread's table."""

    thread_terms: int
    numbers: np.ndarray
    ends_N: np.ndarray


LONGEST_IN_RUN = 3
"""Units of an n-gram in a script without blanks between words, at most."""


class NgramCounter:
    """Counts the n-grams of one kind: 'word' (where `can_count`) or 'char'.

    With `scripts`, words are found in all scripts (see `characters`); without, as scikit-learn
    finds them.
    """

    def __init__(
        self,
        params: TfidfParams,
        kind: str,
        scripts: bool = True,
        block_chars: int = BLOCK_CHARS,
    ) -> None:
        self.params, self.kind, self.scripts = params, kind, scripts
        self.block_chars = block_chars
        self._plan: NgramPlan | None = None

    @staticmethod
    def can_count(params: TfidfParams, kind: str) -> bool:
        """Whether the words of `params` are plain runs of letters, which is all that this counter
        supports.

        Args:
            params: the settings.
            kind: 'word' or 'char'.

        Returns:
            False where scikit-learn must count.
        """
        return kind == "char" or shortest_word(params.token_pattern) is not None

    def learn(
        self, texts: Sequence[str], progress: Progress | None = None
    ) -> tuple[Terms, sp.csr_array] | None:
        """Terms within the frequency limits and their counts, csr float32 (N, F); None where no
        term is left.

        Args:
            texts: N strings.
            progress: receives the progress; None for none.

        Returns:
            Terms and counts (N, F), or None.
        """
        tables, streams = self._learn_blocks(texts, progress)
        learned = _merge_all(tables)
        selected = self._select(learned, tables, streams, len(texts))
        if not len(selected):
            logger.info("no %s n-grams within the frequency limits", self.kind)
            return None
        columns_V = np.full(learned.num_terms, -1, np.int32)
        columns_V[selected] = np.arange(len(selected), dtype=np.int32)
        terms = Terms(*copy_terms(learned.offsets, learned.chars, selected))
        columns_of = [
            columns_V if thread_terms.numbers is None else columns_V[thread_terms.numbers]
            for thread_terms in tables
        ]
        tables.clear()
        del learned, columns_V

        def rows_of(block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            stream = streams[block]
            columns = columns_of[stream.thread_terms][stream.numbers]
            stream.numbers = columns[:0]
            return _rows(columns, stream.ends_N)

        return terms, _stack(run_blocks(rows_of, len(streams)), len(selected))

    def count(
        self, texts: Sequence[str], terms: Terms, progress: Progress | None = None
    ) -> sp.csr_array:
        """Counts of `terms` in `texts`, csr float32 (N, F).

        Args:
            texts: N strings.
            terms: of `learn`.
            progress: receives the progress; None for none.

        Returns:
            csr float32 (N, F).
        """
        blocks, plan = TextBlocks(texts, self.block_chars), self._get_plan()

        def rows_of(block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            text, lengths = blocks.encode(block, self.params.lowercase, self.scripts)
            return _rows(*look_up(text, lengths, plan, terms.table))

        parts = run_blocks(rows_of, len(blocks), None, progress, blocks.num_texts)
        return _stack(parts, len(terms))

    def _get_plan(self) -> NgramPlan:
        if self._plan is None:
            params = self.params
            if self.kind == "char":
                shortest, longest = params.char_ngrams or (0, 0)
                table = character_table(r"\S", params.lowercase, self.scripts)
                self._plan = NgramPlan(table, 1, True, shortest, longest, 0, False)
            else:
                pattern, longest = params.token_pattern, params.word_ngram_max
                table = character_table(r"\w", params.lowercase, self.scripts)
                min_chars, signs = shortest_word(pattern) or 1, pattern == WORDS_AND_SIGNS
                in_run = LONGEST_IN_RUN if self.scripts else 0
                self._plan = NgramPlan(table, min_chars, False, 1, longest, in_run, signs)
        return self._plan

    def _learn_blocks(
        self, texts: Sequence[str], progress: Progress | None
    ) -> tuple[list[_ThreadTerms], list[_Stream]]:
        """Learn all blocks: as many tables as threads, and a stream for each block."""
        blocks, plan = TextBlocks(texts, self.block_chars), self._get_plan()
        tables = [_ThreadTerms() for _ in range(max(1, min(default_num_threads(), len(blocks))))]
        free: SimpleQueue[int] = SimpleQueue()
        for number in range(len(tables)):
            free.put(number)

        def learn_block(block: int) -> _Stream:
            text, lengths = blocks.encode(block, self.params.lowercase, self.scripts)
            first_row = blocks.bounds[block][0]
            number = free.get()
            try:
                thread_terms = tables[number]
                thread_terms.learned, stream, ends_N = learn(
                    text, lengths, first_row, plan, thread_terms.learned
                )
            finally:
                free.put(number)
            if thread_terms.learned.num_terms > MAX_TERMS:
                raise CapacityError(f"more than {MAX_TERMS} different n-grams; use shorter n-grams")
            return _Stream(number, stream, ends_N)

        return tables, run_blocks(learn_block, len(blocks), None, progress, blocks.num_texts)

    def _select(
        self, learned: Learned, tables: list[_ThreadTerms], streams: list[_Stream], num_texts: int
    ) -> np.ndarray:
        """Numbers of the terms that stay, in column order."""
        params = self.params
        df_V = learned.uses[: 2 * learned.num_terms : 2]
        min_df = params.min_df_for(num_texts)
        selected = np.flatnonzero(df_V >= min_df)
        selected = sorted_terms(learned.offsets, learned.chars, selected)
        if params.max_features is None or len(selected) <= params.max_features:
            return selected
        counts_V = np.zeros(learned.num_terms, np.int64)
        for stream in streams:
            numbers = tables[stream.thread_terms].in_merged(stream.numbers)
            counts_V += np.bincount(numbers, minlength=len(counts_V))
        best = (-counts_V[selected].astype(np.float32)).argsort()[: params.max_features]
        return selected[np.sort(best)]


def _merge_all(tables: list[_ThreadTerms]) -> Learned:
    """Bring the tables together pair by pair, and set the numbers of each."""
    groups = [[thread_terms] for thread_terms in tables]

    def merge_pair(pair: int) -> list[_ThreadTerms]:
        into, other = groups[2 * pair], groups[2 * pair + 1]
        into[0].learned, numbers = merge(into[0].learned, other[0].learned)
        other[0].learned = nothing_learned()
        for thread_terms in other:
            thread_terms.numbers = (
                numbers if thread_terms.numbers is None else numbers[thread_terms.numbers]
            )
        return into + other

    while len(groups) > 1:
        odd = groups[len(groups) // 2 * 2 :]
        groups = run_blocks(merge_pair, len(groups) // 2) + odd
    return groups[0][0].learned


def _rows(columns: np.ndarray, ends_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, counts and row ends of a stream of columns, which is overwritten."""
    counts, row_ends_N = np.empty(len(columns), np.float32), np.empty_like(ends_N)
    size = count_columns(columns, ends_N, counts, row_ends_N)
    return columns[:size], counts[:size], row_ends_N


def _stack(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], num_terms: int) -> sp.csr_array:
    """The rows of all blocks as one matrix, csr float32 (N, F)."""
    num_rows = sum(len(row_ends_N) for _, _, row_ends_N in parts)
    nnz = sum(len(columns) for columns, _, _ in parts)
    indices, data = np.empty(nnz, np.int32), np.empty(nnz, np.float32)
    indptr = np.zeros(num_rows + 1, np.int64)
    row, at = 0, 0
    for part in range(len(parts)):
        columns, counts, row_ends_N = parts[part]
        parts[part] = (columns[:0], counts[:0], row_ends_N)
        indices[at : at + len(columns)], data[at : at + len(columns)] = columns, counts
        indptr[row + 1 : row + 1 + len(row_ends_N)] = row_ends_N + at
        row, at = row + len(row_ends_N), at + len(columns)
    if nnz < 2**31 - 1:
        indptr = indptr.astype(np.int32)
    else:
        indices = indices.astype(np.int64)
    return sp.csr_array((data, indices, indptr), shape=(num_rows, num_terms))


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

        Args:
            texts: N strings.
            progress: receives the progress; None for none.

        Returns:
            Terms and counts (N, F), or None.
        """
        params = self.params
        counter = self._counter(
            min_df=params.min_df_for(len(texts)),
            max_features=params.max_features,
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
        """Counts of `terms` in `texts`, csr float32 (N, F).

        Args:
            texts: N strings.
            terms: of `learn`.
            progress: receives the progress; None for none.

        Returns:
            csr float32 (N, F).
        """
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
