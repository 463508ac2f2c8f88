"""The application `attributes`: one value, or none, for each of several attributes of an item."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from xrt.applications.application import Application, RowFiller
from xrt.errors import ConfigError

if TYPE_CHECKING:
    from xrt.pipeline.params import PipelineParams

_SAVED_SETTINGS = "attributes.json"  # in the folder of a model of attributes


class AttributesApplication(Application):
    """Models of product attributes: trained with a schema, they fill catalogues."""

    name = "attributes"
    conf_groups = MappingProxyType({"schema": "none"})

    def settings_type(self) -> type:
        """`schema`, `label_tree` and `decode`.

        Returns:
            `AttributeSettings`.
        """
        from xrt.applications.attributes.settings import AttributeSettings

        return AttributeSettings

    def refuse_idle_settings(self, settings: Any, names: Sequence[str]) -> None:
        """Raise ConfigError for a label tree by hand where there is no schema.

        Args:
            settings: The settings of attributes.
            names: Full names of all settings that were given by hand.

        Raises:
            ConfigError: `label_tree` is among them, and there is no schema.
        """
        if settings.schema is None and "label_tree" in names:
            raise ConfigError(
                "label_tree: has no effect without a schema; choose one, as in schema=auto, or "
                "leave it out"
            )

    def hooks(self, settings: Any, params: "PipelineParams") -> Any:
        """The hooks of a run with a schema.

        Args:
            settings: The settings of attributes.
            params: The settings of the pipeline.

        Returns:
            The hooks; None without a schema.
        """
        if settings.schema is None:
            return None
        from xrt.applications.attributes.catalogue_training import AttributeHooks

        return AttributeHooks(settings, params.num_threads or None)

    def owns_model(self, folder: str) -> bool:
        """Whether the model knows how attributes go together.

        Args:
            folder: The folder of the model, or any text.

        Returns:
            True where the settings of attributes are saved there.
        """
        return (Path(folder) / _SAVED_SETTINGS).is_file()

    def add_predict_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Options of filling: `--review`, `--overwrite`, `--decode`.

        Args:
            parser: The parser of `xrt predict`; the options are added to it.
        """
        from xrt.applications.attributes.commands import add_predict_arguments

        add_predict_arguments(parser)

    def refuse_predict_arguments(self, arguments: argparse.Namespace) -> None:
        """Raise ConfigError where a model of labels is to fill attributes.

        Args:
            arguments: All arguments of the command.
        """
        from xrt.applications.attributes.commands import refuse_attribute_options

        refuse_attribute_options(arguments)

    def unused_options(self, command: str) -> tuple[str, ...]:
        """Arguments that are for models of labels.

        Args:
            command: `predict` or `evaluate`.

        Returns:
            Names of arguments; none for another command.
        """
        from xrt.applications.attributes.commands import UNUSED_OPTIONS

        return UNUSED_OPTIONS.get(command, ())

    def predict(self, arguments: argparse.Namespace) -> int:
        """Fill the missing attributes of a catalogue.

        Args:
            arguments: The arguments of `xrt predict`.

        Returns:
            The exit code.
        """
        from xrt.applications.attributes.commands import predict

        return predict(arguments)

    def evaluate(self, arguments: argparse.Namespace) -> int:
        """Print the table of attributes.

        Args:
            arguments: The arguments of `xrt evaluate`.

        Returns:
            The exit code.
        """
        from xrt.applications.attributes.commands import evaluate

        return evaluate(arguments)

    def open_filler(
        self, folder: str | Path, num_threads: int | None = None, compute: str = "auto"
    ) -> RowFiller:
        """Open a model for a server.

        Args:
            folder: The folder of the model.
            num_threads: Threads that predict; None for the default.
            compute: How its encoder computes.

        Returns:
            The model.
        """
        from xrt.applications.attributes.predictor import AttributePredictor, ItemFiller

        return ItemFiller(AttributePredictor.load(folder, True, num_threads, compute))


APPLICATION = AttributesApplication()
