"""Weights of an encoder's files, put into a model by name: none is missing, of another shape, or
drawn at random in silence.
"""

import functools
import itertools
import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModel, AutoModelForTextEncoding

from xrt.encoder.architectures import ENCODER_OF_TWO
from xrt.encoder.folder import library_faults, refuse_pointer, weight_files
from xrt.errors import ArtifactError

logger = logging.getLogger(__name__)

WRAPPERS = ("_orig_mod.", "module.", "model.", "auto_model.", "0.")
"""What torch.compile, DDP, Lightning and sentence-transformers put before the names of weights."""
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
SLACK = 1 << 22
"""Weights that a model may have beyond those of its files: a pooler that is not used."""
_NUMBERED = re.compile(r"\.\d+\.")


def load_weights(folder: Path, config: Any) -> Any:
    """The model that a configuration describes, with the weights of a folder, as float32.

    Args:
        folder: Holds model.safetensors, or several such files and their index.
        config: A configuration of transformers.

    Returns:
        The model; of an encoder-decoder its encoder.

    Raises:
        ArtifactError: A file cannot be read, or its weights are not those that the configuration
            describes.
        ConfigError: There is no file of weights.
    """
    shapes = shapes_of(folder)
    if (folder / "adapter_config.json").is_file():
        raise ArtifactError(
            f"{folder}: has adapters beside its weights (adapter_config.json); merge them into the "
            "weights (merge_and_unload of peft), save that model and pass its folder"
        )
    kind: Any = AutoModelForTextEncoding if config.model_type in ENCODER_OF_TWO else AutoModel
    with library_faults(lambda err: ArtifactError(f"{folder}: config.json makes no model ({err})")):
        with torch.device("meta"):
            plan = kind.from_config(config)
    _check_size(folder, plan, shapes)
    prefix = _wrapper_of(shapes, plan)
    if prefix:
        logger.warning("%s: names of weights begin with %r, which a wrapper put there; read "
                       "without it", folder, prefix)  # fmt: skip
    with library_faults(lambda err: ArtifactError(f"{folder}: weights cannot be read ({err})")):
        model, report = kind.from_pretrained(
            folder, config=config, use_safetensors=True, dtype=torch.float32,
            local_files_only=True, trust_remote_code=False, output_loading_info=True,
            ignore_mismatched_sizes=True,
            key_mapping={f"^{re.escape(prefix)}": ""} if prefix else None,
        )  # fmt: skip
    _check_report(folder, model, shapes, report)
    _check_finite(folder, model)
    for name, parameter in plan.named_parameters():
        if not parameter.requires_grad:  # a table that is computed, not trained
            model.get_parameter(name).requires_grad_(False)
    return model


def shapes_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a folder; only headers are read.

    Args:
        folder: the encoder's folder.

    Returns:
        Shapes by name.

    Raises:
        ArtifactError: A file is broken, a pointer of git-lfs, or holds quantised weights.
        ConfigError: There is no file of weights.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        refuse_pointer(path)
        with library_faults(functools.partial(_broken, path)):
            with safe_open(path, "pt") as file:
                for name in file.keys():
                    part = file.get_slice(name)
                    shapes[name] = tuple(part.get_shape())
                    if name.endswith("weight") and part.get_dtype() not in FLOATS:
                        raise ArtifactError(
                            f"{path}: {name} is of type {part.get_dtype()}, quantised; save the "
                            "weights as float32, float16 or bfloat16"
                        )
    return shapes


def _broken(path: Path, err: str) -> ArtifactError:
    size = path.stat().st_size
    return ArtifactError(
        f"{path}: {size} bytes that are no whole safetensors file ({err}); copy or download it "
        "again"
    )


def _check_size(folder: Path, plan: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raises ArtifactError where a model would be much larger than its files, before memory is
    taken for it.
    """
    described = sum(p.numel() for p in plan.parameters())
    in_files = sum(torch.Size(shape).numel() for shape in shapes.values())
    if described > 2 * in_files + SLACK:  # 2: a table that is used twice lies in the file once
        raise ArtifactError(
            f"{folder}: config.json describes {described} weights, the files hold {in_files}; they "
            "are not of one model"
        )


def _wrapper_of(names: Collection[str], plan: Any) -> str:
    """What stands before the names of most weights of the model, in addition to the name of the
    model within a larger one; often nothing.
    """
    model_names = list(plan.state_dict())
    within = f"{plan.base_model_prefix}."

    def fits(prefix: str) -> int:
        return sum(
            prefix + name in names or prefix + within + name in names for name in model_names
        )

    most, best = fits(""), ""
    for depth in (1, 2, 3):
        for parts in itertools.product(WRAPPERS, repeat=depth):
            prefix = "".join(parts)
            if any(name.startswith(prefix) for name in names) and fits(prefix) > most:
                most, best = fits(prefix), prefix
    return best


def _check_report(
    folder: Path, model: Any, shapes: dict[str, tuple[int, ...]], report: dict[str, Any]
) -> None:
    """Raises ArtifactError where a weight of the model is not in the files, or of another shape,
    or where the files have layers that the model has not. Poolers and heads are not used.
    """
    mismatched = sorted(name for name, *_ in report["mismatched_keys"] if not _is_pooler(name))
    if mismatched:
        name, shape, expected = next(
            entry for entry in sorted(report["mismatched_keys"]) if entry[0] == mismatched[0]
        )
        raise ArtifactError(
            f"{folder}: {len(mismatched)} weights have another shape than config.json says, first "
            f"{name}: {tuple(shape)}, not {tuple(expected)}; take both files from one model"
        )
    missing = sorted(name for name in report["missing_keys"] if not _is_pooler(name))
    if missing:
        example = next(iter(sorted(shapes)), "nothing")
        raise ArtifactError(
            f"{folder}: {len(missing)} of {len(model.state_dict())} weights of the encoder are not "
            f"in the files by name, first {missing[0]!r} (the files have {example!r}); they would "
            "be random: save the model itself, not a wrapper around it, with save_pretrained"
        )
    extra = sorted(_unused(model, report["unexpected_keys"]))
    if any(_NUMBERED.search(name) for name in extra):
        layer = next(name for name in extra if _NUMBERED.search(name))
        raise ArtifactError(
            f"{folder}: the files have {len(extra)} weights of layers that config.json does not "
            f"describe, first {layer!r}; correct its number of layers "
            f"({model.config.num_hidden_layers}), or save the smaller model with save_pretrained"
        )
    if extra:
        logger.warning("%s: %d weights are not used by an encoder of the kind %s, first %r",
                       folder, len(extra), model.config.model_type, extra[0])  # fmt: skip


def _unused(model: Any, names: Collection[str]) -> list[str]:
    """Of the names of weights that the model does not take: those within its own parts."""
    parts = {name for name, _ in model.named_children()}
    within = f"{model.base_model_prefix}."
    inner = [name.removeprefix(within) for name in names]
    return [name for name in inner if name.partition(".")[0] in parts and not _is_pooler(name)]


def _is_pooler(name: str) -> bool:
    return "pooler" in name.split(".")


def _check_finite(folder: Path, model: Any) -> None:
    """Raises ArtifactError where a weight is not a finite number."""
    for name, parameter in model.named_parameters():
        if not _is_pooler(name) and not bool(torch.isfinite(parameter).all()):
            raise ArtifactError(
                f"{folder}: {name} holds values that are not finite; download the weights again, "
                "or save them as float32"
            )
