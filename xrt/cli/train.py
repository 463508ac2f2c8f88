"""`xrt train`: hydra composes the settings; the pipeline below gets plain objects.

The run folder is hydra's run folder, runs/NAME by default and the same every time, so that a run
that was stopped goes on where it was, and stages that are up to date are skipped.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from xrt.cli.doors import option_writer
from xrt.config import (
    COMPOSITION_ERRORS,
    HYDRA_VERSION_BASE,
    NULL_ABOVE,
    build,
    conf_folder,
    explain,
    pipeline_params,
    register,
)
from xrt.errors import ConfigError, XrtError

logger = logging.getLogger(__name__)


def run(settings: Sequence[str]) -> int:
    """Train with these settings (`key=value`, `group=choice`, hydra's options); the exit code.

    Raises ConfigError in one line for a setting that is unknown or of the wrong type.
    """
    _let_threads_sleep()
    register()
    faults: list[str] = []

    def job(config: DictConfig) -> None:
        # a fault of one run of a sweep does not stop the others; hydra would print it in many lines
        try:
            train_once(config)
        except XrtError as err:
            logger.debug("stopped", exc_info=True)
            faults.append(err.worded(option_writer(["train"])))

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here, not to its printer
    entry = hydra.main(
        version_base=HYDRA_VERSION_BASE, config_path=str(conf_folder()), config_name="train"
    )(job)
    argv, sys.argv = sys.argv, [sys.argv[0], *map(_full_name, settings)]
    try:
        entry()
    except COMPOSITION_ERRORS as err:
        raise ConfigError(explain(err)) from err
    except AssertionError as err:
        if not str(err).startswith(NULL_ABOVE):
            raise
        inner = ", ".join(setting for setting in settings if "." in setting.partition("=")[0])
        raise ConfigError(
            f"{inner}: a part that is null has no settings; choose one, as in encoder=minilm or "
            "schema=auto, or leave them out"
        ) from err
    finally:
        sys.argv = argv
    if faults:
        raise XrtError("; ".join(faults))
    return 0


def _let_threads_sleep() -> None:
    """Have torch's threads sleep while they wait, unless the user has said otherwise.

    By default they spin: on shared processors two trainings at once then take four times as long
    instead of twice. To be called before torch is imported. A predictor is not asked to: to wake a
    thread takes as long as a short text.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


_SHORT_NAMES = {"data.path": "dataset.trn"}


def _full_name(setting: str) -> str:
    """`data.path=FILE` is `dataset.trn=FILE`."""
    name, equals, value = setting.partition("=")
    return f"{_SHORT_NAMES.get(name, name)}{equals}{value}"


def train_once(config: DictConfig) -> None:
    """One run: the settings become the pipeline's parameters, and the pipeline does the rest."""
    from xrt.progress import RichProgress

    params = build(pipeline_params(), config)
    folder = Path(HydraConfig.get().runtime.output_dir)
    estimate, train = _runs(params)
    if params.estimate:
        print(estimate(params, folder))
        return
    logger.info("run folder: %s", folder)
    print(train(params, folder, progress=RichProgress()).to_text())


def _runs(params: Any) -> tuple[Callable[..., str], Callable[..., Any]]:
    """How such a run is estimated, and how it is done."""
    if params.schema is not None:
        from xrt.applications.attributes.training import estimate_attributes, train_attributes

        return estimate_attributes, train_attributes
    from xrt.pipeline import estimate_run, train

    return estimate_run, train
