"""The GPU benchmark runs on a CPU too, and counts operations as its sources do."""

import sys

import pytest

from tests.unit.test_benchmark_encoder import SCRIPTS
from tests.unit.test_benchmark_synthetic import load_script

sys.path.insert(0, str(SCRIPTS))
gpu = load_script("gpu_matcher")


def test_operations_are_those_of_a_hand_count(tmp_path):
    from xrt.encoder.backbone import TextEncoder
    from xrt.encoder.params import EncoderParams

    folder = gpu.write_encoder("tiny", tmp_path, ["one two three"], seed=0)
    encoder = TextEncoder.from_pretrained(folder, EncoderParams(name="it", max_length=16))
    hidden, layers, length = 64, 2, 10
    attention = 4 * (hidden * hidden + hidden)
    feed_forward = hidden * 4 * hidden + 4 * hidden + 4 * hidden * hidden + hidden
    weights = layers * (attention + feed_forward + 2 * 2 * hidden)
    wanted = length * (6 * weights + 12 * layers * hidden * length)
    assert gpu.training_flops(encoder, length) == wanted


def test_a_run_tells_documents_tokens_and_utilisation(tmp_path):
    asked = "--size tiny --length 8 --rows 64 --labels 7 --batch-rows 8 --steps 3 --accelerator cpu"
    line = gpu.measure(gpu.parse_arguments([*asked.split(), "--peak-tflops", "1"]), tmp_path)
    assert line["tokens_per_second"] == pytest.approx(8 * line["documents_per_second"], rel=0.1)
    assert line["documents_per_second"] > 0
    assert 0 <= line["utilisation"] < 1
    assert line["encoded_documents_per_second"] > 0
