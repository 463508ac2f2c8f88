"""Plain text tables that read the same in a terminal, a log and a README."""

from collections.abc import Sequence


def align(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width two spaces apart, the first flush left, the others flush right.

    >>> print(align([["", "@1"], ["P", "50.00"]]))
          @1
    P  50.00

    Args:
        rows: cells of each row, the header first.

    Returns:
        Lines of text.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
