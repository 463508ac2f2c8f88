"""Opens a saved model: the folder is checked, its parts are read, and whatever else may go wrong on
the way becomes one line.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xrt.encoder.params import Compute
from xrt.errors import ArtifactError
from xrt.model import XrtModel
from xrt.storage.artifact import Artifact, open_artifact, reading_parts

if TYPE_CHECKING:
    from xrt.model_encoder import ModelEncoder


def open_model(
    folder: str | Path,
    verify: bool | str = True,
    expect: str | None = None,
    compute: Compute = Compute.auto,
) -> tuple[Artifact, XrtModel]:
    """Open a saved model.

    The files are memory-mapped: replace a model by writing a new folder and renaming it. Whoever
    overwrites the files of a model in place, or truncates one, ends every process that has it open
    (SIGBUS, which Python cannot catch).

    Args:
        folder: where `save` or `xrt train` wrote it.
        verify: True: every byte is hashed and every number that code indexes with is looked at,
            before the model is used. "sizes": sizes, pointers, trees and matrices are looked at,
            hashes are skipped, and weights are looked at when they are first used: for large models
            you trust.
        expect: the digest that the model must have, as `xrt train` and `xrt inspect` print it: only
            that proves who wrote it.
        compute: how an encoder computes.

    Returns:
        The checked folder, and the model.

    Raises:
        ArtifactError: no model, another one than expected, or a damaged one.
        CapacityError: the process may not open so many files, or has no memory left.
        ConfigError: `compute` cannot be had here.
    """
    artifact = open_artifact(folder, verify, expect)
    return artifact, read_model(artifact, verify, compute)


def read_model(
    artifact: Artifact, verify: bool | str = True, compute: Compute = Compute.auto
) -> XrtModel:
    """The model in a folder that `open_artifact` has checked.

    Args:
        artifact: the folder.
        verify: "sizes" leaves weights to be looked at when they are first used.
        compute: how an encoder computes.

    Returns:
        The model, ready for its first text.

    Raises:
        ArtifactError, CapacityError, ConfigError: as `open_model`.
    """
    with reading_parts(artifact.folder):
        model = XrtModel.load(artifact.folder, compute=compute)
        if verify != "sizes":
            model.check()
        if model.encoder is not None:
            _try(model.encoder, artifact)
    return model


def _try(encoder: "ModelEncoder", artifact: Artifact) -> None:
    """Have the encoders read a word alone and among others: the first text is neither to wait for
    them nor to find a fault.
    """
    for texts in (["word"], ["word", "two words"]):
        if not np.isfinite(encoder.embed(texts)).all():
            raise ArtifactError(
                f"{artifact.folder}: the encoder gives a vector that is not finite; copy the model "
                "again from where it came, or train it anew"
            )
