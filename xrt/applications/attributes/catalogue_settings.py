"""How a run reads catalogues: settings that have an effect, and those that later files need."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from xrt.applications.attributes.data.catalogue import detect_table_format, is_table
from xrt.data.formats import CorpusFormat
from xrt.errors import ConfigError
from xrt.pipeline.params import DatasetParams

_INSTEAD = {
    "text_columns": "name schema.text_columns",
    "label_columns": "name schema.targets",
    "label_separator": "a target has one value a row",
    "labels": "values are their own names",
    "confidences": "values have no confidences",
    "id_column": "a filled catalogue keeps all its columns",
    "filters": "rows have one value of each attribute",
}
"""Settings of a corpus of texts with labels that mean nothing for a catalogue, and what to do."""


@dataclass(frozen=True)
class Reading:
    """`format`: that of files whose name and content tell none, or, where it `overrides` them, of
    every file; None where there is none. `skip_bad_lines`: bad lines are written aside instead of
    ending the work.
    """

    format: str | None = None
    skip_bad_lines: bool = False
    overrides: bool = False

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """As the training file of a saved model was read.

        Args:
            manifest: The manifest of the model.

        Returns:
            Its format and whether bad lines were skipped; where the manifest does not say, None and
            False.
        """
        dataset = dict(manifest.get("configuration", {}).get("dataset") or {})
        return cls(dataset.get("format"), bool(dataset.get("skip_bad_lines")))

    def override(self, format: str | None, skip_bad_lines: bool) -> Self:
        """The same with a user's own format (None: as before), and with bad lines skipped.

        Args:
            format: The format that files are read in, or None.
            skip_bad_lines: Whether bad lines are skipped; they are, too, where they were before.

        Returns:
            A new reading.
        """
        skips = self.skip_bad_lines or skip_bad_lines
        if format is None:
            return replace(self, skip_bad_lines=skips)
        return replace(self, format=format, skip_bad_lines=skips, overrides=True)

    def format_of(self, path: str | Path) -> CorpusFormat:
        """The format of a file. Raises DataError: nothing tells one with named columns.

        Args:
            path: The file.

        Returns:
            The format.
        """
        counts = self.overrides or (self.format is not None and not is_table(Path(path)))
        return detect_table_format(Path(path), self.format if counts else None)


def require_effect(dataset: DatasetParams) -> None:
    """Check that every setting of a catalogue's files means something.

    Args:
        dataset: The settings.

    Raises:
        ConfigError: one differs from its default and is not used, or a test file stands alone.
    """
    if dataset.trn is None and dataset.tst is not None:
        raise ConfigError("dataset.tst is given without dataset.trn; name the training file too")
    default = DatasetParams()
    idle = [name for name in _INSTEAD if getattr(dataset, name) != getattr(default, name)]
    if idle:
        reasons = "; ".join(f"dataset.{name} ({_INSTEAD[name]})" for name in idle)
        raise ConfigError(f"no effect on a catalogue: {reasons}; leave it out")
