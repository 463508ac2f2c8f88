"""Settings of `label_queries`, one default each."""

from dataclasses import dataclass

from xrt.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LabellingParams:
    """How queries are labelled.

    prior_strength: clicks that the catalogue's share of a value counts for (Dirichlet prior).
    z: width of confidence bounds, in standard errors. max_values: values of an attribute that are
    judged for a query, the most clicked first. min_confidence: labels that are less sure are not
    written. max_training_queries: queries that the labelling model, aliases and examination are
    learnt from. max_alias_titles: titles that aliases are learnt from. min_examination: lowest
    chance of a look at a position that clicks are divided by. max_count: a count above is absurd.
    batch_rows: rows of the log read at once. partition_rows: rows of it held at once later on.
    """

    prior_strength: float = 5.0
    z: float = 1.64
    max_values: int = 8
    min_confidence: float = 0.5
    max_training_queries: int = 50_000
    max_alias_titles: int = 300_000
    min_examination: float = 0.05
    max_count: float = 1e9
    batch_rows: int = 500_000
    partition_rows: int = 2_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "max_values", "max_training_queries", "max_alias_titles", "batch_rows", "partition_rows"
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: at least 1 is needed")
        for name in ("prior_strength", "z", "min_examination", "max_count"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be above 0")
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"min_confidence = {self.min_confidence}: must lie in 0..1")
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed}: must not be negative")
