"""The GPU benchmark runs on a CPU too, and counts operations as its sources do."""

import pytest

from bench.suites import gpu_matcher as gpu


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


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA A10G", 70),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_the_peak_goes_by_the_words_of_the_name(device, peak):
    assert gpu.known_peak(device) == peak
