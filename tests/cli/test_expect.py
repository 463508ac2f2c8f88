"""`expect` and `--expect`: the very model that is wanted, or none."""

import inspect as signatures
from pathlib import Path

import pytest

from xrt import Predictor, XRLinear
from xrt.applications.attributes.evaluation import evaluate_attribute_model
from xrt.applications.attributes.predictor import AttributePredictor
from xrt.cli import main
from xrt.errors import ArtifactError
from xrt.estimators import XRTransformer
from xrt.evaluate import evaluate_model
from xrt.storage.artifact import open_artifact


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_corpus) -> Path:
    texts, Y, _ = tiny_corpus
    folder = tmp_path_factory.mktemp("expect") / "model"
    return XRLinear(num_threads=1).fit(texts, Y).save(folder)


def test_another_model_than_expected_is_refused_in_python(model: Path, tmp_path: Path) -> None:
    digest = open_artifact(model).digest
    wrong = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    assert Predictor.load(model, expect=digest.upper()).predict("red shirt")
    assert XRLinear.load(model, expect=f" {digest}\n").labels_
    corpus = tmp_path / "rows.jsonl"
    corpus.write_text('{"text": "a red shirt", "labels": ["0"]}\n')
    for expect in (wrong, "", "0" * 64, digest[:12]):
        for load in (Predictor.load, XRLinear.load, XRTransformer.load, AttributePredictor.load):
            with pytest.raises(ArtifactError, match="as expected"):
                load(model, expect=expect)
        with pytest.raises(ArtifactError, match="as expected"):
            evaluate_model(model, corpus, expect=expect)
        with pytest.raises(ArtifactError, match="as expected"):
            evaluate_attribute_model(model, corpus, expect=expect)


@pytest.mark.parametrize("command", ["predict", "evaluate", "explain", "inspect"])
def test_each_command_refuses_another_model(
    model: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a red shirt", "labels": ["0"]}\n')
    what = {"explain": ["red shirt"], "inspect": []}.get(command, [str(file)])
    digest = open_artifact(model).digest
    assert main([command, str(model), *what, "--expect", digest]) == 0
    capsys.readouterr()
    assert main([command, str(model), *what, "--expect", "0" * 64]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"is model {digest}, not {'0' * 64} as expected" in told.err
    assert told.err.count("\n") == 1


def test_every_public_loader_takes_it() -> None:
    for load in (Predictor.load, XRLinear.load, XRTransformer.load, AttributePredictor.load):
        assert signatures.signature(load).parameters["expect"].default is None


def test_inspect_prints_what_expect_takes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(model)]) == 0
    printed = capsys.readouterr().out
    digest = next(line.split()[1] for line in printed.splitlines() if "digest" in line)
    assert Predictor.load(model, expect=digest)
