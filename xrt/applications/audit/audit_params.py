"""The settings of an audit."""

from dataclasses import dataclass

from xrt.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AuditParams:
    """How labels are scored, and from which figures on one is suspected."""

    folds: int = 5
    """Parts of the rows; each part is scored by a linear model of the others."""
    candidates: int = 50
    """Best-scored labels of each row that may be missing ones."""
    neighbours: int = 20
    """Most similar other rows, which vote for their labels."""
    min_probability: float = 0.02
    """Labels less likely than this are never suspected missing."""
    wrong_quantile: float = 0.15
    """A given label may be wrong if it is among this share of those that look most wrong."""
    top_ranks: int = 3
    """And if it is not among so many best-scored labels of its row."""
    min_label_rows: int = 1
    """Rows of a label that the scoring model must have seen; pairs with fewer are not judged."""
    max_suggestions: int = 200_000
    """Suggestions of each kind that are written, best ones first."""
    near_duplicate: float = 0.9
    """TF-IDF cosine from which two rows count as near-duplicates."""
    similar_names: float = 0.6
    """Cosine of character trigrams from which two names count as alike."""
    seed: int = 0
    num_threads: int | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("folds", 2), ("candidates", 1), ("neighbours", 1), ("top_ranks", 0),
            ("min_label_rows", 1), ("max_suggestions", 1), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)}: at least {least} is needed")
        for name in ("min_probability", "wrong_quantile", "near_duplicate", "similar_names"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: 0 to 1 is allowed")
