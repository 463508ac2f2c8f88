"""config.json of an encoder, read key by key.

transformers gives every key of the file to its model, and some keys name code to fetch and run.
Here a configuration is built from a list of known keys, each of a known type and within bounds.
"""

import math
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING

from xrt.encoder.architectures import position_limit, require_architecture
from xrt.encoder.folder import library_faults, refuse_pointer
from xrt.encoder.params import EncoderParams
from xrt.errors import ArtifactError, ConfigError
from xrt.storage.reading import read_json_bounded

CONFIG_FILE = "config.json"
LAYERS = (1, 256)
WIDTH = (1, 1 << 16)
LENGTH = (-1, 1 << 20)  # -1: not set
TOKEN = (-1, 1 << 24)

WHOLE_NUMBERS = {
    **dict.fromkeys(
        ("num_hidden_layers", "n_layers", "num_layers", "num_hidden_groups", "inner_group_num",
         "num_feedforward_networks", "global_attn_every_n_layers", "conv_groups"), LAYERS),
    "conv_kernel_size": (0, 256),
    **dict.fromkeys(
        ("hidden_size", "emb_dim", "dim", "d_model", "d_kv", "d_ff", "head_dim", "embedding_size",
         "input_embedding_size", "output_embedding_size", "intermediate_size", "hidden_dim",
         "intra_bottleneck_size", "attention_head_size", "num_attention_heads",
         "num_key_value_heads", "n_heads", "num_heads", "relative_attention_num_buckets"), WIDTH),
    **dict.fromkeys(
        ("max_position_embeddings", "type_vocab_size", "task_type_vocab_size", "n_langs",
         "relative_attention_max_distance", "position_buckets", "max_relative_positions",
         "local_attention", "sliding_window"), LENGTH),
    **dict.fromkeys(
        ("vocab_size", "n_words", "pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id",
         "sep_token_id", "mask_token_id", "pad_index", "bos_index", "eos_index", "unk_index",
         "mask_index", "lang_id", "decoder_start_token_id"), TOKEN),
}  # fmt: skip
NUMBERS = {
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout",
    "dropout_rate", "embedding_dropout", "mlp_dropout", "layerdrop", "layer_norm_eps", "norm_eps",
    "layer_norm_epsilon", "rms_norm_eps", "initializer_range", "initializer_factor",
    "initializer_cutoff_factor", "init_std", "embed_init_std", "rope_theta", "global_rope_theta",
    "local_rope_theta",
}  # fmt: skip
FLAGS = {
    "relative_attention", "position_biased_input", "share_att_key", "legacy", "talking_head",
    "sinusoidal_pos_embds", "sinusoidal_embeddings", "gelu_activation", "use_lang_emb", "pre_norm",
    "norm_bias", "attention_bias", "mlp_bias", "use_task_id", "rotary_value", "trigram_input",
    "use_bottleneck", "use_bottleneck_attention", "key_query_shared_bottleneck",
    "tie_word_embeddings", "is_encoder_decoder",
}  # fmt: skip
WORDS = {
    "hidden_act", "hidden_activation", "activation", "feed_forward_proj", "pos_att_type",
    "norm_rel_ebd", "conv_act", "normalization_type", "layer_types",
}  # fmt: skip
ROPE = {"rope_parameters", "rope_scaling"}
ONE_VALUE = {
    "is_decoder": False, "add_cross_attention": False, "causal": False, "is_encoder": True,
    "asm": False, "position_embedding_type": "absolute", "pruned_heads": {},
}  # fmt: skip
"""Keys of which an encoder has one value, which need not be said."""
KEYS = frozenset({*WHOLE_NUMBERS, *NUMBERS, *FLAGS, *WORDS, *ROPE})
QUANTIZED = "quantization_config"


def read_configuration(folder: Path, *, saved: bool) -> Any:
    """Read the configuration of an encoder's folder; only known keys are used.

    Args:
        folder: Holds config.json.
        saved: Whether xrt wrote the folder: then a key that names code is an attack, otherwise it
            is left out, since transformers' own code for the kind is used.

    Returns:
        A configuration of transformers.

    Raises:
        ArtifactError: The file is missing, not JSON, of a kind that is not supported, or has a key
            of a wrong type, out of bounds, or without support.
    """
    path = folder / CONFIG_FILE
    if path.is_file():
        refuse_pointer(path)
    raw = read_json_bounded(path)
    if not isinstance(raw, dict):
        raise ArtifactError(f"{path}: not a JSON object; restore the file")
    try:
        require_architecture(raw.get("model_type"))
    except ConfigError as err:
        raise ArtifactError(f"{path}: {err}") from err
    if raw["model_type"] not in CONFIG_MAPPING:
        raise ArtifactError(
            f"{path}: the installed transformers does not know the kind {raw['model_type']!r}; "
            "install a newer one"
        )
    for key in raw:
        if _names_code(key) and saved:
            raise ArtifactError(f"{path}: {key!r} names code to run; refused")
    if raw.get(QUANTIZED) is not None:
        raise ArtifactError(
            f"{path}: {QUANTIZED}: quantised weights are not supported; save the model as it was "
            "before it was quantised"
        )
    for key, value in ONE_VALUE.items():
        if raw.get(key, value) not in (value, None):
            raise ArtifactError(f"{path}: {key} = {raw[key]!r} is not supported, only {value!r}")
    known = {key: value for key, value in raw.items() if key in KEYS and value is not None}
    for key, value in known.items():
        _check(path, key, value)
    with library_faults(lambda err: ArtifactError(f"{path}: cannot be read ({err})")):
        config = CONFIG_MAPPING[raw["model_type"]](**known)
        if not saved:
            _refuse_what_is_lost(path, raw, config)
    return config


def saved_configuration(config: Any) -> dict[str, Any]:
    """Content of the config.json that xrt writes: the kind and known keys, for any transformers.

    Args:
        config: a transformers configuration.

    Returns:
        Plain values for JSON.
    """
    content = config.to_dict()
    known = {key: content[key] for key in sorted(KEYS & content.keys()) if content[key] is not None}
    return {"model_type": config.model_type, "architectures": config.architectures, **known}


def check_config(config: Any, params: EncoderParams) -> None:
    """Raises ConfigError when the encoder of a transformers configuration cannot be read as the
    settings say.

    Args:
        config: a transformers configuration.
        params: the settings.

    Raises:
        ConfigError: texts may be longer than the encoder reads, no layer is left to train, or the
            kind of encoder is not supported.
    """
    positions = position_limit(config)
    if positions is not None and params.max_length > positions:
        raise ConfigError(
            f"encoder.max_length = {params.max_length}: "
            f"the encoder reads at most {positions} tokens"
        )
    if params.frozen_layers >= config.num_hidden_layers:
        raise ConfigError(
            f"encoder.frozen_layers = {params.frozen_layers}: the encoder has "
            f"{config.num_hidden_layers} layers, and one must be left to train; choose at most "
            f"{config.num_hidden_layers - 1}"
        )


def _names_code(key: str) -> bool:
    return key in ("auto_map", "custom_pipelines") or "_implementation" in key


def _check(path: Path, key: str, value: Any) -> None:
    """Raises ArtifactError when the value of a known key is of a wrong type or out of bounds."""
    if key in WHOLE_NUMBERS:
        low, high = WHOLE_NUMBERS[key]
        fits = _is_whole(value) and low <= value <= high
        rule = f"a whole number from {low} to {high}"
    elif key in NUMBERS:
        fits, rule = _is_number(value), "a finite number"
    elif key in FLAGS:
        fits, rule = isinstance(value, bool), "true or false"
    elif key in WORDS:
        words = value if isinstance(value, list) else [value]
        fits = len(words) <= LAYERS[1] and all(_is_word(word) for word in words)
        rule = "a word, or a list of them"
    else:
        fits, rule = _is_rope(value), "an object of numbers and words"
    if not fits:
        raise ArtifactError(f"{path}: {key} = {str(value)[:60]!r}: must be {rule}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and math.isfinite(value) and abs(value) < 1e12


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 60


def _is_rope(value: Any, depth: int = 2) -> bool:
    """Numbers and words by name, in one group for each kind of layer or in none."""
    if isinstance(value, dict) and depth:
        return len(value) <= 32 and all(_is_rope(inner, depth - 1) for inner in value.values())
    return value is None or isinstance(value, bool) or _is_number(value) or _is_word(value)


def _refuse_what_is_lost(path: Path, raw: dict[str, Any], config: Any) -> None:
    """Raises ArtifactError where a key that is not known changes what the encoder computes."""
    for key in raw.keys() - KEYS - ONE_VALUE.keys() - NOT_READ:
        if hasattr(config, key) and getattr(config, key) != raw[key] and not _names_code(key):
            raise ArtifactError(f"{path}: {key} = {str(raw[key])[:60]!r} is not supported")


NOT_READ = frozenset({
    "model_type", "architectures", "transformers_version", "name_or_path", "_name_or_path", "dtype",
    "torch_dtype", "use_cache", "return_dict", "output_hidden_states", "output_attentions",
    "chunk_size_feed_forward", "id2label", "label2id", "num_labels", "problem_type",
    "finetuning_task", "task_specific_params", "tokenizer_class", "prefix", "n_positions",
    "gradient_checkpointing", "pooler_dropout", "pooler_hidden_act", "pooler_hidden_size",
    "classifier_dropout", "classifier_dropout_prob", "classifier_pooling", "classifier_bias",
    "classifier_activation", "qa_dropout", "seq_classif_dropout", "cls_dropout", "summary_type",
    "summary_use_proj", "summary_activation", "summary_last_dropout", "summary_first_dropout",
    "summary_proj_to_labels", "start_n_top", "end_n_top", "num_decoder_layers", "decoder_bias",
    "sparse_prediction", "sparse_pred_ignore_index", "deterministic_flash_attn", "pretraining_tp",
    "reference_compile", "repad_logits_with_grad", "scale_decoder_outputs", "lang2id", "id2lang",
    "asm_cutoffs", "asm_div_value", "dense_act_fn", "is_gated_act", "true_hidden_size",
})  # fmt: skip
"""Keys that no encoder reads: of heads, of decoders, of how a model is called."""
