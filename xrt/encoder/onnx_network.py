"""An encoder as an ONNX graph, run by onnxruntime: for Compute.onnx alone.

Shapes: B texts of a batch, T tokens, H hidden width.
"""

import contextlib
import io
import logging
import warnings
from typing import Any

import torch
from torch import Tensor

from xrt.encoder.backbone import TextEncoder
from xrt.errors import ConfigError
from xrt.threads import default_num_threads

SAMPLE_ROWS, SAMPLE_TOKENS = 2, 8


class OnnxNetwork:
    """Token ids and mask to pooled vectors, float32; the graph is made anew for each model that is
    opened and kept in memory alone.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        """Raises ConfigError where the extra `onnx` is missing or the encoder has no graph."""
        try:
            import onnx  # noqa: F401
            import onnxruntime
            import onnxscript  # noqa: F401
        except ImportError as err:
            raise ConfigError(
                f"compute = 'onnx': {err.name} is not installed; pip install 'xrt-xmc[onnx]', or "
                "choose auto, fp32, bf16 or int8"
            ) from err
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = default_num_threads()
        # its threads would wait in a loop, on the processors that the search then needs
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            graph_of(encoder), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        """Pooled vectors (B, H)."""
        inputs = {"input_ids": input_ids_BT.numpy(), "attention_mask": attention_mask_BT.numpy()}
        return torch.from_numpy(self._session.run(None, inputs)[0])


def graph_of(encoder: TextEncoder) -> bytes:
    """The encoder with its pooling as an ONNX model of any B and T.

    Raises ConfigError where torch cannot export it.
    """
    ids_BT = torch.ones((SAMPLE_ROWS, SAMPLE_TOKENS), dtype=torch.int64)
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[-1, -1] = 0  # with padding, so that the mask has a say in the graph
    any_size = {0: torch.export.Dim("rows"), 1: torch.export.Dim("tokens")}
    quiet = logging.getLogger("torch.onnx"), logging.getLogger("onnxscript")
    levels = [logger.level for logger in quiet]
    try:
        for logger in quiet:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                encoder, (ids_BT, mask_BT), dynamo=True, verbose=False,
                input_names=["input_ids", "attention_mask"], output_names=["pooled"],
                dynamic_shapes=(any_size, any_size),
            )  # fmt: skip
    except Exception as err:  # whatever the exporter stumbles over
        raise ConfigError(
            f"compute = 'onnx': torch cannot export this encoder ({type(err).__name__}: "
            f"{str(err)[:200]}); choose auto, fp32, bf16 or int8"
        ) from err
    finally:
        for logger, level in zip(quiet, levels, strict=True):
            logger.setLevel(level)
    graph: bytes = program.model_proto.SerializeToString()
    return graph
