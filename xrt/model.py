"""A trained model: its parts, how they score together, and how they lie in a folder.

N rows, L labels, F TF-IDF columns, H hidden width. Sources of scores, each in [0, 1]: `linear`, the
trees on TF-IDF alone (one or more); `ranker`, the tree on [TF-IDF ; embedding]; `matcher`, the
encoder's own head, where it was trained down to the labels; `neighbours` and
`embedding_neighbours`, the votes of the training rows with the nearest TF-IDF rows and embeddings.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp

from xrt.atomic import save_array, write_json
from xrt.data.labels import LabelTable, read_label_table
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import best_device, encode, supports_bf16
from xrt.encoder.token_store import TokenStore
from xrt.errors import ArtifactError, DataError
from xrt.features.tfidf import TfidfFeatures
from xrt.hybrid import HybridMatrix
from xrt.progress import Progress
from xrt.ranker import TreeRanker
from xrt.reading import load_array
from xrt.search.beam import SearchParams, beam_search
from xrt.search.ensemble import TreeEnsemble, exp_scores
from xrt.search.fusion import fuse
from xrt.search.label_head import LabelHead
from xrt.search.neighbours import DenseNeighbours, NeighbourMemory, SparseNeighbours
from xrt.search.shortlist import IndexKind, Shortlist, ShortlistParams, entry_beam
from xrt.sparse import as_csr, normalize_rows
from xrt.tree.path_scores import PathTransform

Memory = TypeVar("Memory", bound=NeighbourMemory)

CANDIDATES = 50
"""Labels that each source names for a row before they are fused."""


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


@dataclass(frozen=True, eq=False)
class XrtModel:
    """Everything prediction needs. `features` is None for a model of rows instead of texts."""

    labels: LabelTable
    features: TfidfFeatures | None
    linear: TreeEnsemble
    deep: DeepPart | None = None
    search: SearchParams = field(default_factory=SearchParams)

    @property
    def kind(self) -> str:
        """`linear` or `transformer`."""
        return "linear" if self.deep is None else "transformer"

    @property
    def num_features(self) -> int:
        """Sparse columns that rows must have, F."""
        return self.linear.num_features

    def hybrid_rows_of(self, inputs: Any) -> HybridMatrix:
        """Rows as the linear trees take them: those of `rows_of`, or a HybridMatrix whose sparse
        block is brought to length 1 and whose dense block stays as it is.
        """
        if not isinstance(inputs, HybridMatrix):
            return HybridMatrix.of(self.rows_of(inputs))
        return HybridMatrix(normalize_rows(inputs.sparse), inputs.dense)

    def rows_of(self, inputs: Any) -> sp.csr_array:
        """TF-IDF rows of texts, or given rows brought to length 1: (N, F).

        Raises DataError when the model takes the other kind of input.
        """
        if not is_texts(inputs):
            return normalize_rows(as_csr(inputs, "X"))
        if self.features is None:
            raise DataError(
                f"this model was trained on rows of {self.num_features} features, not on texts; "
                "pass a matrix of such rows"
            )
        return self.features.transform(list(inputs))

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Embeddings as the encoder gives them: float32 (N, H), not of length 1.

        Raises DataError without an encoder, or for rows of features instead of texts.
        """
        if self.deep is None:
            raise DataError("this model is linear and has no encoder")
        if not is_texts(texts):
            raise DataError("this model reads texts, not rows of features; pass a list of texts")
        encoder = self.deep.encoder
        tokens = TokenStore.of_texts(list(texts), encoder.tokenizer, encoder.max_length)
        bf16 = self.deep.bf16 and supports_bf16(next(encoder.parameters()).device)
        return encode(encoder, tokens, bf16=bf16, progress=progress)

    def sources(
        self,
        inputs: Any,
        embeddings_NH: np.ndarray | None = None,
        num_threads: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, sp.csr_array]:
        """Scores of each source whose weight is not 0, at most CANDIDATES labels a row: (N, L).

        `embeddings_NH` spares the encoding where embeddings (as the encoder gives them) are at
        hand.
        """
        X, deep = self.hybrid_rows_of(inputs), self.deep
        asked = {"linear"} if deep is None else {name for name, w in deep.fusion.items() if w > 0}
        found, rows_NF = {}, X.sparse
        if "linear" in asked:
            found["linear"] = self.linear.search(X, CANDIDATES, self.search, num_threads)
        if deep is None:
            return found
        if "neighbours" in asked and deep.neighbours is not None:
            found["neighbours"] = deep.neighbours.vote(rows_NF, CANDIDATES, num_threads)
        if not asked & {"ranker", "matcher", "embedding_neighbours"}:
            return found
        if embeddings_NH is None:
            embeddings_NH = self.embed(inputs, progress)
        if "ranker" in asked:
            found["ranker"] = self._ranked(rows_NF, embeddings_NH, num_threads)
        if "matcher" in asked and deep.head is not None:
            found["matcher"] = deep.head.top(embeddings_NH, CANDIDATES)
        if "embedding_neighbours" in asked and deep.embedding_neighbours is not None:
            unit_NH = unit_rows(embeddings_NH)
            found["embedding_neighbours"] = deep.embedding_neighbours.vote(unit_NH, CANDIDATES)
        return found

    def _ranked(
        self, rows_NF: sp.csr_array, embeddings_NH: np.ndarray, num_threads: int | None
    ) -> sp.csr_array:
        """Beam search with the hybrid rankers, opened by the shortlist where there is one."""
        assert self.deep is not None
        ranker, shortlist = self.deep.ranker, self.deep.shortlist
        unit_NH = unit_rows(embeddings_NH)
        X = HybridMatrix.of(rows_NF, unit_NH * np.float32(self.deep.embedding_weight))
        levels, start = ranker.levels, None
        if shortlist is not None:
            entry = shortlist.level
            start = entry_beam(
                levels[entry], ranker.tree, entry, shortlist.find(unit_NH), X,
                self.search.transform, num_threads,
            )  # fmt: skip
            levels = levels[entry + 1 :]
        return exp_scores(
            beam_search(levels, X, CANDIDATES, self.search, start=start, num_threads=num_threads)
        )

    def predict(
        self,
        inputs: Any,
        k: int = 5,
        embeddings_NH: np.ndarray | None = None,
        num_threads: int | None = None,
        progress: Progress | None = None,
    ) -> sp.csr_array:
        """The `k` best labels of each text or row: (N, L), scores in [0, 1], higher is better.

        `k` above the number of labels gives all that were found. Raises DataError when k is below
        1.
        """
        if k < 1:
            raise DataError(f"k = {k}: ask for at least 1 label")
        if self.deep is None:
            return self.linear.search(self.hybrid_rows_of(inputs), k, self.search, num_threads)
        found = self.sources(inputs, embeddings_NH, num_threads, progress)
        return fuse(found, self.deep.fusion, k)

    def save(self, folder: Path) -> None:
        """Write the parts into a folder; `xrt.artifact` adds the manifest."""
        folder.mkdir(parents=True, exist_ok=True)
        self.labels.write(folder / "labels.tsv")
        settings: dict[str, Any] = {"search": asdict(self.search)}
        if self.features is not None:
            self.features.save(folder / "features")
        self.linear.save(folder / "linear")
        if self.deep is not None:
            settings["deep"] = _save_deep(self.deep, folder)
        write_json(folder / "model.json", settings)

    @classmethod
    def load(cls, folder: Path, mmap: bool = True) -> "XrtModel":
        """Read what `save` wrote; arrays are memory-mapped.

        Raises ArtifactError when a part is damaged. Hashes are checked before, by `open_artifact`.
        """
        try:
            settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            search = SearchParams(
                beam_size=int(settings["search"]["beam_size"]),
                transform=PathTransform(settings["search"]["transform"]),
                path_weight=float(settings["search"].get("path_weight", 1.0)),
            )
            deep = settings.get("deep")
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise ArtifactError(f"{folder}: unreadable model.json ({err}); train it anew") from err
        has_features = (folder / "features").is_dir()
        return cls(
            labels=read_label_table(folder / "labels.tsv"),
            features=TfidfFeatures.load(folder / "features") if has_features else None,
            linear=TreeEnsemble.load(folder / "linear", mmap),
            deep=None if deep is None else _load_deep(deep, folder, mmap),
            search=search,
        )


def _save_deep(deep: DeepPart, folder: Path) -> dict[str, Any]:
    deep.encoder.save(folder / "encoder")
    deep.ranker.save(folder / "ranker")
    if deep.head is not None:
        save_array(folder / "matcher" / "weight.npy", deep.head.weight_LH)
        save_array(folder / "matcher" / "bias.npy", deep.head.bias_L)
    settings: dict[str, Any] = {
        "fusion": dict(deep.fusion),
        "embedding_weight": deep.embedding_weight,
        "has_head": deep.head is not None,
        "bf16": deep.bf16,
    }
    if deep.shortlist is not None:
        save_array(folder / "shortlist" / "vectors.npy", deep.shortlist.vectors_KH)
        settings["shortlist"] = {"level": deep.shortlist.level, **asdict(deep.shortlist.params)}
    for name in ("neighbours", "embedding_neighbours"):
        memory = getattr(deep, name)
        if memory is not None:
            memory.save(folder / name)
    return settings


def _load_deep(settings: Mapping[str, Any], folder: Path, mmap: bool) -> DeepPart:
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
    return DeepPart(
        encoder=TextEncoder.load(folder / "encoder").to(best_device()),
        ranker=TreeRanker.load(folder / "ranker", mmap),
        head=head,
        fusion=fusion,
        embedding_weight=embedding_weight,
        shortlist=shortlist,
        neighbours=_load_memory(SparseNeighbours, folder / "neighbours", mmap),
        embedding_neighbours=_load_memory(DenseNeighbours, folder / "embedding_neighbours", mmap),
        bf16=bf16,
    )


def _load_memory(kind: type[Memory], folder: Path, mmap: bool) -> Memory | None:
    return kind.load(folder, mmap) if folder.is_dir() else None


def is_texts(inputs: Any) -> bool:
    """True for a sequence of strings; one string alone is refused.

    Raises DataError for a lone string: it would be taken for a list of letters.
    """
    if isinstance(inputs, str):
        raise DataError("one string where a list of texts is needed; write [text]")
    if sp.issparse(inputs) or isinstance(inputs, HybridMatrix):
        return False
    if isinstance(inputs, np.ndarray) and inputs.dtype.kind in "fiub":
        return False
    return all(isinstance(text, str) for text in inputs)


def unit_rows(embeddings_NH: np.ndarray) -> np.ndarray:
    """Each row brought to length 1; rows of zeros stay."""
    lengths_N = np.linalg.norm(embeddings_NH, axis=1, keepdims=True)
    return np.asarray(embeddings_NH / np.where(lengths_N > 0, lengths_N, 1.0), np.float32)
