"""Words that say "there is none": one list, wherever a cell of a catalogue is read."""

WORDS_FOR_NOTHING = (
    *("na", "n/a", "none", "null", "nan", "<na>", "nat", "nil", "n.a.", "#n/a", "#null!"),
    *("undefined", "not available", "not applicable", "(none)", "(null)", "[null]", "\\n"),
    *("-", "--", "---", "–", "—"),
)
"""As programs and people write them, small; cells in any case are meant."""
_WORDS = frozenset(WORDS_FOR_NOTHING)


def says_nothing(cell: str) -> bool:
    """Whether a clean cell says that there is no value.

    Args:
        cell: The cell, as `clean_label` gives it.

    Returns:
        True for words such as `n/a`.
    """
    return cell.casefold() in _WORDS
