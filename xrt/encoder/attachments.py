"""What users attach to a fit: loggers, callbacks, a profiler, further arguments of Lightning's
Trainer.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback, Timer
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.loggers.wandb import WandbLogger
from lightning.pytorch.profilers import (
    AdvancedProfiler,
    PyTorchProfiler,
    SimpleProfiler,
)
from lightning.pytorch.strategies import StrategyRegistry

from xrt.encoder.launcher import Group
from xrt.encoder.params import Strategy, TrainerParams
from xrt.encoder.trainer_arguments import Call, as_list, read_call
from xrt.errors import ConfigError

_PROFILERS = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}


@dataclass(frozen=True, eq=False)
class Attachments:
    """What takes part in a fit beside xrt's own hooks.

    Attributes:
        folder: where loggers and profilers write.
        callbacks: Lightning's callbacks.
        loggers: Lightning's loggers.
        record: a file that gets a line of JSON for each validation; None for none.
        group: the processes of a launcher that fit together; None where the fit starts its own.
    """

    folder: Path = Path("lightning_logs")
    callbacks: Sequence[Callback] = ()
    loggers: Sequence[Logger] = ()
    record: Path | None = None
    group: Group | None = None

    @property
    def names(self) -> list[str]:
        """The classes of the callbacks: they may change what is trained."""
        kinds = [type(callback) for callback in self.callbacks]
        return [f"{kind.__module__}:{kind.__qualname__}" for kind in kinds]


def attached(params: TrainerParams, attachments: Attachments) -> dict[str, Any]:
    """Arguments of Lightning's Trainer for what settings and callers attach.

    Args:
        params: settings, of which `lightning` is read.
        attachments: what a caller attaches beside.

    Returns:
        `logger` and `callbacks` always, and the further arguments of the settings.

    Raises:
        ConfigError: a class cannot be had, or does not take its arguments.
    """
    own = ("accumulate_grad_batches", "callbacks", "logger", "max_time", "num_nodes", "strategy")
    arguments = {name: value for name, value in params.lightning.items() if name not in own}
    if (profiler := arguments.get("profiler")) is not None:
        arguments["profiler"] = _profiler(profiler, attachments.folder)
    callbacks: list[Callback] = []
    if max_time := params.lightning.get("max_time"):
        callbacks.append(_timer(max_time))
    callbacks += [_callback(text) for text in as_list(params.lightning.get("callbacks"))]
    loggers = [
        _logger(text, attachments.folder) for text in as_list(params.lightning.get("logger"))
    ]
    arguments["callbacks"] = [*callbacks, *attachments.callbacks]
    arguments["logger"] = [*loggers, *attachments.loggers] or False
    return arguments


def check_attached(params: TrainerParams) -> None:
    """Check, before hours of other work, that what is attached can be made.

    Args:
        params: settings, of which `lightning` is read.

    Raises:
        ConfigError: what is wrong, in one line.
    """
    if not params.lightning:
        return
    known = {*(kind.value for kind in Strategy), "ddp", *StrategyRegistry.available_strategies()}
    if params.strategy not in known:
        raise ConfigError(
            f"trainer.lightning.strategy = {params.strategy}: no such strategy; there are "
            f"{', '.join(sorted(known))}"
        )
    with tempfile.TemporaryDirectory(prefix="xrt-logs-") as scratch:
        attached(params, Attachments(Path(scratch)))


def _profiler(name: Any, folder: Path) -> Any:
    """A profiler that writes files: Lightning's own write to a log that xrt keeps quiet."""
    if name not in _PROFILERS:
        raise ConfigError(
            f"trainer.lightning.profiler = {name}: choose one of {', '.join(_PROFILERS)}"
        )
    return _PROFILERS[name](dirpath=folder, filename=f"profile-{name}")


def _timer(max_time: Any) -> Timer:
    try:
        return Timer(timedelta(**max_time) if isinstance(max_time, dict) else max_time)
    except Exception as err:  # Lightning's own, ValueError or TypeError
        raise ConfigError(
            f"trainer.lightning.max_time = {max_time!r}: write DD:HH:MM:SS, as in 00:01:30:00"
        ) from err


def _callback(text: Any) -> Callback:
    setting = "trainer.lightning.callbacks"
    call = read_call(text, setting)
    module, _, kind = call.name.partition(":")
    try:
        found = getattr(import_module(module), kind)
    except (ImportError, AttributeError) as err:
        raise ConfigError(f"{setting} = {call.name}: cannot be imported ({err})") from err
    if not (isinstance(found, type) and issubclass(found, Callback)):
        raise ConfigError(f"{setting} = {call.name}: not a callback of Lightning")
    callback: Callback = _made(found, call, setting, call.arguments)
    return callback


def _logger(text: Any, folder: Path) -> Logger:
    setting = "trainer.lightning.logger"
    call = read_call(text, setting)
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "csv": (CSVLogger, {"save_dir": folder, "name": "csv"}),
        "tensorboard": (TensorBoardLogger, {"save_dir": folder, "name": "tensorboard"}),
        "wandb": (WandbLogger, {"save_dir": folder, "project": "xrt"}),
        "mlflow": (MLFlowLogger, {"save_dir": str(folder / "mlflow"), "experiment_name": "xrt"}),
    }
    kind, defaults = kinds[call.name]
    folder.mkdir(parents=True, exist_ok=True)
    logger: Logger = _made(kind, call, setting, {**defaults, **call.arguments})
    return logger


def _made(kind: Any, call: Call, setting: str, arguments: dict[str, Any]) -> Any:
    try:
        return kind(**arguments)
    except Exception as err:  # each class has errors of its own
        line = " ".join(str(err).split())
        raise ConfigError(f"{setting} = {call.name}: cannot be made ({line})") from err
