"""Settings of the encoder, of the matcher's training and of the arithmetic; free of torch and
Lightning.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

from xrt.encoder.trainer_arguments import CHANGE_RESULTS, check_arguments
from xrt.errors import ConfigError
from xrt.ranges import SHARE_BELOW_ONE, above, at_least, check_ranges


class Pooling(str, Enum):
    """How the token vectors of a text become one vector."""

    mean = "mean"
    """The mean over the tokens."""
    cls = "cls"
    """The vector of the first token."""


@dataclass(frozen=True, kw_only=True)
class EncoderParams:
    """Which encoder, and how it reads a text."""

    name: str = "minilm"
    """`minilm`, `tiny-random`, a folder, or a name on the Hugging Face hub."""
    pooling: Pooling = Pooling.mean
    """Mean over the tokens, or the vector of the first token."""
    max_length: Annotated[int, at_least(3)] = 128
    """Tokens of a text that are read, special tokens included."""
    dropout: Annotated[float, SHARE_BELOW_ONE] = 0.1
    """Share of the pooled vector's entries dropped in training."""
    frozen_layers: Annotated[int, at_least(0)] = 0
    """Number of lowest layers to freeze (token embeddings included): a step takes less time and
    memory."""
    lora_rank: Annotated[int, at_least(0)] = 0
    """Rows of the matrices of low-rank adapters, which are then trained in place of the encoder's
    own weights (extra `lora`); 0 trains the weights themselves."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("encoder.name is empty: give 'minilm', a folder, or a hub name")
        if self.pooling not in list(Pooling):
            raise ConfigError(f"encoder.pooling = {str(self.pooling)!r}: choose mean or cls")
        check_ranges(self, "encoder")
        if self.frozen_layers and self.lora_rank:
            raise ConfigError(
                f"encoder.frozen_layers = {self.frozen_layers} and encoder.lora_rank = "
                f"{self.lora_rank}: adapters freeze all layers already; set one of them to 0"
            )


class Precision(str, Enum):
    """Arithmetic of the encoder; weights and the head's loss are float32 always."""

    auto = "auto"
    """bfloat16 where the hardware has it."""
    bf16 = "bf16"
    """bfloat16."""
    fp32 = "32"
    """float32."""

    @classmethod
    def _missing_(cls, value: object) -> "Precision | None":
        """Lightning's names of the same."""
        name = PRECISION_NAMES.get(str(value))
        return None if name is None else cls[name]


PRECISION_NAMES = {
    "32": "fp32", "32-true": "fp32", "fp32": "fp32", "bf16-mixed": "bf16",
}  # fmt: skip
"""Names that Lightning has for the arithmetic, and those of xrt."""


class Strategy(str, Enum):
    """How several processes share the work, by xrt's own means."""

    auto = "auto"
    """One process for one device, `ddp_spawn` for more."""
    ddp_spawn = "ddp_spawn"
    """Each process holds all weights and sees its share of a step."""
    fsdp = "fsdp"
    """As `ddp_spawn`, and each process holds its share of weights, gradients, optimizer state."""


@dataclass(frozen=True, kw_only=True)
class TrainerParams:
    """Devices of the training."""

    accelerator: str = "auto"
    """`auto`, `cpu`, `cuda` or `mps`."""
    devices: Annotated[int, at_least(0)] | list[int] = 0
    """Processes, one a device; 0 takes every GPU, or one process where there is none. A list has
    the numbers of the GPUs to take."""
    precision: Precision = Precision.auto
    """Arithmetic of the encoder in training and prediction; weights are float32 always."""
    lightning: dict[str, Any] = field(default_factory=dict)
    """Arguments of Lightning's Trainer by their names there, such as `strategy` (`auto`,
    `ddp_spawn`, `fsdp`), `num_nodes`, `logger` (a list of `csv`, `tensorboard`, `wandb`, `mlflow`),
    `callbacks` (a list of `module:Class(argument=value)`), `accumulate_grad_batches`, `max_time`,
    `profiler`, `deterministic`. On the command line `trainer.NAME=value` will do."""

    @property
    def strategy(self) -> str:
        """How several processes share the work."""
        return str(self.lightning.get("strategy", Strategy.auto.value))

    @property
    def num_nodes(self) -> int:
        """Machines that train together."""
        return int(self.lightning.get("num_nodes", 1))

    @property
    def batches_a_step(self) -> int:
        """Batches whose gradients are added up for a step."""
        return int(self.lightning.get("accumulate_grad_batches", 1))

    @property
    def changing(self) -> dict[str, Any]:
        """The arguments of Lightning's with which other weights come out."""
        return {name: self.lightning[name] for name in CHANGE_RESULTS if name in self.lightning}

    def __post_init__(self) -> None:
        if self.accelerator not in ("auto", "cpu", "cuda", "gpu", "mps"):
            raise ConfigError(
                f"trainer.accelerator = {self.accelerator!r}: choose auto, cpu, cuda or mps"
            )
        try:
            object.__setattr__(self, "precision", Precision(self.precision))
        except ValueError:
            raise ConfigError(
                f"trainer.precision = {self.precision!r}: choose auto, bf16 (bf16-mixed) or fp32 "
                "(32-true); weights are float32 always"
            ) from None
        _check_devices(self.devices)
        check_ranges(self, "trainer")
        check_arguments(self.lightning)


def _check_devices(devices: Any) -> None:
    listed = devices if isinstance(devices, list | tuple) else [devices]
    wrong = [one for one in listed if not isinstance(one, int) or isinstance(one, bool)]
    if wrong or not listed or (listed is devices and len(set(listed)) < len(listed)):
        raise ConfigError(
            f"trainer.devices = {devices!r}: a whole number is needed, or a list of the numbers of "
            "GPUs, each once, as in [0,2]"
        )


@dataclass(frozen=True, kw_only=True)
class MatcherParams:
    """How the encoder is fine-tuned: on all levels of the matcher's tree at every step."""

    max_match_clusters: Annotated[int, at_least(1)] = 32768
    """Nodes of a level at the most; levels with more nodes are left to the rankers."""
    encoder_learning_rate: Annotated[float, above(0)] = 2e-4
    """Highest learning rate of the encoder's weights; it rises and falls within the fine-tuning."""
    head_learning_rate: Annotated[float, above(0)] = 2e-3
    """Highest learning rate of the heads' weights."""
    num_epochs: Annotated[float, above(0)] = 3.0
    """Passes over the training rows; ignored where `steps` is set."""
    steps: Annotated[int, at_least(0)] = 0
    """Steps of the fine-tuning; 0 takes them from `num_epochs`."""
    token_budget: Annotated[int, at_least(1)] = 4096
    """Tokens of a step, padding included, over all processes together."""
    max_batch_rows: Annotated[int, at_least(1)] = 64
    """Rows of a step at the most, over all processes together."""
    dense_level_limit: Annotated[int, at_least(0)] = 32768
    """Levels with at most so many nodes are trained on all of them; wider ones on candidates: the
    children of a row's true nodes and of those that the matcher ranks highest above."""
    validate_every_steps: Annotated[int, at_least(0)] = 0
    """Steps between two validations on held-out rows, where there are any; 0 for four
    validations."""
    patience: Annotated[int, at_least(0)] = 0
    """Validations without a gain in nDCG@5 after which the fine-tuning ends; 0 for never."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a value out of range."""
        check_ranges(self, "matcher")

    def is_dense(self, num_nodes: int) -> bool:
        """Whether a level of that many nodes is trained on all of them.

        Args:
            num_nodes: nodes of the level.

        Returns:
            True up to `dense_level_limit` nodes.
        """
        return num_nodes <= self.dense_level_limit

    def num_steps(self, num_batches: int) -> int:
        """Steps of the fine-tuning, where a pass over the rows has `num_batches`.

        Args:
            num_batches: batches of an epoch.

        Returns:
            `steps` where it is set, else the steps of `num_epochs`; at least 1.
        """
        return self.steps or max(1, round(self.num_epochs * num_batches))


class Compute(str, Enum):
    """How the encoder's products are computed; all else stays float32."""

    auto = "auto"  # bf16 where the model was trained so and the processor has it, else fp32
    fp32 = "fp32"
    bf16 = "bf16"  # bfloat16 products, at three digits
    int8 = "int8"  # 8-bit weights, and inputs scaled to 8 bits text by text; CPU only
    onnx = "onnx"  # float32, by onnxruntime in the place of torch; CPU only


def compute_of(name: "str | Compute") -> Compute:
    """The kind of that name.

    Args:
        name: the name, or the kind itself.

    Returns:
        The kind.

    Raises:
        ConfigError: there is no such kind; the message has the choices.
    """
    try:
        return Compute(name)
    except ValueError as err:
        choices = ", ".join(kind.value for kind in Compute)
        raise ConfigError(f"compute = {name!r}: choose one of {choices}") from err
