"""`xrt train`: hydra composes the settings; the pipeline below gets plain objects.

The run folder is hydra's run folder, runs/NAME by default and the same every time, so that a run
that was stopped goes on where it was, and stages that are up to date are skipped.
"""

import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf

from xrt.applications import Application, applications
from xrt.cli.doors import training_option
from xrt.cli.settings import names_of, ready_for_hydra
from xrt.config import (
    COMPOSITION_ERRORS,
    HYDRA_VERSION_BASE,
    NULL_ABOVE,
    build_all,
    conf_folder,
    conf_folders,
    conf_groups,
    explain,
    given_settings,
    register,
    settings_types,
)
from xrt.errors import ConfigError, XrtError

if TYPE_CHECKING:
    from xrt.pipeline.choosing.contest import ChoosingStopped
    from xrt.pipeline.params import PipelineParams

logger = logging.getLogger(__name__)


def run(words: Sequence[str]) -> int:
    """Train with these settings.

    Args:
        words: `key=value`, `group=choice` and hydra's options.

    Returns:
        The exit code.

    Raises:
        XrtError: In one line for a setting that is unknown or of the wrong type, and for the faults
            of all runs of a sweep.
    """
    settings = ready_for_hydra(words)
    if _asks_for_help(settings):
        return _print_reference([word for word in settings if not word.startswith("-")])
    register()
    faults: list[str] = []
    bugs: list[Exception] = []

    def job(config: DictConfig) -> float | None:
        # a fault of one run of a sweep does not stop the others; hydra would print it in many lines
        try:
            return train_once(config, names_of(settings))
        except XrtError as err:
            logger.debug("stopped", exc_info=True)
            faults.append(err.worded(training_option))
        except COMPOSITION_ERRORS as err:
            faults.append(explain(err))
        except Exception as err:
            bugs.append(err)
        return None

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here, not to its printer
    entry = hydra.main(
        version_base=HYDRA_VERSION_BASE, config_path=str(conf_folder()), config_name="train"
    )(job)
    argv, sys.argv = sys.argv, [sys.argv[0], *settings]
    try:
        entry()
    except COMPOSITION_ERRORS as err:
        raise ConfigError(explain(err)) from err
    except XrtError:
        raise
    except Exception as err:
        raise _composition_fault(err, settings) from err
    finally:
        sys.argv = argv
    if bugs:
        raise bugs[0]
    if faults:
        raise XrtError("; ".join(faults))
    return 0


def _asks_for_help(settings: Sequence[str]) -> bool:
    """Whether the settings are to be explained; hydra prints what its other options ask for."""
    options = {word for word in settings if word.startswith("-")}
    return bool(options) and options <= {"--help", "-h"}


def _print_reference(settings: Sequence[str]) -> int:
    """Each setting with the value that these words give it, what it may be, and its meaning."""
    from xrt.cli.reference import reference, to_text

    try:
        print(to_text(*reference(settings)), end="")
    except COMPOSITION_ERRORS as err:
        raise ConfigError(explain(err)) from err
    return 0


def _composition_fault(err: Exception, settings: Sequence[str]) -> Exception:
    """What to raise for an error of hydra's that came before any work was begun."""
    if isinstance(err, AssertionError) and str(err).startswith(NULL_ABOVE):
        nested = [setting for setting in settings if "." in setting.partition("=")[0]]
        parts = sorted({setting.partition(".")[0] for setting in nested} & set(conf_groups()))
        ways = " and ".join(
            f"{part}={'|'.join(name for name in conf_groups()[part] if name != 'none')}"
            for part in parts
        )
        return ConfigError(
            f"{', '.join(nested)}: a part that is null has no settings; choose one ({ways}), or "
            "leave them out"
        )
    cause: BaseException | None = err
    while cause is not None:  # logging hides that a log file cannot be written
        if isinstance(cause, OSError) and cause.filename is not None:
            return cause
        cause = cause.__cause__ or cause.__context__
    of_hydra = [setting for setting in settings if setting.startswith(("hydra", "-"))]
    why = f"{type(err).__name__}: {err}" if str(err) else type(err).__name__
    return ConfigError(
        f"{', '.join(of_hydra or settings)}: hydra cannot use this ({why}); leave out what is not "
        "needed"
    )


def train_once(config: DictConfig, names: Sequence[str] = ()) -> float | None:
    """One run: the settings become the pipeline's parameters, and the pipeline does the rest.

    Args:
        config: All settings.
        names: Full names of the settings on the command line.

    Returns:
        What a sweeper that optimises maximises (`TrainOutcome.objective`); None where no row was
        held out, and for an estimate.

    Raises:
        XrtError: A setting, the data or the machine is not fit for it.
    """
    from xrt import pipeline
    from xrt.encoder.launcher import launched_rank
    from xrt.pipeline.choosing.aspects import leave_given
    from xrt.pipeline.choosing.contest import ChoosingStopped
    from xrt.pipeline.idle_settings import refuse_idle_settings
    from xrt.progress import RichProgress

    hydra_config = HydraConfig.get()
    require_given(config, hydra_config.runtime.choices)
    params, settings = build_params(config)
    words = list(hydra_config.overrides.task)
    given = given_settings(words, _folders(hydra_config.runtime))
    params = leave_given(params, given)
    if hydra_config.mode != RunMode.MULTIRUN:  # in a sweep one run needs what another ignores
        refuse_idle_settings(params, names)
        for application, own in settings:
            application.refuse_idle_settings(own, names)
    folder = Path(hydra_config.runtime.output_dir)
    hooks = next(
        (hooks for one, own in settings if (hooks := one.hooks(own, params)) is not None), None
    )
    if params.estimate:
        print(pipeline.estimate_run(params, folder, hooks, given))
        return None
    logger.info("run folder: %s", folder)
    rank = launched_rank()  # before the lock of the run folder, which the first process takes
    if rank is not None and rank.number > 0:
        pipeline.follow(params, folder, rank, hooks)
        return None
    stages = _stages(config)
    try:
        outcome = pipeline.train(params, folder, RichProgress(), hooks, given, stages, rank)
    except ChoosingStopped as stop:
        print(_said_of_stop(stop, words), file=sys.stderr)
        raise
    print(outcome.to_text())
    return outcome.objective


def _stages(config: DictConfig) -> Path | None:
    """The folder in which runs share finished stages: those of a sweep do."""
    if config.paths.stages is not None:
        return Path(config.paths.stages)
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    return Path(config.paths.runs) / ".stages" if in_sweep else None


def _folders(runtime: Any) -> list[Path]:
    """The folders in which hydra looks for files, those of `--config-dir` included."""
    sources = [source for source in runtime.config_sources if source.schema == "file"]
    return [Path(source.path) for source in sources]


def _said_of_stop(stop: "ChoosingStopped", words: Sequence[str]) -> str:
    """One line with the command that trains what was found before Ctrl-C."""
    kept = [_unquoted(word) for word in words if not word.startswith("linear=")]
    chosen = ["linear=default", *stop.choices.as_words()]
    command = shlex.join(["xrt", "train", *kept, *chosen])
    return f"xrt: settings were being chosen; to train with the best so far: {command}"


def _unquoted(word: str) -> str:
    """A setting without the quotes that `ready_for_hydra` put around its value, and puts again."""
    name, separator, value = word.partition("=")
    inner = value[1:-1]
    if value != f"'{inner}'" or "'" in inner or "\\" in inner:
        return word
    return name + separator + inner


def require_given(config: DictConfig, choices: Mapping[str, str | None]) -> None:
    """Check the settings that a chosen file of conf/ leaves open (`???`).

    Args:
        config: All settings.
        choices: The chosen file of each group.

    Raises:
        ConfigError: One of them has no value, or null; the defaults below the file would stand.
    """
    faults = []
    for group, choice in choices.items():
        files = [folder / group / f"{choice}.yaml" for folder in conf_folders()]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            continue
        content = OmegaConf.to_container(OmegaConf.load(file))
        assert isinstance(content, dict)
        for key in (str(key) for key, value in content.items() if value == MISSING):
            name = f"{group}.{key}"
            if OmegaConf.select(config, name) in (None, ""):
                faults.append(
                    f"{name}: not given, and {group}={choice} needs it; write {name}=FILE"
                )
    if faults:
        raise ConfigError("; ".join(faults))


def build_params(
    config: DictConfig,
) -> tuple["PipelineParams", list[tuple[Application, Any]]]:
    """What the settings mean.

    Args:
        config: All settings.

    Returns:
        The pipeline's parameters, and each application that has settings, with these.

    Raises:
        ConfigError: With all faults of all settings.
    """
    if not str(config.name).strip(" ./"):
        raise ConfigError(f"name = {str(config.name)!r}: names the run's folder; give it a name")
    try:
        params, *own = build_all(settings_types(), config)
    except RecursionError as err:
        raise ConfigError(
            "an interpolation (${...}) refers to itself; write the value in its place"
        ) from err
    with_settings = [one for one in applications() if one.settings_type() is not None]
    return params, list(zip(with_settings, own, strict=True))
