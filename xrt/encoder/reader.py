"""Texts to vectors when a model predicts: an encoder made ready once, for many calls.

Shapes: N texts, B texts of a batch, T tokens, H hidden width.
"""

import contextlib
import copy
import io
import itertools
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.cpu_tuning import PackedLinear, pack_linear
from xrt.encoder.embed import cut_batches, supports_bf16
from xrt.encoder.params import Compute
from xrt.encoder.tokens import TokenStore, token_ids
from xrt.errors import ConfigError
from xrt.progress import Progress
from xrt.threads import default_num_threads

TOKEN_BUDGET = 4096
"""Tokens of a batch, padding included."""


class TextReader:
    """An encoder, and what computes with its weights: they are converted once, not at every text.

    What is converted is a copy of the linear layers' weights: memory grows by a quarter of them
    for `int8`, by half for `bf16`, by all of it for `fp32`. The encoder itself stays as it was, to
    be saved or trained on; all other weights are shared with it.
    """

    def __init__(self, encoder: TextEncoder, compute: Compute, trained_in_bf16: bool) -> None:
        """Raises ConfigError where torch, the device or the installation cannot compute so."""
        self.encoder = encoder
        self.device = next(encoder.parameters()).device
        self.compute = compute
        if compute is Compute.auto:
            fast = trained_in_bf16 and supports_bf16(self.device)
            self.compute = Compute.bf16 if fast else Compute.fp32
        if self.compute in (Compute.int8, Compute.onnx) and self.device.type != "cpu":
            raise ConfigError(
                f"compute = {self.compute.value!r} is for a CPU, the encoder lies on "
                f"{self.device}; choose auto, fp32 or bf16"
            )
        self._network = network_of(encoder, self.compute)

    def read(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Pooled vectors of the texts, not of length 1: float32 (N, H).

        Which texts are read together moves a vector by rounding only. `int8` reads one text at a
        time: its inputs share a scale, which is not to depend on other texts.

        Args:
            texts: N texts.
            progress: receives the progress; None for none.

        Returns:
            The vectors.
        """
        if len(texts) == 1:
            return self.pooled(*self.tokens_of_one(texts[0]))
        tokens = TokenStore.of_texts(list(texts), self.encoder.tokenizer, self.encoder.max_length)
        order, cuts = cut_batches(tokens, TOKEN_BUDGET)
        if self.compute is Compute.int8:
            cuts = np.arange(tokens.num_rows + 1)
        pooled_NH = np.empty((tokens.num_rows, self.encoder.hidden_size), np.float32)
        if progress is not None:
            progress.start("encode", tokens.num_rows)
        try:
            for first, last in itertools.pairwise(cuts):
                rows = order[first:last]
                pooled_NH[rows] = self.pooled(*tokens.padded(rows))
                if progress is not None:
                    progress.advance(len(rows))
        finally:
            if progress is not None:
                progress.finish()
        return pooled_NH

    def tokens_of_one(self, text: str) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask (1, T) of one text: those of a TokenStore, without one.

        Args:
            text: the text.

        Returns:
            Two tensors, int64; T is at least 1.
        """
        tokenizer = self.encoder.tokenizer
        (ids,), _ = token_ids([text], tokenizer, self.encoder.max_length)
        if not ids:  # a tokenizer without special tokens, and nothing to read
            return torch.tensor([[tokenizer.pad_token_id or 0]]), torch.zeros(
                (1, 1), dtype=torch.int64
            )
        return torch.tensor([ids]), torch.ones((1, len(ids)), dtype=torch.int64)

    def pooled(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> np.ndarray:
        """Pooled vectors of a batch of tokens: float32 (B, H).

        Args:
            input_ids_BT: token ids, (B, T).
            attention_mask_BT: 1 for a token, 0 for padding, (B, T).

        Returns:
            The vectors.
        """
        in_bf16 = self.compute is Compute.bf16
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, in_bf16):
            batch = input_ids_BT.to(self.device), attention_mask_BT.to(self.device)
            return np.asarray(self._network(*batch).float().cpu())


def network_of(encoder: TextEncoder, compute: Compute) -> Callable[[Tensor, Tensor], Tensor]:
    """Token ids and mask (B, T) to pooled vectors (B, H), in the given arithmetic.

    Args:
        encoder: the encoder; it stays as it is.
        compute: the arithmetic.

    Returns:
        The function.

    Raises:
        ConfigError: this torch cannot compute so.
    """
    twin = twin_of(encoder)
    if compute is Compute.int8:
        return quantised(twin)
    if compute is Compute.onnx:
        return OnnxNetwork(twin)
    if PackedLinear.can_pack(next(encoder.parameters()).device):
        pack_linear(twin, torch.bfloat16 if compute is Compute.bf16 else torch.float32)
    elif compute is Compute.bf16:
        for module in twin.modules():
            if type(module) is nn.Linear:
                module.bfloat16()  # autocast would do it at every call
    return twin


def twin_of(encoder: TextEncoder) -> TextEncoder:
    """The encoder without dropout and gradients; its weights are shared.

    Args:
        encoder: the encoder.

    Returns:
        A copy, ready to predict.
    """
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach(), False) for p in encoder.parameters()}
    return copy.deepcopy(encoder, {**memo, id(encoder.tokenizer): encoder.tokenizer}).eval()


def quantised(encoder: TextEncoder) -> TextEncoder:
    """The encoder, whose linear layers are replaced by dynamically quantised ones.

    Args:
        encoder: the encoder, changed in place.

    Returns:
        The encoder.

    Raises:
        ConfigError: this torch has no such quantisation.
    """
    try:
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic
    except ImportError as err:
        raise ConfigError(
            f"compute = 'int8': torch {torch.__version__} has no dynamic quantisation any more; "
            "choose auto, fp32, bf16 or onnx"
        ) from err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is to move to another package
        kinds = {nn.Linear: per_channel_dynamic_qconfig}  # a scale for each output, not one for all
        smaller: TextEncoder = quantize_dynamic(encoder, kinds, inplace=True)
    return smaller


SAMPLE_ROWS, SAMPLE_TOKENS = 2, 8


class OnnxNetwork:
    """Token ids and mask to pooled vectors, float32; the graph is made anew for each model that is
    opened and exists in memory only.
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

    Args:
        encoder: the encoder.

    Returns:
        The model as bytes.

    Raises:
        ConfigError: torch cannot export it.
    """
    ids_BT = torch.ones((SAMPLE_ROWS, SAMPLE_TOKENS), dtype=torch.int64)
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[-1, -1] = 0  # with padding, so that the graph reads the mask
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
