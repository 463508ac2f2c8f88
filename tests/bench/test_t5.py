"""The text-to-text baseline with a tiny random T5 that reads and writes bytes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from bench.peers.t5 import run as t5_attributes
from bench.peers.t5 import training as t5_training
from bench.peers.t5.prediction import predict
from bench.peers.t5.targets import IGNORED, KnownValues, TargetFormat
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.encoder.backbone import quiet_transformers
from xrt.errors import ConfigError

HEAD = ("title", "brand", "L0", "L1")
ROWS = [
    ("oak mug 300 ml", "Oak", "Home", "Mugs"), ("oak rug", "Oak", "Home", "Rugs"),
    ("leaf green tea", "Leaf", "Food", "Green Tea"), ("leaf black tea", "Leaf", "Food", "Tea | B"),
    ("plain mug", "na", "Home", "Mugs"), ("plain rug wool", "na", "Home", "Rugs"),
    ("oak tray", "Oak", "Home", "na"), ("leaf biscuits", "Leaf", "Food", "na"),
    ("green tea loose", "", "Food", "Green Tea"), ("oak mug small", "Oak", "Home", "Mugs"),
    ("leaf tea black 50 g", "Leaf", "Food", "Tea | B"), ("rug by oak", "Oak", "Home", "Rugs"),
]  # fmt: skip
SCHEMA = {"text_columns": ["title"], "targets": ["brand", "L0", "L1"], "hierarchy": ["L0", "L1"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: Any) -> Path:
    """trn.csv, and a tiny ByT5 with random weights in `model`."""
    folder: Path = tmp_path_factory.mktemp("t5")
    with (folder / "trn.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *ROWS])
    config = transformers.T5Config(
        vocab_size=384, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, dropout_rate=0.1,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    with quiet_transformers():
        transformers.T5ForConditionalGeneration(config).save_pretrained(folder / "model")
        transformers.ByT5Tokenizer().save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def parts(files: Path) -> tuple[Any, np.ndarray, TargetFormat]:
    """The attribute space, the values of the rows, the format."""
    corpus, space, _ = read_attributes(files / "trn.csv", t5_attributes.AttributeSchema(**SCHEMA))
    target = TargetFormat.of(transformers.ByT5Tokenizer(), space, len(space.labels))
    return space, space.cells_of(corpus.Y), target


def arguments(files: Path, output: Path, *more: str) -> list[str]:
    return [
        "--trn", str(files / "trn.csv"), "--tst", str(files / "trn.csv"),
        "--schema", json.dumps(SCHEMA), "--checkpoint", str(files / "model"),
        "--output", str(output), "--held-out", "0", "--batch-rows", "6", *more,
    ]  # fmt: skip


def text_of(target: TargetFormat, tokens: list[int]) -> str:
    return transformers.ByT5Tokenizer().decode([t for t in tokens if t > 2])


def test_what_a_row_is_written_as(parts: Any):
    _, given_NA, target = parts
    written, learnt = target.write(given_NA[3])
    assert text_of(target, written) == "Leaf|Food|Tea   B|"
    assert written[-1] == target.end
    assert learnt == written
    assert text_of(target, target.write(given_NA[6])[0]) == "Oak|Home|none|"
    written, learnt = target.write(given_NA[8])  # its brand is not given
    assert text_of(target, written) == "|Food|Green Tea|"
    assert learnt[: len(target.separator)] == [IGNORED] * len(target.separator)
    assert learnt[len(target.separator) :] == written[len(target.separator) :]


def followed(known: KnownValues, choose: Any) -> tuple[list[int], tuple[int, ...]]:
    """A text made by choosing among what may follow, and the columns it names."""
    tokens: list[int] = []
    while known.target.end not in tokens:
        tokens.append(choose(known.allowed(tokens)))
    assert known.allowed(tokens) == [known.target.pad]
    return tokens, known.columns([*tokens, known.target.pad])


@pytest.mark.parametrize("only_seen", [False, True])
def test_every_way_through_the_trie_is_a_row_of_known_values(parts: Any, only_seen: bool):
    space, given_NA, target = parts
    known = KnownValues(target, given_NA, only_seen)
    rng = np.random.default_rng(0)
    found = {followed(known, rng.choice)[1] for _ in range(400)}
    for a, attribute in enumerate(space.attributes):
        assert {row[a] for row in found} == set(space.columns_of(attribute).tolist())
    seen = {tuple(row[1:]) for row in given_NA.tolist()}
    if only_seen:
        assert {row[1:] for row in found} == seen
    else:
        assert len({row[1:] for row in found}) == 2 * 5  # any L0 with any L1
    for row in given_NA[:8]:
        tokens, _ = target.write(row)
        assert all(token in known.allowed(tokens[:i]) for i, token in enumerate(tokens))
        assert known.columns(tokens) == tuple(row)


def test_nothing_but_known_values_comes_out_of_random_weights(files: Path, parts: Any):
    space, given_NA, target = parts
    model = t5_attributes.load_model(str(files / "model"))
    inputs = [[5, 6, 7, 1], [9, 1], [40, 41, 42, 43, 44, 1]]
    seen = {tuple(row[1:]) for row in given_NA.tolist()}
    for beams in (1, 3):
        known = KnownValues(target, given_NA, True)
        together = predict(model, known, inputs, batch_rows=3, beams=beams)
        for a in range(3):
            assert (space.attribute_of_L[together.columns_NA[:, a]] == a).all()
        assert {tuple(row) for row in together.columns_NA[:, 1:].tolist()} <= seen
        alone = [predict(model, known, [row], beams=beams) for row in inputs]
        np.testing.assert_array_equal(
            together.columns_NA, np.concatenate([each.columns_NA for each in alone])
        )
        np.testing.assert_allclose(
            together.row_probabilities_N,
            np.concatenate([each.row_probabilities_N for each in alone]), rtol=1e-3,
        )  # fmt: skip


def test_probabilities_are_products_of_token_probabilities(files: Path, parts: Any):
    _, given_NA, target = parts
    model = t5_attributes.load_model(str(files / "model"))
    found = predict(model, KnownValues(target, given_NA), [[5, 6, 7, 1]])
    tokens, _ = target.write(found.columns_NA[0])
    start = model.config.decoder_start_token_id
    with torch.inference_mode():
        logits = model.eval()(
            input_ids=torch.tensor([[5, 6, 7, 1]]),
            decoder_input_ids=torch.tensor([[start, *tokens]]),
        ).logits[0]
    logs = logits.log_softmax(-1)[range(len(tokens)), tokens]
    np.testing.assert_allclose(found.row_probabilities_N[0], float(logs.sum().exp()), rtol=1e-3)
    first = len(target.tokens_of[int(found.columns_NA[0, 0])])
    np.testing.assert_allclose(
        found.probabilities_NA[0, 0], float(logs[:first].sum().exp()), rtol=1e-3
    )


@pytest.mark.slow
def test_a_dozen_rows_are_learnt_by_heart(files: Path, tmp_path: Path, capsys: Any):
    more = ("--epochs", "150", "--learning-rate", "3e-3", "--seen-paths", "--batch-rows", "12")
    assert t5_attributes.main(arguments(files, tmp_path, *more)) == 0
    assert "item accuracy" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["item_accuracy"] == 1.0
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert lines[3]["values"] == {"brand": "Leaf", "L0": "Food", "L1": "Tea | B"}
    assert lines[6]["values"] == {"brand": "Oak", "L0": "Home", "L1": None}
    # the brand of row 8 is not given, so that nothing was learnt about it
    chances = [line["row_probability"] for n, line in enumerate(lines) if n != 8]
    assert min(chances) > 1e-3, chances  # with random weights below 1e-20


def test_a_run_that_was_stopped_ends_as_one_that_was_not(files: Path, tmp_path: Path, capsys: Any):
    more = ("--epochs", "3", "--held-out", "0.3", "--patience", "0", "--save-every", "1")
    assert t5_attributes.main(arguments(files, tmp_path / "whole", *more)) == 0
    for steps in ("1", "2", "9"):  # within an epoch, after one, to the end
        stopped = arguments(files, tmp_path / "stopped", *more, "--max-steps", steps)
        assert t5_attributes.main(stopped) == 0
    for name in ("best/model.safetensors", "predictions.jsonl"):
        whole, stopped_file = ((tmp_path / run / name).read_bytes() for run in ("whole", "stopped"))
        assert whole == stopped_file
    position = json.loads((tmp_path / "whole" / "checkpoint" / "position.json").read_text())
    assert (position["done"], position["epoch"], len(position["losses"])) == (True, 3, 3)
    assert t5_attributes.main(arguments(files, tmp_path / "whole", *more, "--seed", "1")) == 2
    assert "of other rows or settings" in capsys.readouterr().err


def test_parts_of_a_step_add_up(files: Path, parts: Any):
    _, given_NA, target = parts
    pairs = [target.write(row) for row in given_NA]
    rows = t5_training.Examples(
        [[5 + n, 6, 1] for n in range(12)], [w for w, _ in pairs], [t for _, t in pairs]
    )
    gradients = []
    for accumulate in (1, 5):
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(
            files / "model", dropout_rate=0.0
        )
        params = t5_training.TrainingParams(accumulate=accumulate)
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
        t5_training._step(model, optimiser, rows, params, 1.0, 0, torch.device("cpu"))
        gradients.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_training_ends_when_held_out_rows_get_no_better(files: Path, tmp_path: Path, parts: Any):
    """With a learning rate of almost nothing every epoch is as good as the one before."""
    more = ("--epochs", "9", "--held-out", "0.3", "--patience", "2", "--learning-rate", "0")
    assert t5_attributes.main(arguments(files, tmp_path, *more)) == 0
    position = json.loads((tmp_path / "checkpoint" / "position.json").read_text())
    assert (position["best_epoch"], position["epoch"], position["done"]) == (0, 3, True)
    with pytest.raises(ConfigError, match="schedule"):
        t5_training.TrainingParams(schedule="linear")
