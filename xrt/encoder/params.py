"""Settings of the encoder, of the matcher's training and of the arithmetic; free of torch and
Lightning.
"""

from dataclasses import dataclass
from enum import Enum

from xrt.errors import ConfigError


class Pooling(str, Enum):
    """How the token vectors of a text become one vector."""

    mean = "mean"
    cls = "cls"


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
    frozen_layers: int = 0
    """So many layers from below stay as they were pretrained, with all that is outside of layers,
    the embeddings of tokens among it. A step takes less time and memory."""
    lora_rank: int = 0
    """Rows of the matrices of low-rank adapters, which are then trained in place of the encoder's
    own weights (extra `lora`); 0 trains the weights themselves."""

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
        if self.lora_rank < 0:
            raise ConfigError(
                f"encoder.lora_rank = {self.lora_rank}: 0 for no adapters, or 1 and more"
            )
        if self.frozen_layers and self.lora_rank:
            raise ConfigError(
                f"encoder.frozen_layers = {self.frozen_layers} and encoder.lora_rank = "
                f"{self.lora_rank}: adapters freeze all layers already; set one of them to 0"
            )


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

    def __post_init__(self) -> None:
        if self.accelerator not in ("auto", "cpu", "cuda", "gpu", "mps"):
            raise ConfigError(
                f"trainer.accelerator = {self.accelerator!r}: choose auto, cpu, cuda or mps"
            )
        if self.devices < 0:
            raise ConfigError(
                f"trainer.devices = {self.devices}: 0 for all, or a number of devices"
            )


@dataclass(frozen=True, kw_only=True)
class MatcherParams:
    """How the encoder is fine-tuned: on all levels of the matcher's tree at every step."""

    max_match_clusters: int = 32768
    """Levels with more nodes than this are left to the rankers."""
    encoder_learning_rate: float = 2e-4
    """Highest learning rate of the encoder's weights."""
    head_learning_rate: float = 2e-3
    """Highest learning rate of the heads' weights."""
    num_epochs: float = 3.0
    """Passes over the training rows; ignored where `steps` is set."""
    steps: int = 0
    """Steps of the fine-tuning; 0 takes them from `num_epochs`."""
    token_budget: int = 4096
    """Tokens of a step, padding included, over all processes together."""
    max_batch_rows: int = 64
    """Rows of a step at the most, over all processes together."""
    warmup_fraction: float = 0.1
    """Share of the steps in which the learning rate rises; it falls linearly to 0 after."""
    weight_decay: float = 0.01
    """Weight decay of the encoder's matrices; biases, norms and the heads have none."""
    dense_level_limit: int = 32768
    """Levels with at most so many nodes are trained on all of them; wider ones on candidates: the
    children of a row's true nodes and of those that the matcher ranks highest above."""
    validate_every_steps: int = 0
    """Steps between two validations on held-out rows, where there are any; 0 for four
    validations."""
    patience: int = 0
    """Validations without a gain in nDCG@5 after which the fine-tuning ends; 0 for never."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a value out of range."""
        for name in ("max_match_clusters", "token_budget", "max_batch_rows",
                     "encoder_learning_rate", "head_learning_rate", "num_epochs"):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ConfigError(f"matcher.{name} = {getattr(self, name)}: must be above 0")
        for name in ("steps", "weight_decay", "dense_level_limit", "validate_every_steps",
                     "patience"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ConfigError(f"matcher.{name} = {getattr(self, name)}: must not be below 0")
        if not 0 <= self.warmup_fraction <= 1:
            raise ConfigError(
                f"matcher.warmup_fraction = {self.warmup_fraction}: must be in [0, 1]"
            )

    def is_dense(self, num_nodes: int) -> bool:
        """Whether a level of that many nodes is trained on all of them."""
        return num_nodes <= self.dense_level_limit

    def num_steps(self, num_batches: int) -> int:
        """Steps of the fine-tuning, where a pass over the rows has `num_batches`."""
        return self.steps or max(1, round(self.num_epochs * num_batches))


class Compute(str, Enum):
    """How the encoder's products are computed; all else stays float32."""

    auto = "auto"  # bf16 where the model was trained so and the processor has it, else fp32
    fp32 = "fp32"
    bf16 = "bf16"  # bfloat16 products, at three digits
    int8 = "int8"  # 8-bit weights, and inputs scaled to 8 bits text by text; CPU only
    onnx = "onnx"  # float32, by onnxruntime in the place of torch; CPU only


def compute_of(name: "str | Compute") -> Compute:
    """The kind of that name. Raises ConfigError with the choices for a name that is none."""
    try:
        return Compute(name)
    except ValueError as err:
        choices = ", ".join(kind.value for kind in Compute)
        raise ConfigError(f"compute = {name!r}: choose one of {choices}") from err
