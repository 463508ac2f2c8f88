"""Texts in blocks, as the bytes the kernels read."""

import re
from collections.abc import Sequence

import numpy as np

from xrt.features.ngrams.characters import HARD_TO_LOWER

BLOCK_CHARS = 1 << 18
_SURROGATE = re.compile("[\ud800-\udfff]")


class TextBlocks:
    """Texts cut into blocks of about `block_chars` characters, with at least one text each."""

    def __init__(self, texts: Sequence[str], block_chars: int = BLOCK_CHARS) -> None:
        self.texts = texts if isinstance(texts, list) else list(texts)
        self.lengths_N = np.fromiter(map(len, texts), np.int64, len(texts))
        self.bounds: list[tuple[int, int]] = []
        ends_N = np.cumsum(self.lengths_N)
        lo, before = 0, 0
        while lo < len(texts):
            hi = max(lo + 1, int(np.searchsorted(ends_N, before + block_chars, side="right")))
            self.bounds.append((lo, hi))
            lo, before = hi, int(ends_N[hi - 1])

    def __len__(self) -> int:
        return len(self.bounds)

    def num_texts(self, block: int) -> int:
        """Texts of a block."""
        lo, hi = self.bounds[block]
        return hi - lo

    def encode(self, block: int, lowercase: bool) -> tuple[np.ndarray, np.ndarray]:
        """The texts of a block in UTF-8, one after another (uint8), and the number of characters
        of each (int64).

        With `lowercase`, texts with a character that no table can lower are lowered here.
        """
        lo, hi = self.bounds[block]
        texts, lengths = self.texts[lo:hi], self.lengths_N[lo:hi]
        together = "".join(texts)
        if lowercase and any(char in together for char in HARD_TO_LOWER):
            texts = [_lower(text) for text in texts]
            lengths = np.fromiter(map(len, texts), np.int64, len(texts))
            together = "".join(texts)
        try:
            data = together.encode()
        except UnicodeEncodeError:
            data = whole(together).encode()
        return np.frombuffer(data or b"\n", np.uint8), lengths


def whole(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which no UTF-8 could hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def _lower(text: str) -> str:
    return text.lower() if any(char in text for char in HARD_TO_LOWER) else text
