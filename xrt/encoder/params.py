"""Settings of the encoder and of the matcher's training; free of torch and Lightning."""

from dataclasses import dataclass, field
from enum import Enum

from xrt.encoder.loss_params import LossParams
from xrt.errors import ConfigError


class Pooling(str, Enum):
    """How the token vectors of a text become one vector."""

    mean = "mean"
    cls = "cls"


@dataclass(frozen=True, kw_only=True)
class LoraParams:
    """Adapters that are trained in place of the encoder's own weights; needs the extra `lora`."""

    rank: int = 0
    """Rows of an adapter's matrices; 0 trains all weights of the encoder instead."""
    alpha: float = 16.0
    """Adapters weigh alpha / rank."""
    dropout: float = 0.0
    """Share of an adapter's input dropped in training."""
    target_modules: list[str] = field(default_factory=list)
    """Names of the linear layers that get one, such as query and value; empty: all."""

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise ConfigError(f"lora.rank = {self.rank}: 0 for no adapters, or 1 and more")
        if self.alpha <= 0:
            raise ConfigError(f"lora.alpha = {self.alpha}: must be above 0")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora.dropout = {self.dropout}: must be in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class EncoderParams:
    """Which encoder, and how it reads a text."""

    name: str = "minilm"
    """`minilm`, `tiny-random`, a folder, or a name on the Hugging Face hub."""
    pooling: Pooling = Pooling.mean
    """Mean over the tokens, or the vector of the first token."""
    max_length: int = 128
    """Tokens of a text that are read, special tokens included."""
    dropout: float = 0.1
    """Share of the pooled vector's entries dropped in training."""
    inner_dropout: float | None = 0.0
    """Dropout within the encoder in training; null is what it was pretrained with. A pass or two
    over the rows need none, and a step is faster without it."""
    frozen_layers: int = 0
    """So many layers from below stay as they were pretrained, with all that is outside of layers,
    the embeddings of tokens among it. A step takes less time and memory."""
    lora: LoraParams = field(default_factory=LoraParams)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("encoder.name is empty: give 'minilm', a folder, or a hub name")
        if self.max_length < 3:
            raise ConfigError(f"encoder.max_length = {self.max_length}: must be at least 3")
        if self.pooling not in list(Pooling):
            raise ConfigError(f"encoder.pooling = {str(self.pooling)!r}: choose mean or cls")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"encoder.dropout = {self.dropout}: must be in [0, 1)")
        if self.frozen_layers < 0:
            raise ConfigError(f"encoder.frozen_layers = {self.frozen_layers}: 0 trains all layers")
        if self.frozen_layers and self.lora.rank:
            raise ConfigError(
                f"encoder.frozen_layers = {self.frozen_layers} and encoder.lora.rank = "
                f"{self.lora.rank}: adapters freeze all layers already; set one of them to 0"
            )
        if self.inner_dropout is not None and not 0 <= self.inner_dropout < 1:
            raise ConfigError(
                f"encoder.inner_dropout = {self.inner_dropout}: must be in [0, 1), or null"
            )


class Candidates(str, Enum):
    """Which nodes of a level a row is trained on, where the level is too wide for all of them."""

    tfn_man = "tfn+man"  # children of the true and of the matcher's best nodes of the level above
    all = "all"


class Schedule(str, Enum):
    """In which order the levels of the tree are trained."""

    coarse_to_fine = "coarse_to_fine"  # one level after the other, each with steps of its own
    single_pass = "single_pass"  # all levels at every step; the loss is the sum of theirs


class Bootstrap(str, Enum):
    """Where the head of a level starts."""

    centroid = "centroid"  # a node points to the mean embedding of its rows
    inherit = "inherit"  # a node takes its parent's weights
    linear = "linear"  # a linear solve on the embeddings, by `xrt.linear.solver`
    none = "none"  # small random weights


class Precision(str, Enum):
    """Arithmetic of the encoder; weights and the head's loss are float32 always."""

    auto = "auto"  # bf16 where the hardware has it
    bf16 = "bf16"
    fp32 = "32"


class Strategy(str, Enum):
    """How several processes share the work."""

    auto = "auto"  # one process for one device, ddp_spawn for more
    ddp_spawn = "ddp_spawn"  # each process holds all weights and sees its share of a step
    fsdp = "fsdp"  # besides, each holds its share of weights, gradients and optimiser state


@dataclass(frozen=True, kw_only=True)
class TrainerParams:
    """Devices of the training."""

    accelerator: str = "auto"
    """`auto`, `cpu`, `cuda` or `mps`."""
    devices: int = 0
    """Processes, one a device; 0 takes every GPU, or one process where there is none."""
    strategy: Strategy = Strategy.auto
    precision: Precision = Precision.auto
    compile: bool = False
    """Compile the transformer's layers (`torch.compile`): faster steps after a slow first one; on
    CUDA only."""

    def __post_init__(self) -> None:
        if self.accelerator not in ("auto", "cpu", "cuda", "gpu", "mps"):
            raise ConfigError(
                f"trainer.accelerator = {self.accelerator!r}: choose auto, cpu, cuda or mps"
            )
        if self.devices < 0:
            raise ConfigError(
                f"trainer.devices = {self.devices}: 0 for all, or a number of devices"
            )
        if self.compile and self.accelerator in ("cpu", "mps"):
            raise ConfigError(f"trainer.compile = true: only on cuda, not {self.accelerator}")


@dataclass(frozen=True, kw_only=True)
class MatcherParams:
    """How the matcher is trained, level by level."""

    schedule: Schedule = Schedule.single_pass
    max_match_clusters: int = 32768
    """Levels with more nodes than this are left to the rankers."""
    layers: list[int] = field(default_factory=list)
    """Transformer layer that each trained level reads, coarse to fine, from 1; for `single_pass`.
    Empty: every level reads the last one. The finest level always does."""
    loss: LossParams = field(default_factory=LossParams)
    encoder_learning_rate: float = 2e-4
    head_learning_rate: float = 2e-3
    num_epochs: float = 3.0
    """Passes over the rows, all levels together; ignored where `steps` is given."""
    steps: list[int] = field(default_factory=list)
    """Steps of each level, coarse to fine; one number is for every level. Empty: from
    `num_epochs`.
    """
    token_budget: int = 4096
    """Tokens of a step, padding included, over all processes together."""
    max_batch_rows: int = 64
    """Rows of a step at the most, over all processes together."""
    warmup_fraction: float = 0.1
    """Share of a level's steps in which the learning rate rises; it falls linearly to 0 after."""
    weight_decay: float = 0.01
    """Of the encoder's matrices; biases, norms and the head have none."""
    gradient_clip: float = 1.0
    """Largest norm of the encoder's gradient, and of the head's; 0 for no limit."""
    candidates: Candidates = Candidates.tfn_man
    dense_level_limit: int = 32768
    """Levels with at most so many nodes are trained on all of them, whatever `candidates` says."""
    head_chunk: int = 0
    """Nodes of the finest level whose logits are made at a time, where it is trained on all of its
    nodes: memory grows with a chunk, not with the level. 0 for all at once."""
    row_wise_above: int = 100_000
    """Heads of more nodes than this, of levels trained on candidates, are moved only in the rows
    that a step looked at; `strategy=fsdp` moves them whole."""
    scale_per_row: bool = False
    """Heads moved in rows keep one second moment a row, not one a weight: half the memory."""
    man_top_k: int = 20
    """Nodes of the level above, ranked highest by the matcher, whose children become candidates."""
    bootstrap: Bootstrap = Bootstrap.centroid
    bootstrap_rows_per_label: int = 2
    """Rows of each label whose embeddings `centroid` and `linear` look at; each label has as many
    as it has rows, at the most."""
    head_scale: float = 10.0
    """Length of the pooled vector that heads read in training: their logits move faster."""
    checkpoint_every_steps: int = 500
    validate_every_steps: int = 0
    """Steps between two validations on held-out rows, where there are any; 0 for four validations a
    stage."""
    validation_sample: int = 512
    """Held-out rows that a validation looks at; 0 for no validation."""
    patience: int = 0
    """Validations without a gain in nDCG@5 after which a stage ends; 0 for never."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_match_clusters", "token_budget", "max_batch_rows", "man_top_k",
                     "checkpoint_every_steps", "encoder_learning_rate", "head_learning_rate",
                     "num_epochs", "bootstrap_rows_per_label", "head_scale"):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ConfigError(f"matcher.{name} = {getattr(self, name)}: must be above 0")
        for name in ("weight_decay", "gradient_clip", "dense_level_limit", "head_chunk",
                     "row_wise_above", "validate_every_steps", "validation_sample", "patience",
                     "seed"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ConfigError(f"matcher.{name} = {getattr(self, name)}: must not be below 0")
        if not 0 <= self.warmup_fraction <= 1:
            raise ConfigError(
                f"matcher.warmup_fraction = {self.warmup_fraction}: must be in [0, 1]"
            )
        if any(steps < 1 for steps in self.steps):
            raise ConfigError(f"matcher.steps = {list(self.steps)}: every level needs at least 1")

    def is_dense(self, num_nodes: int) -> bool:
        """True where a level of that many nodes is trained on all of them."""
        return self.candidates is Candidates.all or num_nodes <= self.dense_level_limit

    def stages(self, levels: list[int]) -> list[list[int]]:
        """The levels that are trained together, in the order of training."""
        return [levels] if self.schedule is Schedule.single_pass else [[t] for t in levels]

    def layers_of(self, stage: list[int], num_layers: int) -> list[int]:
        """The transformer layer that each level of a stage reads, from 1.

        Raises ConfigError when `layers` does not fit the levels or the encoder.
        """
        if not self.layers:
            return [num_layers] * len(stage)
        told = f"matcher.layers = {list(self.layers)}"
        if self.schedule is not Schedule.single_pass:
            raise ConfigError(f"{told}: only for matcher.schedule=single_pass")
        if len(self.layers) != len(stage):
            raise ConfigError(f"{told}: {len(stage)} levels are trained; give one layer for each")
        if not all(1 <= layer <= num_layers for layer in self.layers):
            raise ConfigError(f"{told}: the encoder has layers 1 to {num_layers}")
        if self.layers[-1] != num_layers:
            raise ConfigError(f"{told}: the finest level reads the last layer, {num_layers}")
        return list(self.layers)

    def steps_of_stages(self, num_stages: int, num_batches: int) -> list[int]:
        """Steps of each stage of training, `num_stages` in number.

        From `num_epochs`, a stage gets twice the steps of the one above: it has more to learn.
        Raises ConfigError when `steps` has neither one number nor one for each stage.
        """
        if len(self.steps) == 1:
            return list(self.steps) * num_stages
        if self.steps:
            if len(self.steps) != num_stages:
                raise ConfigError(
                    f"matcher.steps has {len(self.steps)} numbers, but {num_stages} stages are "
                    "trained; give one for each, or one for all"
                )
            return list(self.steps)
        total, shares = self.num_epochs * num_batches, 2**num_stages - 1
        return [max(1, round(total * 2**t / shares)) for t in range(num_stages)]
