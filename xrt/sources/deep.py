"""What the encoder adds to a linear model: its sources of scores, and how they lie in a folder.

N rows, L labels, F TF-IDF columns, H hidden width of the fine-tuned encoder, G of the frozen one
where there is one, M = H + G. Sources of scores, each in [0, 1]: `ranker`, the trees on [TF-IDF ;
embedding]; `matcher`, the encoder's own head, where it was trained down to the labels;
`embedding_neighbours`, the votes of the training rows with the nearest embeddings. Only models that
have an encoder import this: torch loads slowly.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import best_device
from xrt.encoder.params import Compute
from xrt.encoder.reader import TextReader
from xrt.errors import ArtifactError, DataError
from xrt.hybrid import HybridMatrix, unit_rows
from xrt.progress import Progress
from xrt.search.beam import SearchParams, beam_search
from xrt.search.constraints import Constraint
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.label_head import LabelHead
from xrt.sources.shortlist import Shortlist
from xrt.sources.trees import CANDIDATES, TreeEnsemble, exp_scores, mean_scores, tree_folders
from xrt.storage.atomic import save_array
from xrt.storage.reading import check_finite, load_array
from xrt.storage.saved_values import SavedValues
from xrt.threads import torch_threads

MAX_WEIGHT = 1e6
"""Length of an embedding in a saved model; those that are chosen are a few units long."""


@dataclass(frozen=True, eq=False)
class DeepPart:
    """What the encoder adds to a linear model."""

    encoder: TextEncoder
    ranker: TreeEnsemble
    head: LabelHead | None
    embedding_weight: float = 1.0
    """Length of the embedding in [TF-IDF ; embedding], where TF-IDF rows have length 1."""
    frozen: TextEncoder | None = None
    """The encoder as it was before it was fine-tuned, if the rankers see its embedding too."""
    frozen_weight: float = 0.0
    """Length of the frozen encoder's embedding beside the others."""
    shortlists: tuple[Shortlist, ...] = ()
    """One for each tree of the ranker, or none."""
    embedding_neighbours: DenseNeighbours | None = None
    bf16: bool = True
    """Whether texts are encoded in bfloat16, as in training, where the processor has it."""
    compute: Compute = Compute.auto
    """How the encoders compute; a choice of who predicts, which is not saved."""

    @cached_property
    def readers(self) -> tuple[TextReader, ...]:
        """What reads texts with each encoder: the fine-tuned one, then the frozen one."""
        encoders = (self.encoder,) if self.frozen is None else (self.encoder, self.frozen)
        return tuple(TextReader(encoder, self.compute, self.bf16) for encoder in encoders)

    def __getstate__(self) -> dict[str, Any]:
        """All but the readers, which are made again of the encoders: what they compute with cannot
        be copied.
        """
        return {name: value for name, value in vars(self).items() if name != "readers"}

    def embed(
        self,
        texts: Sequence[str],
        progress: Progress | None = None,
        num_threads: int | None = None,
    ) -> np.ndarray:
        """Embeddings as the encoders give them, not of length 1: float32 (N, M), first those of the
        fine-tuned encoder, then those of the frozen one where there is one.
        """
        with torch_threads(num_threads):
            return np.hstack([reader.read(texts, progress) for reader in self.readers])

    def sources(
        self,
        asked: Collection[str],
        rows_NF: sp.csr_array,
        embeddings_NM: np.ndarray,
        search: SearchParams,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
        candidates: int = CANDIDATES,
    ) -> dict[str, sp.csr_array]:
        """Scores of each source that is asked, at most `candidates` labels a row, only such as the
        constraint lets through: (N, L).

        `embeddings_NM` are as `embed` gives them. Raises DataError when they have another width.
        """
        found = {}
        embeddings_NH, _ = self._split(embeddings_NM)
        if "ranker" in asked:
            X, unit_NH = self.ranker_rows(rows_NF, embeddings_NM)
            found["ranker"] = self._ranked(X, unit_NH, search, num_threads, constraint, candidates)
        if "matcher" in asked and self.head is not None:
            found["matcher"] = self.head.top(unit_rows(embeddings_NH), candidates, constraint)
        if "embedding_neighbours" in asked and self.embedding_neighbours is not None:
            unit_NH = unit_rows(embeddings_NH)
            found["embedding_neighbours"] = self.embedding_neighbours.vote(
                unit_NH, candidates, num_threads, constraint=constraint
            )
        return found

    def ranker_rows(
        self, rows_NF: sp.csr_array, embeddings_NM: np.ndarray
    ) -> tuple[HybridMatrix, np.ndarray]:
        """Rows as the rankers take them, (N, F + M), and the fine-tuned encoder's embeddings of
        length 1, which the shortlists take: (N, H).
        """
        embeddings_NH, frozen_NG = self._split(embeddings_NM)
        unit_NH = unit_rows(embeddings_NH)
        dense_NM = join_blocks(unit_NH, frozen_NG, self.embedding_weight, self.frozen_weight)
        return HybridMatrix.of(rows_NF, dense_NM), unit_NH

    def entry_beam(
        self,
        number: int,
        X: HybridMatrix,
        unit_NH: np.ndarray,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> sp.csr_array | None:
        """Log scores of the nodes at which a tree's shortlist opens the search; None without one.

        The arguments are the tree's number, from 0, and what `ranker_rows` gives.
        """
        if not self.shortlists:
            return None
        ranker, shortlist = self.ranker.trees[number], self.shortlists[number]
        return shortlist.open(ranker, X, unit_NH, search, num_threads)

    def _split(self, embeddings_NM: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """What `embed` gives, as the fine-tuned encoder's part (N, H) and the frozen one's."""
        H, G = self.encoder.hidden_size, 0 if self.frozen is None else self.frozen.hidden_size
        if embeddings_NM.shape[1] != H + G:
            raise DataError(
                f"embeddings have {embeddings_NM.shape[1]} columns, this model's have {H + G}; "
                "take them from the model's own `embed`"
            )
        return embeddings_NM[:, :H], embeddings_NM[:, H:] if G else None

    def _ranked(
        self,
        X: HybridMatrix,
        unit_NH: np.ndarray,
        search: SearchParams,
        num_threads: int | None,
        constraint: Constraint | None,
        candidates: int,
    ) -> sp.csr_array:
        """Beam search with the hybrid rankers, opened by the shortlists where there are any and no
        constraint: theirs are the nodes nearest of all, not of those let through.
        """
        if constraint is not None or not self.shortlists:
            return self.ranker.search(X, candidates, search, num_threads, constraint)
        found = []
        for number, ranker in enumerate(self.ranker.trees):
            start = self.entry_beam(number, X, unit_NH, search, num_threads)
            below = ranker.levels[self.shortlists[number].level + 1 :]
            scores_NL = beam_search(
                below, X, candidates, search, start=start, num_threads=num_threads
            )
            found.append(exp_scores(scores_NL))
        return mean_scores(found, candidates)

    @property
    def present(self) -> set[str]:
        """The sources of scores that there are."""
        optional = {"matcher": self.head, "embedding_neighbours": self.embedding_neighbours}
        return {"ranker"} | {name for name, part in optional.items() if part is not None}

    def fits(self, num_labels: int) -> bool:
        """Whether head, neighbours, shortlists and rankers fit the encoders and these labels."""
        H, G = self.encoder.hidden_size, 0 if self.frozen is None else self.frozen.hidden_size
        fits = self.ranker.levels[0].num_dense == H + G
        if self.head is not None:
            fits &= self.head.weight_LH.shape == (num_labels, H)
            fits &= len(self.head.bias_L) == num_labels
        if self.embedding_neighbours is not None:
            fits &= self.embedding_neighbours.unit_NH.shape[1] == H
            fits &= self.embedding_neighbours.Y_NL.shape[1] == num_labels
        return fits and all(shortlist.num_columns == H for shortlist in self.shortlists)

    def check(self, num_threads: int | None = None) -> None:
        """Look at all weights and vectors. Raises ArtifactError when some are damaged."""
        self.ranker.check(num_threads)
        if self.head is not None:
            check_finite(self.head.weight_LH, "matcher/weight.npy")
            check_finite(self.head.bias_L, "matcher/bias.npy")
        if self.embedding_neighbours is not None:
            self.embedding_neighbours.check()

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the parts into the folder; gives the settings that `load` asks for."""
        self.encoder.save(folder / "encoder")
        if self.frozen is not None:
            self.frozen.save(folder / "frozen-encoder")
        self.ranker.save(folder / "ranker")
        if self.head is not None:
            save_array(folder / "matcher" / "weight.npy", self.head.weight_LH)
            save_array(folder / "matcher" / "bias.npy", self.head.bias_L)
        settings: dict[str, Any] = {
            "embedding_weight": self.embedding_weight,
            "frozen_weight": self.frozen_weight,
            "has_head": self.head is not None,
            "bf16": self.bf16,
        }
        if self.shortlists:
            homes = tree_folders(folder / "shortlist", len(self.shortlists))
            pairs = zip(self.shortlists, homes, strict=True)
            settings["shortlist"] = [shortlist.save(home) for shortlist, home in pairs]
        if self.embedding_neighbours is not None:
            self.embedding_neighbours.save(folder / "embedding_neighbours")
        return settings

    @classmethod
    def load(
        cls,
        settings: Mapping[str, Any] | SavedValues,
        folder: Path,
        mmap: bool = True,
        compute: Compute = Compute.auto,
    ) -> "DeepPart":
        """Read what `save` wrote. Raises ArtifactError when a part is damaged."""
        settings = SavedValues.of(settings, f"{folder}: deep")
        embedding_weight = settings.number("embedding_weight", 0, MAX_WEIGHT)
        frozen_weight = settings.number("frozen_weight", 0, MAX_WEIGHT, default=0.0)
        bf16 = settings.flag("bf16", True)
        ranker = TreeEnsemble.load(folder / "ranker", mmap)
        shortlists = _load_shortlists(settings, folder / "shortlist", ranker, mmap)
        head = None
        if settings.flag("has_head"):
            head = LabelHead(
                load_array(folder / "matcher" / "weight.npy", np.float32, 2, mmap),
                load_array(folder / "matcher" / "bias.npy", np.float32, 1, mmap),
            )
        memory = folder / "embedding_neighbours"
        return cls(
            encoder=TextEncoder.load(folder / "encoder").to(best_device()),
            ranker=ranker,
            head=head,
            embedding_weight=embedding_weight,
            frozen=_load_frozen(folder / "frozen-encoder") if frozen_weight else None,
            frozen_weight=frozen_weight,
            shortlists=shortlists,
            embedding_neighbours=DenseNeighbours.load(memory, mmap) if memory.is_dir() else None,
            bf16=bf16,
            compute=compute,
        )


def _load_frozen(folder: Path) -> TextEncoder:
    return TextEncoder.load(folder).to(best_device())


def _load_shortlists(
    settings: SavedValues, folder: Path, ranker: TreeEnsemble, mmap: bool
) -> tuple[Shortlist, ...]:
    if not settings.has("shortlist"):
        return ()
    saved, homes = settings.parts("shortlist"), tree_folders(folder, len(ranker.trees))
    if len(saved) != len(homes):
        raise ArtifactError(
            f"{settings.where}: {len(saved)} shortlists for {len(homes)} trees; copy the model "
            "again from where it came, or train it anew"
        )
    return tuple(
        Shortlist.load(values, home, tree.tree, mmap)
        for values, home, tree in zip(saved, homes, ranker.trees, strict=True)
    )


def join_blocks(
    unit_NH: np.ndarray, frozen_NG: np.ndarray | None, weight: float, frozen_weight: float
) -> np.ndarray:
    """The dense features of rows, [weight * tuned ; frozen_weight * frozen]: float32 (N, M).

    `unit_NH` are of length 1 already, `frozen_NG` as the encoder gives them. A block of weight 0 is
    left out.
    """
    tuned_NH = unit_NH * np.float32(weight)
    if frozen_NG is None or not frozen_weight:
        return tuned_NH
    return np.hstack([tuned_NH, unit_rows(frozen_NG) * np.float32(frozen_weight)])
