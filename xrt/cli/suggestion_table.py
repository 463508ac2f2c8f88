"""Suggestions as a person reads them in a terminal: a text, and below it a bar, the score and the
name of each label.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.text import Text

from xrt.cli.ending import one_line
from xrt.cli.text_input import Line

if TYPE_CHECKING:
    from xrt.predict import Suggestion

WIDE = 60
"""Columns from which a bar has room to be long."""
LONG_BAR, SHORT_BAR = 20, 8


class SuggestionTable:
    """Writes the suggestions for one text after the other. Width and colours are those of the
    terminal (COLUMNS and NO_COLOR respected); control signs of texts and names are not written.
    """

    def __init__(self, target: TextIO) -> None:
        """Begin.

        Args:
            target: Takes what is written.
        """
        self.console = Console(file=target, highlight=False, markup=False, emoji=False)

    def write(self, line: Line, suggestions: Sequence["Suggestion"]) -> None:
        """Write the suggestions for a text.

        Args:
            line: The text, and its id.
            suggestions: Its labels, best first.
        """
        head = Text()
        if line.id is not None:
            head.append(f"{one_line(line.id)}  ", "dim")
        head.append(one_line(line.text) or "(empty text)", "bold")
        self._print(head)
        if not suggestions:
            self._print(Text("  no label scores enough", "dim"))
        for one in suggestions:
            self._print(self._row(one))
        self.console.print()

    def _row(self, suggestion: "Suggestion") -> Text:
        width = LONG_BAR if self.console.width >= WIDE else SHORT_BAR
        full, rest = ("#", ".") if self.console.options.ascii_only else ("━", "─")
        length = round(min(max(suggestion.score, 0.0), 1.0) * width)
        name, label = one_line(suggestion.name), one_line(suggestion.label)
        row = Text("  ")
        row.append(full * length, "green").append(rest * (width - length), "dim")
        row.append(f" {suggestion.score:.3f} ").append(name or label)
        if name and name != label:
            row.append(f"  {label}", "dim")
        return row

    def _print(self, row: Text) -> None:
        """Print one line, cut where the terminal ends."""
        self.console.print(row, no_wrap=True, overflow="ellipsis")
