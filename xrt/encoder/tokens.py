"""Texts to tokens: the one place where a tokenizer is called, and the store of what it gave.

A tokenizer reads a text to its end before it cuts it, so a text of megabytes would take seconds and
gigabytes for its first hundred tokens. Texts are therefore cut by characters first, generously:
the tokens are those of the whole text, except where `max_length` tokens take more than
`MOST_CHARS_PER_TOKEN` characters each or `MOST_CHARS` together (a megabyte of blanks, say).

Tokens of many texts are made once and memory-mapped, as one flat int32 array and row pointers: row
i holds `ids[indptr[i]:indptr[i + 1]]`, special tokens included, cut at `max_length`.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xrt.errors import ArtifactError
from xrt.features.ngrams.text import whole
from xrt.progress import Progress
from xrt.storage.atomic import atomic_folder, save_array, write_json
from xrt.threads import default_num_threads

CHARS_PER_TOKEN = 16
"""Characters a token of the first cut; words of natural languages have 4 to 6 a token."""
MOST_CHARS_PER_TOKEN = 1024
"""Characters a token that are read at the most."""
MOST_CHARS = 1 << 20
"""Characters of a text that are read at the most."""
MAX_WORD = 256
"""A cut is made at a blank where one is so near; WordPiece drops words above 100 characters."""


def token_ids(
    texts: Sequence[str], tokenizer: Any, max_length: int
) -> tuple[list[list[int]], list[bool]]:
    """The ids of each text's tokens, and whether the text was longer.

    Args:
        texts: What to read. Half a surrogate pair, which no tokenizer takes, is read as U+FFFD.
        tokenizer: The encoder's own, of transformers.
        max_length: Tokens that are read, special ones included.

    Returns:
        Two lists of N: ids, at most `max_length` of them; True where the text has more tokens.
    """
    from_end = getattr(tokenizer, "truncation_side", "right") == "left"
    first = max(4 * MAX_WORD, CHARS_PER_TOKEN * max_length)
    limit = max(first, min(MOST_CHARS_PER_TOKEN * max_length, MOST_CHARS))
    heads = [_head(text, first, from_end) for text in texts]
    rows, longer = _call(tokenizer, heads, max_length)
    # a head with room for more tokens did not say all: the text has long words or many blanks
    short = [
        i
        for i, (text, head) in enumerate(zip(texts, heads, strict=True))
        if len(head) < len(text) and len(rows[i]) < max_length
    ]
    if short:
        again = [_head(texts[i], limit, from_end) for i in short]
        for i, row, more in zip(short, *_call(tokenizer, again, max_length), strict=True):
            rows[i], longer[i] = row, more or len(texts[i]) > limit
            heads[i] = texts[i]
    for i, (text, head) in enumerate(zip(texts, heads, strict=True)):
        longer[i] = longer[i] or len(head) < len(text)
    return rows, longer


def _call(tokenizer: Any, texts: list[str], max_length: int) -> tuple[list[list[int]], list[bool]]:
    """What the tokenizer makes of some texts."""
    coded = tokenizer(
        [whole(text) for text in texts], truncation=True, max_length=max_length,
        return_token_type_ids=False, return_attention_mask=False,
    )  # fmt: skip
    rows = coded["input_ids"]
    if coded.encodings is not None:
        return rows, [bool(encoding.overflowing) for encoding in coded.encodings]
    # tokenizers in pure Python do not say; a full row counts
    return rows, [len(row) >= max_length for row in rows]


def _head(text: str, limit: int, from_end: bool) -> str:
    """The first `limit` characters of a text, or the last; cut at a blank where one is near, so
    that its words are whole.
    """
    if len(text) <= limit:
        return text
    if from_end:
        blank = text.find(" ", len(text) - limit, len(text) - limit + MAX_WORD)
        return text[blank if blank >= 0 else len(text) - limit :]
    blank = text.rfind(" ", limit - MAX_WORD, limit)
    return text[: blank if blank >= 0 else limit]


CHUNK_TEXTS = 1000


@dataclass(frozen=True, eq=False)
class TokenStore:
    """Token rows of N texts. `num_truncated` of them were longer than `max_length` tokens."""

    ids: np.ndarray
    indptr: np.ndarray
    pad_id: int
    max_length: int
    num_truncated: int
    folder: Path | None = None

    @property
    def num_rows(self) -> int:
        """Number of texts, N."""
        return len(self.indptr) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text: int64 (N,)."""
        return np.diff(self.indptr)

    def padded(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask (B, T) of some rows, padded to the longest of them.

        Args:
            rows: row numbers, (B,).

        Returns:
            Two tensors, int64; T is at least 1.
        """
        starts, lengths = self.indptr[rows], self.indptr[rows + 1] - self.indptr[rows]
        width = max(1, int(lengths.max(initial=1)))
        mask_BT = np.arange(width) < lengths[:, None]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        ids_BT = np.full((len(rows), width), self.pad_id, np.int64)
        ids_BT[mask_BT] = self.ids[np.repeat(starts, lengths) + within]
        return torch.from_numpy(ids_BT), torch.from_numpy(mask_BT.astype(np.int64))

    def subset(self, rows: np.ndarray) -> "TokenStore":
        """The tokens of some rows, in memory; whether a row was cut is not known any more.

        Args:
            rows: row numbers.

        Returns:
            The tokens, in that order.
        """
        starts, lengths = self.indptr[rows], self.indptr[rows + 1] - self.indptr[rows]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        ids = np.asarray(self.ids[np.repeat(starts, lengths) + within])
        return TokenStore(ids, _pointers([lengths]), self.pad_id, self.max_length, 0)

    @classmethod
    def of_texts(
        cls, texts: Sequence[str], tokenizer: Any, max_length: int, progress: Progress | None = None
    ) -> "TokenStore":
        """Tokenise in memory: for a batch at prediction time.

        Args:
            texts: N texts.
            tokenizer: the encoder's tokenizer.
            max_length: most tokens of a text.
            progress: receives the progress; None for none.

        Returns:
            The tokens.
        """
        chunks = list(_tokenise(texts, tokenizer, max_length, progress))
        ids = np.concatenate([np.empty(0, np.int32), *(chunk.ids for chunk in chunks)])
        indptr = _pointers([chunk.lengths for chunk in chunks])
        truncated = sum(chunk.num_truncated for chunk in chunks)
        return cls(ids, indptr, _pad_id(tokenizer), max_length, truncated)

    @classmethod
    def build(
        cls,
        texts: Sequence[str],
        tokenizer: Any,
        max_length: int,
        folder: Path,
        progress: Progress | None = None,
    ) -> "TokenStore":
        """Tokenise to a folder, chunk by chunk, and map it: memory does not grow with the texts.

        Args:
            texts: N texts.
            tokenizer: the encoder's tokenizer.
            max_length: most tokens of a text.
            folder: the folder; one that is there is replaced.
            progress: receives the progress; None for none.

        Returns:
            The tokens, memory-mapped.
        """
        lengths, truncated = [], 0
        with atomic_folder(folder) as temporary:
            raw = temporary / "ids.raw"
            with open(raw, "wb") as file:
                for chunk in _tokenise(texts, tokenizer, max_length, progress):
                    file.write(chunk.ids.astype("<i4").tobytes())
                    lengths.append(chunk.lengths)
                    truncated += chunk.num_truncated
            indptr = _pointers(lengths)
            _wrap_as_npy(raw, temporary / "ids.npy", int(indptr[-1]))
            save_array(temporary / "indptr.npy", indptr)
            facts = {
                "pad_id": _pad_id(tokenizer),
                "max_length": max_length,
                "num_truncated": truncated,
            }
            write_json(temporary / "tokens.json", facts)
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> "TokenStore":
        """Map what `build` wrote.

        Args:
            folder: the folder that `build` wrote.

        Returns:
            The tokens, memory-mapped.

        Raises:
            ArtifactError: a file is missing or damaged, or the parts do not fit together.
        """
        try:
            facts = json.loads((folder / "tokens.json").read_text())
            ids = np.load(folder / "ids.npy", mmap_mode="r", allow_pickle=False)
            indptr = np.load(folder / "indptr.npy", allow_pickle=False)
            pad_id, max_length = int(facts["pad_id"]), int(facts["max_length"])
            num_truncated = int(facts["num_truncated"])
        except (OSError, ValueError, KeyError) as err:
            raise ArtifactError(
                f"{folder}: unreadable tokens ({err}); delete it and run again"
            ) from err
        if (
            not len(indptr)
            or indptr[0] != 0
            or indptr[-1] != len(ids)
            or (np.diff(indptr) < 0).any()
        ):
            end = int(indptr[-1]) if len(indptr) else 0
            raise ArtifactError(
                f"{folder}: row pointers must rise from 0 to the {len(ids):,} tokens, and end at "
                f"{end:,}; delete the folder and run again"
            )
        return cls(ids, indptr, pad_id, max_length, num_truncated, folder)

    def __reduce__(self) -> Any:
        """A stored one crosses to another process as its folder's name."""
        if self.folder is not None:
            return TokenStore.load, (self.folder,)
        return TokenStore, (self.ids, self.indptr, self.pad_id, self.max_length, self.num_truncated)


@dataclass(frozen=True)
class _Chunk:
    ids: np.ndarray
    lengths: np.ndarray
    num_truncated: int


def _tokenise(
    texts: Sequence[str], tokenizer: Any, max_length: int, progress: Progress | None
) -> Iterator[_Chunk]:
    """Chunks of token rows. The tokenizer brings threads of its own; xrt never forks after them."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("RAYON_NUM_THREADS", str(default_num_threads()))
    if progress is not None:
        progress.start("tokenise", len(texts))
    for start in range(0, len(texts), CHUNK_TEXTS):
        chunk = list(texts[start : start + CHUNK_TEXTS])
        rows, longer = token_ids(chunk, tokenizer, max_length)
        lengths = np.array([len(row) for row in rows], np.int64)
        ids = np.fromiter((token for row in rows for token in row), np.int32, int(lengths.sum()))
        yield _Chunk(ids, lengths, sum(longer))
        if progress is not None:
            progress.advance(len(chunk))
    if progress is not None:
        progress.finish()


def _pointers(lengths: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum(dtype=np.int64)


def _pad_id(tokenizer: Any) -> int:
    """The padding token; padding is masked, so any id will do where a tokenizer has none."""
    return int(tokenizer.pad_token_id) if tokenizer.pad_token_id is not None else 0


def _wrap_as_npy(raw: Path, target: Path, num_tokens: int) -> None:
    """Put an npy header before the raw int32 bytes and drop the raw file."""
    header = {"descr": "<i4", "fortran_order": False, "shape": (num_tokens,)}
    with open(raw, "rb") as source, open(target, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(source, file, 1 << 20)
    raw.unlink()
