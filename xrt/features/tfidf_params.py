"""The settings of TF-IDF."""

import re
from dataclasses import dataclass, replace

from xrt.errors import ConfigError

MAX_NGRAM = 100
"""Words or characters of an n-gram, at most."""
FEW_TEXTS = 1000
"""Below it a term of one text counts: with 300 library records P@5 rises from 2.7 to 3.0, with
3,000 it falls from 10.0 to 9.6; made-up corpora of 50 to 600 rows gain 6 to 11 at P@1."""
WORDS_OF_TWO = r"(?u)\b\w\w+\b"
"""scikit-learn's words: two or more letters or digits."""
WORDS_OF_ONE = r"(?u)\b\w+\b"
"""Words of one letter too: `C`, `7`."""
WORDS_AND_SIGNS = r"(?u)\b\w(?:\+\+|#)|\b\w+\b"
"""Words of one letter and more; C++ and C# are words, too."""


@dataclass(frozen=True, kw_only=True)
class TfidfParams:
    r"""The terms of TF-IDF, and their weights.

    Counts by their logarithm and words of one letter did better than plain counts of words of two
    letters and more on package descriptions and grocery products, and as well on shopping queries
    (bench/records/2026-11-30-linear-choices.md). On tibkat's library records plain counts are
    better without fusion.
    """

    word_ngram_max: int = 1
    """Word n-grams of 1 to this many words; 0 for none."""
    char_ngrams: tuple[int, int] | None = None
    """Character n-grams within word boundaries, (shortest, longest) in characters; null for
    none."""
    min_df: int | None = None
    """Texts that a term must occur in, at least; null: 2, and 1 for fewer than 1,000 texts."""
    max_features: int | None = None
    """Terms of each block, at most, the most frequent ones; null for all."""
    sublinear_tf: bool = True
    """Whether 1 + ln(count) replaces the count."""
    lowercase: bool = True
    """Whether texts are compared in lower case."""
    token_pattern: str = WORDS_OF_ONE
    """Regular expression of a word; by default one or more letters or digits. Where it asks for
    nothing but a number of letters, combining marks belong to words, and scripts without blanks
    (Chinese, Japanese, Thai, Lao, Khmer, Burmese) give n-grams of 1 to 3 letters. Patterns of
    another kind mean what `re` says, and take longer."""

    def __post_init__(self) -> None:
        """Check the ranges; a list of two numbers is taken for `char_ngrams`."""
        if self.char_ngrams is not None:
            object.__setattr__(self, "char_ngrams", tuple(self.char_ngrams))
        self._check_ngrams()
        if self.min_df is not None and self.min_df < 1:
            raise ConfigError(f"min_df = {self.min_df}: a number of texts, at least 1, is needed")
        if self.max_features is not None and self.max_features < 1:
            raise ConfigError(f"max_features = {self.max_features}: at least 1 or none is needed")
        try:
            num_groups = re.compile(self.token_pattern).groups
        except re.error as error:
            raise ConfigError(
                f"token_pattern = {self.token_pattern!r}: not a regular expression ({error})"
            ) from error
        if num_groups > 1:
            raise ConfigError(
                f"token_pattern = {self.token_pattern!r}: {num_groups} capturing groups, "
                "at most 1 is allowed; write the others as (?:...)"
            )

    def _check_ngrams(self) -> None:
        if not 0 <= self.word_ngram_max <= MAX_NGRAM:
            raise ConfigError(
                f"word_ngram_max = {self.word_ngram_max}: 0 to {MAX_NGRAM} is allowed"
            )
        if self.char_ngrams is not None:
            shortest, longest = (*self.char_ngrams, 0, 0)[:2]
            if len(self.char_ngrams) != 2 or not 1 <= shortest <= longest <= MAX_NGRAM:
                raise ConfigError(
                    f"char_ngrams = {self.char_ngrams}: (shortest, longest) with "
                    f"1 <= shortest <= longest <= {MAX_NGRAM} is needed"
                )
        elif self.word_ngram_max == 0:
            raise ConfigError("word_ngram_max = 0 without char_ngrams leaves no features; set one")

    @property
    def single_words(self) -> "TfidfParams":
        """The same counting of single words alone, without n-grams."""
        return replace(self, word_ngram_max=1, char_ngrams=None)

    def min_df_for(self, num_texts: int) -> int:
        """Texts that a term must occur in, in a corpus of this size.

        Args:
            num_texts: texts of the corpus.

        Returns:
            At least 1.
        """
        if self.min_df is not None:
            return self.min_df
        return 1 if num_texts < FEW_TEXTS else 2

    @property
    def kinds(self) -> tuple[str, ...]:
        """The blocks there are, in column order: 'word', 'char' or both."""
        words = ("word",) if self.word_ngram_max else ()
        return words + (("char",) if self.char_ngrams is not None else ())
