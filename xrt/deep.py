"""What the encoder adds to a linear model: its sources of scores, and how they lie in a folder.

N rows, L labels, F TF-IDF columns, H hidden width. Sources of scores, each in [0, 1]: `ranker`, the
tree on [TF-IDF ; embedding]; `matcher`, the encoder's own head, where it was trained down to the
labels; `neighbours` and `embedding_neighbours`, the votes of the training rows with the nearest
TF-IDF rows and embeddings. Only models that have an encoder import this: torch loads slowly.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp

from xrt.atomic import save_array
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import best_device, encode, supports_bf16
from xrt.encoder.token_store import TokenStore
from xrt.errors import ArtifactError
from xrt.hybrid import HybridMatrix, unit_rows
from xrt.progress import Progress
from xrt.ranker import TreeRanker
from xrt.reading import load_array
from xrt.search.beam import SearchParams, beam_search
from xrt.search.ensemble import CANDIDATES, exp_scores
from xrt.search.label_head import LabelHead
from xrt.search.neighbours import DenseNeighbours, NeighbourMemory, SparseNeighbours
from xrt.search.shortlist import IndexKind, Shortlist, ShortlistParams, entry_beam

Memory = TypeVar("Memory", bound=NeighbourMemory)


@dataclass(frozen=True, eq=False)
class DeepPart:
    """What the encoder adds to a linear model."""

    encoder: TextEncoder
    ranker: TreeRanker
    head: LabelHead | None
    fusion: Mapping[str, float]
    """Weight of each source in the final score."""
    embedding_weight: float = 1.0
    """Length of the embedding in [TF-IDF ; embedding], where TF-IDF rows have length 1."""
    shortlist: Shortlist | None = None
    neighbours: SparseNeighbours | None = None
    embedding_neighbours: DenseNeighbours | None = None
    bf16: bool = True
    """Whether texts are encoded in bfloat16, as in training, where the processor has it."""

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Embeddings as the encoder gives them: float32 (N, H), not of length 1."""
        encoder = self.encoder
        tokens = TokenStore.of_texts(list(texts), encoder.tokenizer, encoder.max_length)
        bf16 = self.bf16 and supports_bf16(next(encoder.parameters()).device)
        return encode(encoder, tokens, bf16=bf16, progress=progress)

    def sources(
        self,
        asked: Collection[str],
        rows_NF: sp.csr_array,
        embeddings: Callable[[], np.ndarray],
        search: SearchParams,
        num_threads: int | None = None,
    ) -> dict[str, sp.csr_array]:
        """Scores of each source that is asked, at most CANDIDATES labels a row: (N, L).

        `embeddings()` gives the rows' embeddings as the encoder does; it is called only where a
        source needs them.
        """
        found = {}
        if "neighbours" in asked and self.neighbours is not None:
            found["neighbours"] = self.neighbours.vote(rows_NF, CANDIDATES, num_threads)
        if not {"ranker", "matcher", "embedding_neighbours"} & set(asked):
            return found
        embeddings_NH = embeddings()
        if "ranker" in asked:
            found["ranker"] = self._ranked(rows_NF, embeddings_NH, search, num_threads)
        if "matcher" in asked and self.head is not None:
            found["matcher"] = self.head.top(unit_rows(embeddings_NH), CANDIDATES)
        if "embedding_neighbours" in asked and self.embedding_neighbours is not None:
            unit_NH = unit_rows(embeddings_NH)
            found["embedding_neighbours"] = self.embedding_neighbours.vote(unit_NH, CANDIDATES)
        return found

    def _ranked(
        self,
        rows_NF: sp.csr_array,
        embeddings_NH: np.ndarray,
        search: SearchParams,
        num_threads: int | None,
    ) -> sp.csr_array:
        """Beam search with the hybrid rankers, opened by the shortlist where there is one."""
        ranker, shortlist = self.ranker, self.shortlist
        unit_NH = unit_rows(embeddings_NH)
        X = HybridMatrix.of(rows_NF, unit_NH * np.float32(self.embedding_weight))
        levels, start = ranker.levels, None
        if shortlist is not None:
            entry = shortlist.level
            start = entry_beam(
                levels[entry], ranker.tree, entry, shortlist.find(unit_NH), X,
                search.transform, num_threads,
            )  # fmt: skip
            levels = levels[entry + 1 :]
        return exp_scores(
            beam_search(levels, X, CANDIDATES, search, start=start, num_threads=num_threads)
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the parts into the folder; gives the settings that `load` asks for."""
        self.encoder.save(folder / "encoder")
        self.ranker.save(folder / "ranker")
        if self.head is not None:
            save_array(folder / "matcher" / "weight.npy", self.head.weight_LH)
            save_array(folder / "matcher" / "bias.npy", self.head.bias_L)
        settings: dict[str, Any] = {
            "fusion": dict(self.fusion),
            "embedding_weight": self.embedding_weight,
            "has_head": self.head is not None,
            "bf16": self.bf16,
        }
        if self.shortlist is not None:
            save_array(folder / "shortlist" / "vectors.npy", self.shortlist.vectors_KH)
            settings["shortlist"] = {"level": self.shortlist.level, **asdict(self.shortlist.params)}
        for name in ("neighbours", "embedding_neighbours"):
            memory = getattr(self, name)
            if memory is not None:
                memory.save(folder / name)
        return settings

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path, mmap: bool = True) -> "DeepPart":
        """Read what `save` wrote. Raises ArtifactError when a part is damaged."""
        try:
            fusion = {str(name): float(weight) for name, weight in settings["fusion"].items()}
            embedding_weight, has_head = float(settings["embedding_weight"]), settings["has_head"]
            bf16 = bool(settings.get("bf16", True))
            entry = settings.get("shortlist")
            shortlist = None
            if entry is not None:
                params = ShortlistParams(
                    index=IndexKind(entry["index"]),
                    width=int(entry["width"]),
                    hnsw_neighbors=int(entry["hnsw_neighbors"]),
                )
                vectors_KH = load_array(folder / "shortlist" / "vectors.npy", np.float32, 2, mmap)
                shortlist = Shortlist(vectors_KH, params, int(entry["level"]))
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise ArtifactError(f"{folder}: unreadable model.json ({err}); train it anew") from err
        head = None
        if has_head:
            head = LabelHead(
                load_array(folder / "matcher" / "weight.npy", np.float32, 2, mmap),
                load_array(folder / "matcher" / "bias.npy", np.float32, 1, mmap),
            )
        return cls(
            encoder=TextEncoder.load(folder / "encoder").to(best_device()),
            ranker=TreeRanker.load(folder / "ranker", mmap),
            head=head,
            fusion=fusion,
            embedding_weight=embedding_weight,
            shortlist=shortlist,
            neighbours=_load_memory(SparseNeighbours, folder / "neighbours", mmap),
            embedding_neighbours=_load_memory(
                DenseNeighbours, folder / "embedding_neighbours", mmap
            ),
            bf16=bf16,
        )


def _load_memory(kind: type[Memory], folder: Path, mmap: bool) -> Memory | None:
    return kind.load(folder, mmap) if folder.is_dir() else None
