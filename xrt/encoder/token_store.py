"""Texts as tokens, made once and memory-mapped: one flat int32 array and row pointers.

Row i holds `ids[indptr[i]:indptr[i + 1]]`, special tokens included, cut at `max_length`.
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

from xrt.encoder.token_ids import token_ids
from xrt.errors import ArtifactError
from xrt.progress import Progress
from xrt.storage.atomic import atomic_folder, save_array, write_json
from xrt.threads import default_num_threads

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
        """Token ids and attention mask (B, T) of some rows, padded to the longest of them."""
        starts, lengths = self.indptr[rows], self.indptr[rows + 1] - self.indptr[rows]
        width = max(1, int(lengths.max(initial=1)))
        mask_BT = np.arange(width) < lengths[:, None]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        ids_BT = np.full((len(rows), width), self.pad_id, np.int64)
        ids_BT[mask_BT] = self.ids[np.repeat(starts, lengths) + within]
        return torch.from_numpy(ids_BT), torch.from_numpy(mask_BT.astype(np.int64))

    def subset(self, rows: np.ndarray) -> "TokenStore":
        """The tokens of some rows, in memory; whether a row was cut is not known any more."""
        starts, lengths = self.indptr[rows], self.indptr[rows + 1] - self.indptr[rows]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        ids = np.asarray(self.ids[np.repeat(starts, lengths) + within])
        return TokenStore(ids, _pointers([lengths]), self.pad_id, self.max_length, 0)

    @classmethod
    def of_texts(
        cls, texts: Sequence[str], tokenizer: Any, max_length: int, progress: Progress | None = None
    ) -> "TokenStore":
        """Tokenise in memory: for a batch at prediction time."""
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
        """Tokenise to a folder, chunk by chunk, and map it: memory does not grow with the texts."""
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
        """Map what `build` wrote. Raises ArtifactError when the parts do not fit together."""
        try:
            facts = json.loads((folder / "tokens.json").read_text())
            ids = np.load(folder / "ids.npy", mmap_mode="r", allow_pickle=False)
            indptr = np.load(folder / "indptr.npy", allow_pickle=False)
            pad_id, max_length = int(facts["pad_id"]), int(facts["max_length"])
            num_truncated = int(facts["num_truncated"])
        except (OSError, ValueError, KeyError) as err:
            raise ArtifactError(f"{folder}: unreadable tokens ({err}); delete the folder") from err
        if (
            not len(indptr)
            or indptr[0] != 0
            or indptr[-1] != len(ids)
            or (np.diff(indptr) < 0).any()
        ):
            raise ArtifactError(f"{folder}: row pointers do not fit the tokens; delete the folder")
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
