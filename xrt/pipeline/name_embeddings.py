"""The names of the labels through the encoder, where they are training rows of hybrid rankers.

R labels that have a name, M columns of embeddings.
"""

from pathlib import Path

import numpy as np

from xrt.pipeline.blocks import Blocks, embed_texts
from xrt.pipeline.fit import StageRunner
from xrt.pipeline.label_rows import LabelRows
from xrt.storage.atomic import save_array
from xrt.storage.hashing import content_hash
from xrt.storage.reading import load_array


def embed_names(runner: StageRunner, names: LabelRows, blocks: Blocks) -> np.ndarray:
    """The stage of the names' embeddings, as they stand in the rankers' rows: float32 (R, M)."""
    folders = [blocks.tuned_folder]
    if blocks.frozen_folder is not None:
        folders.append(blocks.frozen_folder)

    def produce(folder: Path) -> None:
        parts = [embed_texts(runner, home, list(names.names)) for home in folders]
        save_array(folder / "embeddings.npy", np.hstack(parts))

    settings = {"precision": runner.params.trainer.precision}
    inputs = {"blocks": blocks.key, "names": content_hash(list(names.names))}
    stage = runner.run("label-names", 1, settings, inputs, produce)
    embeddings_RM = load_array(stage.folder / "embeddings.npy", np.float32, 2)
    return blocks.join(names.X_RF, embeddings_RM).dense
