"""The encoders of a deep model: the fine-tuned one, and the frozen one where there is one.

N texts, H columns of the fine-tuned encoder, G of the frozen one, M = H + G. Only models that have
an encoder import this: torch loads slowly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import best_device
from xrt.encoder.params import Compute
from xrt.encoder.reader import TextReader
from xrt.progress import Progress
from xrt.sources.blocks import EmbeddingBlocks
from xrt.storage.saved_values import SavedValues
from xrt.threads import torch_threads

MAX_WEIGHT = 1e6
"""Length of an embedding in a saved model; those that are chosen are a few units long."""


@dataclass(frozen=True, eq=False)
class ModelEncoder:
    """Texts to embeddings, and how long an embedding is beside TF-IDF in a hybrid row."""

    tuned: TextEncoder
    """The fine-tuned encoder."""
    weight: float = 1.0
    """Length of its embedding in [TF-IDF ; embedding], where TF-IDF rows have length 1."""
    frozen: TextEncoder | None = None
    """The encoder as it was before it was fine-tuned, if hybrid rows hold its embedding too."""
    frozen_weight: float = 0.0
    """Length of the frozen encoder's embedding beside the others."""
    bf16: bool = True
    """Whether texts are encoded in bfloat16, as in training, where the processor has it."""
    compute: Compute = Compute.auto
    """How the encoders compute; a choice of who predicts, which is not saved."""

    @cached_property
    def readers(self) -> tuple[TextReader, ...]:
        """What reads texts with each encoder: the fine-tuned one, then the frozen one."""
        encoders = (self.tuned,) if self.frozen is None else (self.tuned, self.frozen)
        return tuple(TextReader(encoder, self.compute, self.bf16) for encoder in encoders)

    def __getstate__(self) -> dict[str, Any]:
        """All but the readers, which are made again of the encoders: what they compute with cannot
        be copied.
        """
        return {name: value for name, value in vars(self).items() if name != "readers"}

    @cached_property
    def blocks(self) -> EmbeddingBlocks:
        """Widths and weights of the embeddings in a hybrid row."""
        frozen_width = 0 if self.frozen is None else self.frozen.hidden_size
        return EmbeddingBlocks(
            self.tuned.hidden_size, self.weight, frozen_width, self.frozen_weight
        )

    def embed(
        self,
        texts: Sequence[str],
        progress: Progress | None = None,
        num_threads: int | None = None,
    ) -> np.ndarray:
        """Embeddings as the encoders give them, not of length 1.

        Args:
            texts: N texts.
            progress: told of the texts done.
            num_threads: threads; None for all processors.

        Returns:
            float32 (N, M): columns of the fine-tuned encoder, then of the frozen one.
        """
        with torch_threads(num_threads):
            return np.hstack([reader.read(texts, progress) for reader in self.readers])

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the encoders into a model's folder; gives the settings that `load` needs.

        Args:
            folder: the model's folder.

        Returns:
            The settings, fit for JSON.
        """
        self.tuned.save(folder / "encoder")
        if self.frozen is not None:
            self.frozen.save(folder / "frozen-encoder")
        return {
            "embedding_weight": self.weight,
            "frozen_weight": self.frozen_weight,
            "bf16": self.bf16,
        }

    @classmethod
    def load(
        cls, settings: SavedValues, folder: Path, compute: Compute = Compute.auto
    ) -> "ModelEncoder":
        """Read what `save` wrote.

        Args:
            settings: what `save` gave.
            folder: the model's folder.
            compute: how the encoder computes.

        Returns:
            The encoders and the weights of their embeddings.

        Raises:
            ArtifactError: a setting or a part is missing or damaged.
        """
        weight = settings.number("embedding_weight", 0, MAX_WEIGHT)
        frozen_weight = settings.number("frozen_weight", 0, MAX_WEIGHT, default=0.0)
        bf16 = settings.flag("bf16", True)
        frozen = _load_encoder(folder / "frozen-encoder") if frozen_weight else None
        tuned = _load_encoder(folder / "encoder")
        return cls(tuned, weight, frozen, frozen_weight, bf16, compute)


def _load_encoder(folder: Path) -> TextEncoder:
    return TextEncoder.load(folder).to(best_device())
