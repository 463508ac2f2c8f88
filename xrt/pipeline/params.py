"""The settings of a training run: one dataclass that holds those of every floor below."""

from dataclasses import dataclass, field
from enum import Enum

from xrt.data.labels import LABEL_TEXT_WEIGHT
from xrt.encoder.params import EncoderParams, MatcherParams, TrainerParams
from xrt.errors import ConfigError
from xrt.features.tfidf_params import TfidfParams
from xrt.metrics.propensity import PropensityParams
from xrt.search.beam import SearchParams
from xrt.sources.neighbours import NeighbourParams
from xrt.sources.ranker import RankerParams
from xrt.sources.shortlist import ShortlistParams
from xrt.tree.clustering import TreeParams


@dataclass(frozen=True, kw_only=True)
class DatasetParams:
    """Where the corpus lies and how it is read: `trn`, or `num_rows` of the demo catalogue."""

    name: str = "corpus"
    trn: str | None = None
    """Training file."""
    tst: str | None = None
    """Test file: for reporting only, nothing is chosen on it."""
    labels: str | None = None
    """Label names: lines `id TAB name`, or CSV such as `id,name`."""
    format: str | None = None
    """Format of the files; told from name and content when not given."""
    text_columns: list[str] | None = None
    label_columns: list[str] | None = None
    label_separator: str | None = None
    confidences: bool = True
    """Weights of labels in the training file are confidences; false trains as if all were 1."""
    weight_column: str | None = None
    """Column (key) of the training file that says how much each row counts in training."""
    id_column: str | None = None
    """Column (key) of each row's own id; `uid` or `id` when not given."""
    filters: str | None = None
    """Pairs (row, label) of the test file to strike from rankings."""
    skip_bad_lines: bool = False
    propensity_a: float = 0.55
    propensity_b: float = 1.5
    num_rows: int | None = None
    """Training rows of the demo catalogue, which is made where no file is named; a sixth as many
    are its test rows."""

    def __post_init__(self) -> None:
        """Check that names are names. Raises ConfigError for an empty one."""
        for name in ("trn", "tst", "labels", "filters"):
            if getattr(self, name) == "":
                raise ConfigError(f"{name} = '': name a file, or write null for none")

    @property
    def demo_rows(self) -> int:
        """Training rows of the demo catalogue that is asked for.

        Raises ConfigError where neither a training file nor the demo catalogue is.
        """
        if self.num_rows is None:
            raise ConfigError(
                "dataset.trn: not given; name the training file (dataset.trn=FILE), or take the "
                "demo catalogue (dataset=demo)"
            )
        if self.num_rows < 1:
            raise ConfigError(f"dataset.num_rows = {self.num_rows}: at least 1 is needed")
        return self.num_rows

    @property
    def propensity(self) -> PropensityParams:
        """The constants of PSP and PSnDCG."""
        return PropensityParams(a=self.propensity_a, b=self.propensity_b)


class MatcherFeatures(str, Enum):
    """The features of the tree that the matcher learns."""

    same = "same"
    """Those of the rankers, `features`."""
    words = "words"
    """Single words, as `TfidfParams` has them where nothing is said."""


@dataclass(frozen=True, kw_only=True)
class PipelineParams:
    """A training run. Without `encoder` the model is linear."""

    dataset: DatasetParams = field(default_factory=DatasetParams)
    features: TfidfParams = field(default_factory=TfidfParams)
    tree: TreeParams = field(default_factory=TreeParams)
    encoder: EncoderParams | None = None
    matcher: MatcherParams = field(default_factory=MatcherParams)
    matcher_tree: TreeParams = field(default_factory=lambda: TreeParams(max_top_nodes=1024))
    """The tree whose levels the matcher is trained on; refined afterwards with `tree`'s shape."""
    matcher_features: MatcherFeatures = MatcherFeatures.same
    """TF-IDF that the matcher's tree is grown on. With `words`, other `features` need no other
    fine-tuning: the run folder's matcher is used again."""
    trainer: TrainerParams = field(default_factory=TrainerParams)
    ranker: RankerParams = field(default_factory=RankerParams)
    num_trees: int = 1
    """Trees of the linear model, from different seeds; their scores are averaged. A taxonomy and a
    flat tree are always one."""
    search: SearchParams = field(default_factory=SearchParams)
    shortlist: ShortlistParams = field(default_factory=ShortlistParams)
    neighbours: NeighbourParams = field(default_factory=NeighbourParams)
    """How training rows with similar TF-IDF vote."""
    embedding_neighbours: NeighbourParams = field(default_factory=NeighbourParams)
    """How training rows with similar embeddings vote."""
    embedding_weight: float | None = 1.0
    """Length of the embedding beside TF-IDF rows of length 1; null chooses it on held-out rows."""
    frozen_weight: float = 0.0
    """Length of the embedding by the encoder as it was before it was fine-tuned; 0 leaves it out.
    Where `embedding_weight` is null, 0 is tried too."""
    num_deep_trees: int = 1
    """Trees of the hybrid rankers, as `num_trees` of the linear model; there is one encoder."""
    label_text_weight: float = LABEL_TEXT_WEIGHT
    """Length of a label's name as one more training row of linear and hybrid rankers; 0 for none.
    Labels without a name have no such row."""
    fused: bool = True
    """Without an encoder: hold rows out to learn whether the votes of similar training rows help
    the linear model, and to make its scores probabilities. It is trained once more for that. With
    an encoder rows are held out in any case."""
    validation_rows: int = 2_000
    """Rows held out of training to choose fusion weights, and the path weight where it is null;
    never more than a tenth."""
    always_deep: bool = False
    """Save the deep model even where it is not better than the linear one on held-out rows."""
    seed: int = 0
    num_threads: int = 0
    """Threads of everything but the encoder; 0 takes all processors."""
    estimate: bool = False
    """Only tell what the run would take: seconds, memory, disk."""
    force: bool = False
    """Run even where memory or disk look far too small."""

    def __post_init__(self) -> None:
        """Check what belongs to no part.

        Raises ConfigError for a value out of range.
        """
        if self.embedding_weight is not None and self.embedding_weight <= 0:
            raise ConfigError(
                f"embedding_weight = {self.embedding_weight}: must be above 0, or null"
            )
        for name in ("frozen_weight", "label_text_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} = {getattr(self, name)}: must not be below 0")
        for name in ("num_trees", "num_deep_trees", "validation_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: at least 1 is needed")
        if self.num_threads < 0 or self.seed < 0:
            raise ConfigError("num_threads and seed must not be below 0")
