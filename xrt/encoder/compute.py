"""The kinds of arithmetic in which an encoder can predict. Importing this loads no torch."""

from enum import Enum

from xrt.errors import ConfigError


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
