"""The tokenizer of an encoder's folder: it is there whole, and each of its tokens has a row among
the encoder's embeddings.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from xrt.encoder.architectures import ARCHITECTURES
from xrt.encoder.folder import library_faults, refuse_pointer
from xrt.errors import ArtifactError
from xrt.storage.reading import read_json_bounded

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
PIECES = ("spm.model", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
"""Vocabularies of the library sentencepiece."""
VOCABULARIES = (TOKENIZER_FILE, "vocab.txt", "vocab.json", *PIECES)
SPECIAL_FILES = ("special_tokens_map.json", "added_tokens.json", "merges.txt")
MOST_GROWTH = 16.0
"""Characters that a normaliser may make of one."""
MOST_SPECIAL = 16
_GENERAL = {
    "TokenizersBackend", "PreTrainedTokenizerFast", "BertTokenizer", "BertJapaneseTokenizer",
    "RobertaTokenizer", "GPT2Tokenizer", "BartTokenizer", "LlamaTokenizer", "XLMRobertaTokenizer",
    "DistilBertTokenizer", "ElectraTokenizer", "MT5Tokenizer", "BertweetTokenizer",
    "PhobertTokenizer", "HerbertTokenizer", "BartphoTokenizer", "T5Tokenizer",
}  # fmt: skip
_OF_KINDS = {TOKENIZER_MAPPING_NAMES.get(kind) or "" for kind in ARCHITECTURES}
CLASSES = frozenset(name.removesuffix("Fast") for name in _GENERAL | _OF_KINDS)
"""Tokenizers of the supported kinds of encoders, and those that stand in for them."""


def load_tokenizer(folder: Path, config: Any, num_rows: int, *, saved: bool) -> Any:
    """The tokenizer of a folder.

    Args:
        folder: Holds the tokenizer's files.
        config: The encoder's configuration.
        num_rows: Rows of the encoder's embeddings of tokens.
        saved: Whether xrt wrote the folder.

    Returns:
        A tokenizer of transformers.

    Raises:
        ArtifactError: Files are missing or broken, a library is missing, a token has no row, or
            texts would grow beyond bounds.
    """
    _require_files(folder)
    _require_class(folder, saved)
    with library_faults(lambda err: ArtifactError(f"{folder}: no usable tokenizer ({err})")):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False
        )
        vocabulary: dict[str, int] = tokenizer.get_vocab()
    _check_rows(folder, vocabulary, num_rows)
    _check_growth(folder, tokenizer)
    return tokenizer


def _require_files(folder: Path) -> None:
    """Raises ArtifactError where there is no vocabulary, or the library that reads it is not
    installed.
    """
    vocabularies = [name for name in VOCABULARIES if (folder / name).is_file()]
    if not vocabularies:
        raise ArtifactError(
            f"{folder}: no tokenizer (tokenizer.json, or a vocabulary such as vocab.txt or "
            "spm.model); add the files with the tokenizer's save_pretrained"
        )
    for name in (*vocabularies, *SPECIAL_FILES, TOKENIZER_CONFIG):
        if (folder / name).is_file():
            refuse_pointer(folder / name)
    if TOKENIZER_FILE in vocabularies or vocabularies[0] not in PIECES:
        return
    needed = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}
    missing = [package for module, package in needed.items() if not _is_installed(module)]
    if missing:
        raise ArtifactError(
            f"{folder / vocabularies[0]}: this tokenizer needs {' and '.join(missing)}; run "
            f"`pip install {' '.join(missing)}` (or xrt-xmc[sentencepiece])"
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def _require_class(folder: Path, saved: bool) -> None:
    """Raises ArtifactError where the folder asks for a class of tokenizers that is not known, or
    was saved by xrt and names code.
    """
    path = folder / TOKENIZER_CONFIG
    content = read_json_bounded(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ArtifactError(f"{path}: not a JSON object; restore the file")
    if saved and "auto_map" in content:
        raise ArtifactError(f"{path}: 'auto_map' names code to run; refused")
    class_name = content.get("tokenizer_class")
    if class_name is not None and str(class_name).removesuffix("Fast") not in CLASSES:
        raise ArtifactError(
            f"{path}: tokenizers of the class {str(class_name)[:60]!r} are not supported; save it "
            "as a PreTrainedTokenizerFast"
        )


def _check_rows(folder: Path, vocabulary: dict[str, int], num_rows: int) -> None:
    """Raises ArtifactError where a token's number is beyond the encoder's embeddings."""
    if not vocabulary:
        raise ArtifactError(f"{folder}: the tokenizer has no tokens; restore its files")
    beyond = sorted((i, token) for token, i in vocabulary.items() if not 0 <= i < num_rows)
    if beyond:
        number, token = beyond[0]
        raise ArtifactError(
            f"{folder}: {len(beyond)} of the tokenizer's {len(vocabulary)} tokens have no row in "
            f"the encoder's embeddings, first {token!r} (number {number} of {num_rows} rows); save "
            "the model after resize_token_embeddings(len(tokenizer)), or take the tokens out"
        )


def _check_growth(folder: Path, tokenizer: Any) -> None:
    """Raises ArtifactError where a short text would become a very long one."""
    special = tokenizer.num_special_tokens_to_add()
    if special > MOST_SPECIAL:
        raise ArtifactError(f"{folder}: the tokenizer puts {special} tokens around each text")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.normalizer is None:
        return
    growth = _growth_of(json.loads(backend.normalizer.__getstate__()))
    if growth > MOST_GROWTH:
        raise ArtifactError(
            f"{folder}: the tokenizer's normaliser makes {growth:.0f} characters of one; at most "
            f"{MOST_GROWTH:.0f} are read"
        )


def _growth_of(normalizer: Any) -> float:
    """Characters that replacements of a normaliser make of one, one after another."""
    if not isinstance(normalizer, dict):
        return 1.0
    if normalizer.get("type") == "Sequence":
        growth = 1.0
        for part in normalizer.get("normalizers", []):
            growth *= _growth_of(part)
        return growth
    if normalizer.get("type") == "Replace":
        pattern = normalizer.get("pattern", {}).get("String", "x")
        return max(1.0, len(normalizer.get("content", "")) / max(1, len(pattern)))
    if normalizer.get("type") == "Prepend":
        return 1.0 + len(normalizer.get("prepend", "")) / 16
    return 1.0
