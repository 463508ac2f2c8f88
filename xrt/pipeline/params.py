"""The settings of a training run: one dataclass that holds those of every floor below."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

from xrt.data.labels import LABEL_TEXT_WEIGHT
from xrt.encoder.params import EncoderParams, MatcherParams, TrainerParams
from xrt.errors import ConfigError
from xrt.features.tfidf_params import TfidfParams
from xrt.metrics.propensity import PropensityModel, PropensityParams
from xrt.pipeline.budget.duration import seconds_of
from xrt.ranges import above, at_least, check_ranges
from xrt.search.beam import SearchParams
from xrt.sources.neighbours import NeighbourParams
from xrt.sources.ranker import RankerParams
from xrt.tree.clustering import MatcherTreeParams, TreeParams


@dataclass(frozen=True, kw_only=True)
class DatasetParams:
    """Where the corpus lies and how it is read: `trn`, or `num_rows` of the demo catalogue."""

    name: str = "corpus"
    """Name of the data set, for the run folder and the report."""
    trn: str | None = None
    """Training file."""
    tst: str | None = None
    """Test file: for reporting only, nothing is chosen on it."""
    labels: str | None = None
    """Label names: lines `id TAB name`, or CSV such as `id,name`."""
    format: str | None = None
    """Format of the files; told from name and content when not given."""
    text_columns: list[str] | None = None
    """Columns (keys) joined to the text; null takes `text`, else `title` and `content`."""
    label_columns: list[str] | None = None
    """Columns (keys) of labels; `labels` when null. Of several, each label is `column=value`."""
    label_separator: str | None = None
    """What stands between the labels of a cell; null: `;` where one column has them, none else."""
    confidences: bool = True
    """Weights of labels in the training file are confidences; false trains as if all were 1."""
    weight_column: str | None = None
    """Column (key) of the training file that says how much each row counts in training."""
    group_column: str | None = None
    """Column (key) of the training file whose rows with the same value stay together where rows are
    held out; null: rows of the same, or nearly the same, text do."""
    time_column: str | None = None
    """Column (key) of the training file with a date in ISO form, or a number: the newest rows are
    held out."""
    id_column: str | None = None
    """Column (key) of each row's own id; `uid` or `id` when not given."""
    filters: str | None = None
    """Pairs (row, label) of the test file to strike from rankings."""
    skip_bad_lines: bool = False
    """Leave out rows that cannot be read, and write them to a file, instead of stopping."""
    propensity_model: PropensityModel = PropensityModel.default
    """Constants A and B of PSP and PSnDCG as they were measured: `default` (0.55, 1.5), `wikipedia`
    (0.5, 0.4), `amazon` (0.6, 2.6)."""
    num_rows: int | None = None
    """Training rows of the demo catalogue, which is made where no file is named; a sixth as many
    are its test rows."""

    def __post_init__(self) -> None:
        """Check names. Raises ConfigError for an empty name, an unknown propensity model."""
        if self.propensity_model not in list(PropensityModel):
            raise ConfigError(
                f"dataset.propensity_model = {str(self.propensity_model)!r}: choose one of "
                f"{', '.join(PropensityModel)}"
            )
        object.__setattr__(self, "propensity_model", PropensityModel(self.propensity_model))
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
        return self.propensity_model.constants


ASPECTS = ("features", "tree", "ranker", "num_trees", "search.path_weight", "neighbours")
"""What a run can choose for itself, see `xrt.pipeline.choosing`."""
AUTO_ASPECTS = ("features", "ranker")
"""Those of ASPECTS that `linear=auto` chooses; on no corpus that was looked at did another gain
anything on all rows."""


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
    matcher_tree: MatcherTreeParams = field(default_factory=MatcherTreeParams)
    matcher_features: MatcherFeatures = MatcherFeatures.same
    """TF-IDF that the matcher's tree is grown on. With `words`, other `features` need no other
    fine-tuning: the run folder's matcher is used again."""
    trainer: TrainerParams = field(default_factory=TrainerParams)
    ranker: RankerParams = field(default_factory=RankerParams)
    num_trees: Annotated[int, at_least(1)] = 3
    """Trees of the linear model, from different seeds; their scores are averaged. A taxonomy and a
    flat tree are always one."""
    search: SearchParams = field(default_factory=SearchParams)
    neighbours: NeighbourParams = field(default_factory=NeighbourParams)
    """How training rows with similar TF-IDF vote."""
    embedding_neighbours: NeighbourParams = field(default_factory=NeighbourParams)
    """How training rows with similar embeddings vote."""
    embedding_weight: Annotated[float, above(0)] | None = 1.0
    """Length of the embedding beside TF-IDF rows of length 1; null chooses it on held-out rows."""
    frozen_weight: Annotated[float, at_least(0)] = 0.0
    """Length of the embedding by the encoder as it was before it was fine-tuned; 0 leaves it out.
    Where `embedding_weight` is null, 0 is tried too."""
    num_deep_trees: Annotated[int, at_least(1)] = 1
    """Trees of the hybrid rankers, as `num_trees` of the linear model; there is one encoder."""
    label_text_weight: Annotated[float, at_least(0)] = LABEL_TEXT_WEIGHT
    """Length of a label's name as one more training row of linear and hybrid rankers; 0 for none.
    Labels without a name have no such row."""
    fused: bool = True
    """Without an encoder: hold rows out to learn whether the votes of similar training rows help
    the linear model, and to make its scores probabilities. It is trained once more for that. With
    an encoder rows are held out in any case."""
    choose: tuple[str, ...] = ()
    """Parts of the linear model whose settings the run chooses on held-out training rows, of
    `features`, `tree`, `ranker`, `num_trees`, `search.path_weight`, `neighbours`; one whose
    settings are given is left as it is."""
    validation_rows: Annotated[int, at_least(1)] = 2_000
    """Rows held out of training to choose fusion weights, and the path weight where it is null;
    never more than a tenth, but up to a quarter for the fusion of a linear model where a tenth is
    less than 750 rows."""
    budget: str | None = None
    """Time that the whole run may take, such as 90s, 10m or 1h30m: the linear model comes first,
    and what is left decides tokens, layers, passes and trees of the deep one, as far as they are
    not given. null sets no limit."""
    always_deep: bool = False
    """Save the deep model even where it is not better than the linear one on held-out rows."""
    seed: Annotated[int, at_least(0)] = 0
    """Seed of all random choices: the same seed and settings make the same model."""
    num_threads: Annotated[int, at_least(0)] = 0
    """Threads of everything but the encoder; 0 takes all processors."""
    estimate: bool = False
    """Only tell what the run would take: seconds, memory, disk."""
    force: bool = False
    """Run even where memory or disk look far too small."""

    def __post_init__(self) -> None:
        """Check what belongs to no part.

        Raises ConfigError for a value out of range.
        """
        check_ranges(self)
        if self.budget is not None:
            seconds_of(self.budget)
        object.__setattr__(self, "choose", tuple(self.choose))
        for name in self.choose:
            if name not in ASPECTS:
                raise ConfigError(
                    f"choose = {name}: nothing that can be chosen; there are {', '.join(ASPECTS)}"
                )
