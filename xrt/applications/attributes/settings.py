"""Settings that the application adds to `xrt train`."""

from dataclasses import dataclass
from enum import Enum

from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.errors import ConfigError


class LabelTreeOf(str, Enum):
    """What the label tree of an attribute model is made of."""

    clusters = "clusters"
    """k-means over label features, as everywhere."""
    taxonomy = "taxonomy"
    """The hierarchy of the attributes, down to its last level."""
    clusters_in_taxonomy = "clusters_in_taxonomy"
    """The hierarchy above, k-means within its larger groups."""


class Decode(str, Enum):
    """How an attribute model turns probabilities into values."""

    auto = "auto"
    """Whichever gets more whole rows right on held-out training rows."""
    row = "row"
    """The most probable row: values that go together, along a path that training saw."""
    each = "each"
    """The most probable value of each attribute by itself; they need not go together."""


@dataclass(frozen=True, kw_only=True)
class AttributeSettings:
    """What `xrt train` takes for a model of attributes."""

    schema: AttributeSchema | None = None
    """Which columns of a catalogue are what: the run then learns attributes. Null: texts with
    labels."""
    label_tree: LabelTreeOf = LabelTreeOf.clusters
    """With a schema: what the label tree is made of."""
    decode: Decode = Decode.auto
    """With a schema: whether the model gives the most probable row (`row`), or the most probable
    value of each attribute (`each`), for users who want a level rather than the row."""

    def __post_init__(self) -> None:
        """Check that what needs a schema has one.

        Raises:
            ConfigError: There is a way of decoding, but no schema.
        """
        if self.schema is None and self.decode is not Decode.auto:
            raise ConfigError(
                f"decode = {self.decode.value}: only models of attributes decode; name a schema "
                "(experiment=attributes), or leave it out"
            )
