"""What a training run leaves in its folder: finished stages, embeddings, and a key for what they
are of. A stage is named by its finest level, t.

- matcher.json: the key, a hash of texts' tokens, labels, tree, encoder and parameters
- tokens/: the token store
- level-<t>/: encoder/, head-<s>.weight.npy and head-<s>.bias.npy for each level s of the stage,
  losses.npy, done.json with the hashes of all of them; whole or absent
- level-<t>.npy: embeddings of the training rows under that stage's encoder, where needed
- level-<t>.ckpt: the checkpoint of the stage in training
- level-<t>.best-<step>.pt: the best weights of the stage in training
- <name>.sha256: the hash of one of the last three, which is checked before it is used again
"""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.heads import Head
from xrt.errors import ArtifactError
from xrt.storage.atomic import atomic_folder, recover_folder, save_array, write_json
from xrt.storage.inventory import (
    check_inventory,
    records_from_json,
    records_to_json,
    take_inventory,
)
from xrt.storage.reading import read_json_bounded
from xrt.storage.seals import SUFFIX, remove_sealed, seal_fits, write_seal

logger = logging.getLogger(__name__)

KEY_FILE = "matcher.json"
DONE = "done.json"


class RunFolder:
    """Paths and files of one training run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def claim(self, key: str) -> None:
        """Keep what is there when it has this key; otherwise clear it, since it is of another
        run.

        Args:
            key: key of the run, made of data and settings.
        """
        path = self.folder / KEY_FILE
        try:
            found = json.loads(path.read_text()).get("key") if path.is_file() else None
        except (ValueError, AttributeError):
            found = None
        if found == key:
            return
        stale = [path for path in self.folder.glob("level-*") if path.is_dir() or path.is_file()]
        if num_stale := sum(path.suffix != SUFFIX for path in stale):
            logger.warning(
                "%s: data or settings have changed, %d results are dropped", self.folder, num_stale
            )
        for path in stale:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_json(self.folder / KEY_FILE, {"key": key})

    def level(self, t: int) -> Path:
        """Folder of a finished stage.

        Args:
            t: level that the stage ends with, from 0.

        Returns:
            The path.
        """
        return self.folder / f"level-{t}"

    def checkpoint(self, t: int) -> Path:
        """Checkpoint of a stage in training.

        Args:
            t: level that the stage ends with, from 0.

        Returns:
            The path.
        """
        return self.folder / f"level-{t}.ckpt"

    def is_done(self, t: int) -> bool:
        """True when the stage was trained to its end.

        A stage whose files are altered or missing is told and dropped: it is trained again.

        Args:
            t: level that the stage ends with, from 0.

        Returns:
            False for a stage that is missing or was dropped.
        """
        folder = self.level(t)
        recover_folder(folder)
        if not (folder / DONE).is_file():
            return False
        fault = _fault_of(folder)
        if fault:
            logger.warning("%s: unusable (%s); it is trained again", folder, fault)
            shutil.rmtree(folder)
            remove_sealed(self.embeddings_path(t))
        return not fault

    def save_level(
        self,
        t: int,
        encoder: TextEncoder,
        heads: Mapping[int, Head],
        losses_S: np.ndarray,
        facts: dict[str, Any],
    ) -> None:
        """Write a finished stage in one step and drop what was needed to go on with it; `heads` by
        level.

        Args:
            t: level that the stage ends with, from 0.
            encoder: the encoder after the stage.
            heads: weights (K, H) and biases (K,) by level.
            losses_S: loss of each step, float32 (S,).
            facts: what else is known, plain values for JSON.
        """
        with atomic_folder(self.level(t)) as temporary:
            encoder.save(temporary / "encoder")
            for level, (weight_KH, bias_K) in heads.items():
                save_array(temporary / f"head-{level}.weight.npy", weight_KH)
                save_array(temporary / f"head-{level}.bias.npy", bias_K)
            save_array(temporary / "losses.npy", losses_S)
            files = records_to_json(take_inventory(temporary))
            write_json(temporary / DONE, {**facts, "files": files})
        for path in [self.checkpoint(t), *self.folder.glob(f"level-{t}.best-*.pt")]:
            remove_sealed(path)

    def load_encoder(self, t: int) -> TextEncoder:
        """The encoder as it was at the end of a stage.

        Args:
            t: level that the stage ends with, from 0.

        Returns:
            The encoder.
        """
        return TextEncoder.load(self.level(t) / "encoder")

    def load_head(self, t: int, level: int) -> Head:
        """Weight (K, H) and bias (K,) of a level at the end of the stage of level t.

        Args:
            t: level that the stage ends with, from 0.
            level: level of the head, from 0.

        Returns:
            Weight and bias.
        """
        folder = self.level(t)
        weight_KH = self._array(folder / f"head-{level}.weight.npy")
        return weight_KH, self._array(folder / f"head-{level}.bias.npy")

    def load_losses(self, t: int) -> np.ndarray:
        """Loss of each step of a stage, as trained: float32 (S,).

        Args:
            t: level that the stage ends with, from 0.

        Returns:
            The losses.
        """
        return self._array(self.level(t) / "losses.npy")

    def load_facts(self, t: int) -> dict[str, Any]:
        """What is known of a finished stage: done.json.

        Args:
            t: level that the stage ends with, from 0.

        Returns:
            Plain values.
        """
        facts: dict[str, Any] = json.loads((self.level(t) / DONE).read_text())
        return facts

    def embeddings(self, t: int) -> np.ndarray | None:
        """Embeddings under a level's encoder, when they were made; t = -1 is the encoder
        untrained.

        Args:
            t: level, from 0, or -1.

        Returns:
            Embeddings (N, H), or None where they are missing or altered.
        """
        path = self.embeddings_path(t)
        return self._array(path) if seal_fits(path, needed=True) else None

    def seal_embeddings(self, t: int) -> None:
        """Note the hash of embeddings just made, without which they are not used again.

        Args:
            t: level, from 0, or -1.
        """
        write_seal(self.embeddings_path(t))

    def embeddings_path(self, t: int) -> Path:
        """Where the embeddings of a level's encoder are kept.

        Args:
            t: level, from 0, or -1.

        Returns:
            The path.
        """
        return self.folder / f"level-{t}.npy"

    @staticmethod
    def _array(path: Path) -> np.ndarray:
        try:
            array: np.ndarray = np.load(path, allow_pickle=False)
            return array
        except (OSError, ValueError) as err:
            message = f"{path}: unreadable ({err}); delete {path.parent} to train it anew"
            raise ArtifactError(message) from err


def _fault_of(folder: Path) -> str:
    """What is wrong with a finished stage; '' for nothing. Earlier ones have no list of files."""
    try:
        facts = read_json_bounded(folder / DONE)
        if not isinstance(facts, dict):
            return f"{DONE} is incomplete"
        if "files" not in facts:
            return ""
        files = records_from_json(facts["files"], folder / DONE)
        return "; ".join(check_inventory(folder, files, hashes=True, leave_out=[DONE])[:1])
    except (ArtifactError, OSError) as err:
        return str(err)
