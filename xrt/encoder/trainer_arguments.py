"""Arguments of Lightning's Trainer as settings: which there are, which of them xrt sets itself, and
how loggers and callbacks are written; free of Lightning.
"""

import ast
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

from xrt.errors import ConfigError

_STEPS = "write matcher.steps or matcher.num_epochs"
_VALIDATION = "write matcher.validate_every_steps"
_CHECKPOINTS = "xrt keeps checkpoints itself"
_CLIPPING = "xrt clips encoder and heads apart"
_ALONE = "xrt fits, and has no use for it"
SET_BY_XRT: Mapping[str, str] = {
    "accelerator": "write trainer.accelerator",
    "devices": "write trainer.devices",
    "precision": "write trainer.precision",
    "max_steps": _STEPS,
    "min_steps": _STEPS,
    "max_epochs": _STEPS,
    "min_epochs": _STEPS,
    "limit_train_batches": _STEPS,
    "overfit_batches": _STEPS,
    "fast_dev_run": "write debug=fast_dev_run",
    "val_check_interval": _VALIDATION,
    "check_val_every_n_epoch": _VALIDATION,
    "num_sanity_val_steps": _VALIDATION,
    "limit_val_batches": _VALIDATION,
    "limit_test_batches": _ALONE,
    "limit_predict_batches": _ALONE,
    "inference_mode": _ALONE,
    "gradient_clip_val": _CLIPPING,
    "gradient_clip_algorithm": _CLIPPING,
    "enable_checkpointing": _CHECKPOINTS,
    "default_root_dir": _CHECKPOINTS,
    "plugins": _CHECKPOINTS,
    "model_registry": _CHECKPOINTS,
    "use_distributed_sampler": "xrt deals out the rows itself",
    "reload_dataloaders_every_n_epochs": "xrt deals out the rows itself",
    "enable_progress_bar": "xrt tells the progress itself",
    "enable_model_summary": "xrt tells the progress itself",
    "barebones": "leave it out; without a logger there is none",
}
"""Arguments that settings cannot give, and what to do instead."""
OPEN = frozenset(
    {
        "accumulate_grad_batches", "benchmark", "callbacks", "detect_anomaly", "deterministic",
        "enable_autolog_hparams", "log_every_n_steps", "logger", "max_time", "num_nodes",
        "profiler", "strategy", "sync_batchnorm",
    }
)  # fmt: skip
"""Arguments that settings may give."""
_COUNTS = ("accumulate_grad_batches", "log_every_n_steps", "num_nodes")
_SWITCHES = (
    "benchmark", "detect_anomaly", "deterministic", "enable_autolog_hparams", "sync_batchnorm",
)  # fmt: skip
CHANGE_RESULTS = ("accumulate_grad_batches", "callbacks", "max_time")
"""Of these, those with which other weights come out, but for rounding: they count in the key of the
fine-tuning."""
LOGGERS: Mapping[str, tuple[str, ...]] = {
    "csv": (),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}
"""Kinds of loggers, and the packages of which each needs one."""


class Call(NamedTuple):
    """A class and what it is made with, as in `wandb(project='tags')`."""

    name: str
    arguments: dict[str, Any]


def read_call(text: Any, setting: str) -> Call:
    """A logger or a callback as settings write it: a name, or a name with arguments.

    Args:
        text: `csv`, `wandb(project='tags')`, `my.module:Class(patience=3)`.
        setting: the full name of the setting.

    Returns:
        The name and the arguments.

    Raises:
        ConfigError: it is written otherwise, or an argument is no plain value.
    """
    match = re.fullmatch(r"([\w.:]+)(\(.*\))?", str(text).strip(), re.DOTALL)
    if match is not None:
        try:
            call = ast.parse(f"f{match[2] or '()'}", mode="eval").body
            if isinstance(call, ast.Call) and not call.args and all(k.arg for k in call.keywords):
                return Call(match[1], {str(k.arg): _value(k.value) for k in call.keywords})
        except (SyntaxError, ValueError):
            pass
    raise ConfigError(
        f"{setting} = {str(text)!r}: write a name, or a name with arguments in Python's notation, "
        "as in NAME(patience=3, mode='max')"
    )


def _value(node: ast.expr) -> Any:
    """A plain value; a word without quotes is a text."""
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def as_list(value: Any) -> list[Any]:
    """One entry, or several, as settings and Lightning take them.

    Args:
        value: None, False, an entry, or a list of them.

    Returns:
        The entries.
    """
    if value is None or value is False or value in ("none", ""):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check names, and what can be told of values without Lightning.

    Args:
        arguments: what `trainer.lightning` holds.

    Raises:
        ConfigError: there is no such argument, xrt sets it itself, or its value cannot be.
    """
    for name, value in arguments.items():
        full = f"trainer.lightning.{name}"
        if name in SET_BY_XRT:
            raise ConfigError(f"{full}: cannot be set; {SET_BY_XRT[name]}")
        if name not in OPEN:
            raise ConfigError(
                f"{full}: no argument of Lightning's Trainer; there are {', '.join(sorted(OPEN))}"
            )
        is_bool = isinstance(value, bool)
        if name in _COUNTS and (not isinstance(value, int) or is_bool or value < 1):
            raise ConfigError(f"{full} = {value!r}: a whole number from 1 on is needed")
        if name in _SWITCHES and not (is_bool or (name, value) == ("deterministic", "warn")):
            raise ConfigError(f"{full} = {value!r}: true or false is needed")
    for text in as_list(arguments.get("logger")):
        _check_logger(read_call(text, "trainer.lightning.logger").name)
    for text in as_list(arguments.get("callbacks")):
        name = read_call(text, "trainer.lightning.callbacks").name
        module, colon, kind = name.partition(":")
        if not (module and colon and kind):
            raise ConfigError(
                f"trainer.lightning.callbacks = {name}: write MODULE:CLASS, as in "
                "lightning.pytorch.callbacks:EarlyStopping(monitor='loss')"
            )


def _check_logger(name: str) -> None:
    if name not in LOGGERS:
        raise ConfigError(
            f"trainer.lightning.logger = {name}: choose none or some of {', '.join(LOGGERS)}"
        )
    packages = LOGGERS[name]
    if packages and all(find_spec(package) is None for package in packages):
        raise ConfigError(
            f"trainer.lightning.logger = {name}: the package {packages[0]} is not installed; "
            f"pip install {packages[0]}, or choose csv"
        )
