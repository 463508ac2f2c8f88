"""Throughput of the matcher on a GPU, and the share of the GPU's arithmetic that it uses.

    python -m bench gpu_matcher --size base --length 128 --output gpu.jsonl

The encoder is a BERT of the asked size with random weights, so nothing is downloaded; texts are
made-up words, all of --length tokens. One JSON line: documents and tokens a second of training
steps and of encoding, and model FLOP utilisation. A token's training takes
6 P + 12 layers hidden T floating point operations, P the encoder's weights without the embedding
table, T the text's length: forward and backward, multiply and add counted apart (Kaplan et al.,
Scaling laws for neural language models, 2020, section 2.1; attention as in Chowdhery et al., PaLM,
2022, appendix B). Encoding takes a third. The head's operations are not counted. A step is timed
from the end of one to the end of the next, when its loss has been read; the first ones
are left out, and so is the first of two passes of encoding. `--size tiny
--accelerator cpu --rows 64 --batch-rows 8 --steps 3` is a dry run without a GPU.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from bench.clock import StepClock
from bench.record import Line, append_line, circumstances, shown_command
from xrt.encoder.backbone import TextEncoder, quiet_transformers
from xrt.encoder.embed import encode
from xrt.encoder.fit import lightning_precision
from xrt.encoder.params import EncoderParams, MatcherParams, TrainerParams
from xrt.encoder.tiny import write_tiny_encoder
from xrt.encoder.tokens import TokenStore
from xrt.encoder.training import fine_tune_matcher
from xrt.tree.label_tree import LabelTree

SIZES = {"tiny": (2, 64, 2), "mini": (6, 384, 12), "base": (12, 768, 12), "large": (24, 1024, 16)}
"""Layers, hidden width, heads."""
PEAK_TFLOPS = {
    "H100 PCIe": 756, "H100 NVL": 835, "H100": 989, "GH200": 989, "H200": 989, "B200": 2250,
    "A100": 312, "A30": 165, "A10": 125, "A10G": 70, "L4": 121, "L40": 181, "L40S": 362,
}  # fmt: skip
"""Dense bfloat16 products by the words of a device's name, from NVIDIA's data sheets; the first
that fits counts."""
WARM_UP_STEPS = 10
SHOWN = (
    "size", "length", "rows", "labels", "batch_rows", "steps", "accelerator", "seed",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Train for some steps, encode, print the line. Returns 0."""
    args = parse_arguments(arguments)
    with tempfile.TemporaryDirectory() as folder:
        line = measure(args, Path(folder))
    print(json.dumps(line))
    append_line(args.output, line)
    return 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=list(SIZES), default="base")
    parser.add_argument("--length", type=int, default=128, help="tokens of a text")
    parser.add_argument("--rows", type=int, default=20_000, help="texts")
    parser.add_argument("--labels", type=int, default=8_192)
    parser.add_argument("--batch-rows", type=int, default=256)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--peak-tflops", type=float, help="of the device, where it is not known")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSONL file to append to")
    return parser.parse_args(arguments)


def measure(args: argparse.Namespace, folder: Path) -> Line:
    """Documents a second of training and encoding, with what they are a share of."""
    rng = np.random.default_rng(args.seed)
    num_rows = args.batch_rows * max(1, args.rows // args.batch_rows)  # all batches are full
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]
    texts = [" ".join(rng.choice(words, args.length)) for _ in range(num_rows)]
    encoder_folder = write_encoder(args.size, folder / "encoder", texts[:200], args.seed)
    clock = StepClock()
    steps = WARM_UP_STEPS + args.steps
    params = MatcherParams(
        steps=steps, max_batch_rows=args.batch_rows, token_budget=args.batch_rows * args.length
    )  # fmt: skip
    labels = rng.integers(0, args.labels, num_rows)
    ones = np.ones(num_rows, np.float32)
    Y = sp.csr_array((ones, (np.arange(num_rows), labels)), shape=(num_rows, args.labels))
    encoder = EncoderParams(name=str(encoder_folder), max_length=args.length)
    tokens = TokenStore.of_texts(
        texts, TextEncoder.from_pretrained(encoder_folder, encoder).tokenizer, args.length
    )
    trainer = TrainerParams(accelerator=args.accelerator, devices=1)
    result = fine_tune_matcher(
        tokens, Y, LabelTree.flat(args.labels), run_folder=folder / "run", encoder=encoder,
        params=params, trainer=trainer, progress=clock,
    )  # fmt: skip
    seconds = clock.times[-1] - clock.times[WARM_UP_STEPS - 1]
    trained = args.steps * args.batch_rows / seconds
    encoded = encoding_pace(result.encoder, tokens, args)
    line = figures_of(args, result.encoder, trained, encoded)
    return line | {"precision": lightning_precision(trainer)}


def encoding_pace(encoder: TextEncoder, tokens: TokenStore, args: argparse.Namespace) -> float:
    """Documents a second of encoding, the second time."""
    device = "cuda" if torch.cuda.is_available() and args.accelerator != "cpu" else "cpu"
    for _ in range(2):
        started = time.perf_counter()
        encode(
            encoder, tokens, token_budget=args.batch_rows * args.length, bf16=True, device=device
        )
        seconds = time.perf_counter() - started
    return tokens.num_rows / seconds


def figures_of(
    args: argparse.Namespace, encoder: TextEncoder, trained: float, encoded: float
) -> Line:
    """The figures of a run and where they come from."""
    operations = training_flops(encoder, args.length)
    on_gpu = torch.cuda.is_available() and args.accelerator != "cpu"
    about = circumstances(shown_command("gpu_matcher", args, SHOWN), ["torch", "transformers"])
    device = torch.cuda.get_device_name() if on_gpu else about["machine"]["processor"]
    peak = args.peak_tflops or (known_peak(device) if on_gpu else None)
    line: Line = {
        "size": args.size, "length": args.length, "batch_rows": args.batch_rows,
        "labels": args.labels, "device": device, **about,
        "documents_per_second": round(trained, 1),
        "tokens_per_second": round(trained * args.length),
        "encoded_documents_per_second": round(encoded, 1),
        "tflops": round(trained * operations / 1e12, 2),
        "encoding_tflops": round(encoded * operations / 3e12, 2),
    }  # fmt: skip
    if on_gpu:
        line["peak_memory_gb"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    if peak:
        line["peak_tflops"] = peak
        line["utilisation"] = round(trained * operations / 1e12 / peak, 4)
        line["encoding_utilisation"] = round(encoded * operations / 3e12 / peak, 4)
    return line


def known_peak(device: str) -> float | None:
    """TFLOP/s that a GPU of that name can reach; None where they are not known."""
    words = set(device.replace("-", " ").split())
    return next(
        (tflops for name, tflops in PEAK_TFLOPS.items() if words >= set(name.split())), None
    )


def training_flops(encoder: TextEncoder, length: int) -> float:
    """Floating point operations of training on one text of that many tokens."""
    config = encoder.model.config
    weights = sum(p.numel() for p in encoder.parameters())
    weights -= sum(p.numel() for p in encoder.model.embeddings.parameters())
    attention = 12 * config.num_hidden_layers * config.hidden_size * length
    return float(length * (6 * weights + attention))


def write_encoder(size: str, folder: Path, texts: Sequence[str], seed: int) -> Path:
    """A BERT of the size with random weights, and a tokenizer that knows the texts' words."""
    layers, hidden, heads = SIZES[size]
    tokenizer = AutoTokenizer.from_pretrained(write_tiny_encoder(folder / "words", texts, seed))
    config = BertConfig(
        vocab_size=30_522, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * hidden,
    )  # fmt: skip
    torch.manual_seed(seed)
    with quiet_transformers():
        BertModel(config, add_pooling_layer=False).save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
    return folder / "model"
