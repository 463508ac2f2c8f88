"""A very small random encoder, made on the spot from the given texts: for tests and dry runs.

Everything follows from (texts, seed): the vocabulary is counted, ties are broken by the alphabet,
the weights come from a generator of their own.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from xrt.encoder.backbone import quiet_transformers
from xrt.storage.atomic import atomic_folder

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NUM_WORDS = 2000


def tiny_config(vocab_size: int) -> BertConfig:
    """The shape of the tiny encoder.

    Args:
        vocab_size: tokens that it knows.

    Returns:
        The configuration of a BERT with two layers of width 32.
    """
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    )


def write_tiny_encoder(folder: Path, texts: Sequence[str], seed: int) -> Path:
    """Write a two-layer BERT of width 32 and its WordPiece tokenizer as a transformers folder.

    Args:
        folder: the folder; one that is there is replaced.
        texts: the texts that the vocabulary is counted in.
        seed: seed of the weights.

    Returns:
        The folder.
    """
    tokenizer = _tokenizer(texts)
    config = tiny_config(len(tokenizer))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config, add_pooling_layer=False)
    with atomic_folder(folder) as temporary, quiet_transformers():
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    return folder


def _tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """WordPiece over the characters and the most frequent words of the texts."""
    words = Counter(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower()))
    characters = sorted({character for word in words for character in word})
    frequent = sorted(words, key=lambda word: (-words[word], word))[:NUM_WORDS]
    pieces = [*SPECIAL_TOKENS, *characters, *(f"##{c}" for c in characters), *frequent]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=512,
    )
