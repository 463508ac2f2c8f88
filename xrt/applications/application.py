"""What an application adds to xrt: commands, settings, training, saved models of its own kind."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from xrt.pipeline.params import PipelineParams
    from xrt.predict import Predictor, Suggestion


class Command(NamedTuple):
    """A command that an application adds to `xrt`.

    Attributes:
        name: the word behind `xrt`.
        help: one line for `xrt --help`.
        run: runs the words behind the name; returns the exit code.
        parser: the parser of the command, or of a part of it (`audit apply`), by its full name.
        parts: full names of the command's parts, such as `audit apply`.
        option_names: options whose names differ from the arguments of Python, by those; None where
            the command has none.
    """

    name: str
    help: str
    run: Callable[[Sequence[str]], int]
    parser: Callable[[str], argparse.ArgumentParser]
    parts: tuple[str, ...] = ()
    option_names: Mapping[str, str | None] = MappingProxyType({})


class RowFiller(Protocol):
    """A model that gives each row of a table values, one for each of its attributes."""

    @property
    def predictor(self) -> "Predictor":
        """The model of the labels below."""

    @property
    def fields(self) -> Sequence[str]:
        """The columns that the model reads, at least one."""

    @property
    def attributes(self) -> Sequence[str]:
        """The columns whose values it gives."""

    def fill(self, items: Sequence[Mapping[str, Any]]) -> "list[dict[str, Suggestion]]":
        """The values of each item.

        Args:
            items: Items, each a mapping from column to cell.

        Returns:
            For each item the value of each attribute; the name of a suggestion is the bare value,
            '' where there is none.

        Raises:
            DataError: No item has a column that the model reads, or a cell cannot be used.
        """


class Application:
    """Base of applications, each of which adds what it overrides.

    `xrt.applications.applications()` finds them: the module `application` of each folder exposes an
    instance as `APPLICATION`. That module imports nothing heavy; methods import what they need.

    Attributes:
        name: the name of its folder.
        commands: what it adds to `xrt`.
        conf_groups: groups of settings that `xrt train` gets from the folder `conf` of the
            application, each with the file that is chosen where nothing else is.
    """

    name: str
    commands: tuple[Command, ...] = ()
    conf_groups: Mapping[str, str] = MappingProxyType({})

    @property
    def conf_folder(self) -> Path | None:
        """The folder of its groups and presets for `xrt train`; None where there is none."""
        module = sys.modules[type(self).__module__]
        assert module.__file__ is not None
        folder = Path(module.__file__).resolve().parent / "conf"
        return folder if folder.is_dir() else None

    def settings_type(self) -> type | None:
        """The settings that `xrt train` takes beside the pipeline's.

        Returns:
            A frozen dataclass; None where the application has no settings.
        """
        return None

    def refuse_idle_settings(self, settings: Any, names: Sequence[str]) -> None:
        """Check that the settings given by hand have an effect.

        Args:
            settings: An instance of `settings_type`.
            names: Full names of all settings that were given by hand.

        Raises:
            ConfigError: One of them has none.
        """

    def hooks(self, settings: Any, params: "PipelineParams") -> Any:
        """What customises the training run.

        Args:
            settings: An instance of `settings_type`.
            params: The settings of the pipeline.

        Returns:
            Hooks of `xrt.pipeline`; None where the run is not one of this application.
        """
        return None

    def owns_model(self, folder: str) -> bool:
        """Whether the saved model in a folder is of this application's kind; nothing is opened.

        Args:
            folder: The folder of the model, or any text.

        Returns:
            False here; an application with models of its own overrides it.
        """
        return False

    def add_predict_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add options of `xrt predict` that its models take, all of them with neutral defaults.

        Args:
            parser: The parser of `xrt predict`; options are added to it.
        """

    def refuse_predict_arguments(self, arguments: argparse.Namespace) -> None:
        """Check arguments of `xrt predict` for a model of another kind.

        Args:
            arguments: All of them.

        Raises:
            ConfigError: One of `add_predict_arguments` was given.
        """

    def unused_options(self, command: str) -> tuple[str, ...]:
        """Names of arguments of `predict` or `evaluate` that its models do not take.

        Args:
            command: `predict` or `evaluate`.

        Returns:
            Names of arguments, as the parsed arguments call them; none here.
        """
        return ()

    def predict(self, arguments: argparse.Namespace) -> int:
        """Run `xrt predict` for a model of its kind.

        Args:
            arguments: The parsed arguments of the command.

        Returns:
            The exit code.

        Raises:
            NotImplementedError: The application has no models of its own.
        """
        raise NotImplementedError

    def evaluate(self, arguments: argparse.Namespace) -> int:
        """Run `xrt evaluate` for a model of its kind.

        Args:
            arguments: The parsed arguments of the command.

        Returns:
            The exit code.

        Raises:
            NotImplementedError: The application has no models of its own.
        """
        raise NotImplementedError

    def open_filler(
        self, folder: str | Path, num_threads: int | None = None, compute: str = "auto"
    ) -> RowFiller | None:
        """Open a model of its kind for a server.

        Args:
            folder: The folder of the model.
            num_threads: Threads that predict; None for the default.
            compute: How its encoder computes.

        Returns:
            What fills rows; None here: the model suggests labels, as any other.

        Raises:
            ArtifactError: The folder is damaged.
        """
        return None
