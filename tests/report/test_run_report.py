"""The report of a run: page and summary tell what report.json holds, and what is missing."""

import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.report.test_report import Page
from tests.small_corpora import make_rows, model_bytes, write_rows
from xrt.cli import main
from xrt.data.formats import read_corpus
from xrt.data.labels import LabelTable
from xrt.evaluate import evaluate_model
from xrt.metrics.propensity import PropensityParams
from xrt.pipeline import DatasetParams, PipelineParams, train
from xrt.pipeline.looking_at_rows import NUM_EXAMPLES, LookedAtRows, look_at_rows
from xrt.pipeline.report_content import EXAMPLES, RunReport, read_report
from xrt.pipeline.report_page import write_run_page
from xrt.pipeline.report_text import print_report
from xrt.report.text import percent
from xrt.sparse import as_csr
from xrt.storage.reading import read_json_bounded

HOSTILE = "<script>alert(1)</script>"
MAX_BYTES = 300 * 1024
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def linear_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear run with a test file; one label, and the texts that have it, are hostile."""
    folder = tmp_path_factory.mktemp("linear")
    for name, num_rows, seed in (("trn", 300, 0), ("tst", 60, 1)):
        rows = make_rows(num_rows, seed)
        for row in rows:
            if "KARE" in row["labels"]:
                row["labels"] = [HOSTILE if each == "KARE" else each for each in row["labels"]]
                row["title"] += f" {HOSTILE}"
        write_rows(folder / f"{name}.jsonl", rows)
    dataset = DatasetParams(
        name="hostile", trn=str(folder / "trn.jsonl"), tst=str(folder / "tst.jsonl")
    )
    train(PipelineParams(dataset=dataset, num_trees=1, num_threads=1), folder / "run")
    return folder / "run"


def shown(page: str) -> str:
    return " ".join(" ".join(Page(page).texts).split())


def test_the_page_opens_on_the_verdict_and_its_numbers_are_those_of_the_file(
    linear_run: Path,
) -> None:
    content = read_json_bounded(linear_run / "report.json")
    page = (linear_run / "report.html").read_text()
    text = shown(page)
    assert text.index("The linear model ships.") < text.index("P@1") < text.index("Wrong:")
    metrics = content["models"]["linear"]["metrics"]
    test, held_out = content["rows"]["test"], content["rows"]["held_out"]
    for name, figure in test["figures"]["linear"].items():
        assert figure["value"] == metrics[name]
    for told in (test, held_out):
        for figure in told["figures"]["linear"].values():
            assert percent(figure["value"], figure["error"]) in text
    assert test["num_rows"] == 60
    assert f"{held_out['num_rows']}" in text
    for name, value in metrics.items():
        assert f"{name} {value:.4f}" in text
    assert page.index("All metrics") > page.index("Time and memory")
    assert len(page.encode()) < MAX_BYTES


def test_values_are_escaped_and_nothing_is_fetched(linear_run: Path) -> None:
    page = (linear_run / "report.html").read_text()
    assert HOSTILE not in page
    assert HOSTILE in shown(page)
    assert "://" not in page
    assert page.count("<script>") == 1
    assert not re.search(r'(?:src|href|action|xlink)="[^#]', page)


def test_examples_are_rows_of_the_test_file_and_not_in_the_model(linear_run: Path) -> None:
    examples = read_json_bounded(linear_run / EXAMPLES)
    told = read_json_bounded(linear_run / "report.json")["rows"]["test"]
    corpus = read_corpus(linear_run.parent / "tst.jsonl")
    assert corpus.texts is not None
    assert examples["num_right"] + examples["num_wrong"] == 60
    assert examples["num_first_right"] / 60 == told["figures"]["linear"]["P@1"]["value"]
    for row in (*examples["right"], *examples["wrong"]):
        columns = corpus.Y[[row["row"]]].indices
        true = {corpus.labels.ids[column] for column in columns}
        assert row["text"] == corpus.texts[row["row"]]
        assert {label["label"] for label in row["true"]} == true
        assert all(label["true"] == (label["label"] in true) for label in row["suggested"])
    for row in examples["right"]:
        assert all(label["true"] for label in row["suggested"][: row["num_true"]])
    for row in examples["wrong"]:
        assert not all(label["true"] for label in row["suggested"][: row["num_true"]])
    assert len(examples["wrong"]) == min(NUM_EXAMPLES, examples["num_wrong"])
    text = examples["wrong"][0]["text"].encode()
    assert text in (linear_run / EXAMPLES).read_bytes()
    assert EXAMPLES not in model_bytes(linear_run / "model")
    files = [path for path in (linear_run / "model").rglob("*") if path.is_file()]
    assert not any(text in path.read_bytes() for path in files)


def test_a_deep_run_shows_its_verdict_curves_and_stages(run_folder: Path) -> None:
    content = read_json_bounded(run_folder / "report.json")
    text = shown((run_folder / "report.html").read_text())
    assert "The deep model ships." in text
    assert "it ships since always_deep is set" in text
    assert {"Matcher's loss", "Learning curves"} <= set(Page(
        (run_folder / "report.html").read_text()).texts)  # fmt: skip
    held_out = content["rows"]["held_out"]["figures"]
    assert set(held_out) == {"linear", "deep"}
    verdict = content["verdict"]["held_out"]
    for name in ("P@1", "R@10", "PSP@5"):
        assert held_out["linear"][name]["value"] == pytest.approx(verdict["linear"][name], abs=0.02)
    names = [line["stage"] for line in content["stages"]]
    assert {"features", "matcher", "fusion", "test rows", "model"} <= set(names)
    assert len(names) == len(set(names))
    for line in content["stages"]:
        assert 0 <= line["own_seconds"] <= line["seconds"]
        assert line["stage"] in text
    assert content["learning"]["losses"]


def test_the_page_is_made_again_from_the_files(
    linear_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the run and from its model the same page, and the same figures in the terminal."""
    before = (linear_run / "report.html").read_text()
    for place in (linear_run, linear_run / "model"):
        out = tmp_path / "page.html"
        assert main(["report", str(place), "--out", str(out)]) == 0
        assert out.read_text() == before
        told = capsys.readouterr().out
        assert "The linear model ships." in told
        assert f"page: {out}" in told
    figures = read_json_bounded(linear_run / "report.json")["rows"]["test"]["figures"]["linear"]
    for figure in figures.values():
        assert percent(figure["value"], figure["error"]) in told


def test_in_the_terminal_texts_are_no_markup(linear_run: Path) -> None:
    report, _ = read_report(linear_run)
    assert report.examples is not None
    row = {**report.examples["wrong"][0], "text": "[red]a[/red] \x1b[31m"}
    written = io.StringIO()
    told = replace(report, examples={**report.examples, "wrong": [row]})
    print_report(told, Console(file=written, width=100))
    assert "[red]a[/red] \ufffd[31m" in written.getvalue()


def test_texts_can_be_left_out(linear_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert main(["report", str(linear_run), "--no-examples", "--out", str(out)]) == 0
    examples = read_json_bounded(linear_run / EXAMPLES)
    page = shown(out.read_text())
    assert "The linear model ships." in page
    assert not any(row["text"] in page for row in (*examples["wrong"], *examples["right"]))


def old_run(folder: Path) -> None:
    """What an earlier version left."""
    path = folder / "report.json"
    content = json.loads(path.read_text())
    new = ("about", "rows", "stages", "learning", "application", "settings")
    path.write_text(json.dumps({k: v for k, v in content.items() if k not in new}))
    (folder / EXAMPLES).unlink()


def test_a_run_of_an_earlier_version_says_what_is_missing(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(run_folder, tmp_path / "old"))
    old_run(folder)
    assert main(["report", str(folder)]) == 0
    told = capsys.readouterr().out
    text = shown((folder / "report.html").read_text())
    for place in (" ".join(told.split()), text):
        assert "The deep model ships." in place
        assert "made by an earlier version. Train again" in place
        assert "Time and memory of the stages: " in place
    assert "Matcher's loss" in text
    assert "Wrong:" not in text


def test_a_model_alone_has_a_report_and_a_file_gives_it_examples(
    linear_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(linear_run / "model", tmp_path / "alone"))
    assert main(["report", str(model)]) == 0
    assert "lie in the run folder, not in the model" in " ".join(capsys.readouterr().out.split())
    page = tmp_path / "alone.report.html"
    assert "Wrong:" not in shown(page.read_text())
    tst = linear_run.parent / "tst.jsonl"
    assert main(["report", str(model), "--test", str(tst)]) == 0
    text = shown((tmp_path / "alone.report-tst.html").read_text())
    assert "Wrong:" in text
    value = evaluate_model(model, tst).value("P@1")
    assert percent(value) in text
    assert "not in the model" not in text
    model_bytes(model)  # nothing was written into it
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "alone", "alone.report-tst.html", "alone.report.html"
    ]  # fmt: skip


def cut(folder: Path) -> None:
    (folder / "report.json").write_text("{")


def other_types(folder: Path) -> None:
    content = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({**content, "rows": {"test": {"figures": 3}}}))


def of_an_audit(folder: Path) -> None:
    (folder / "report.json").write_text('{"corpus": {}, "suggestions": {}}')


def unfinished(folder: Path) -> None:
    (folder / "report.json").unlink()


def no_run(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "report.json"),
        (other_types, "damaged"),
        (of_an_audit, "an audit has a page of its own"),
        (unfinished, "no report.json yet; let the training end"),
        (no_run, "no such folder; give the folder of a run"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(
    linear_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    message: str,
) -> None:
    folder = Path(shutil.copytree(linear_run, tmp_path / "run"))
    spoil(folder)
    assert main(["report", str(folder)]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_reading_arguments_need_a_file(
    linear_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(linear_run), "--format", "jsonl"]) == 2
    assert "add --test FILE" in capsys.readouterr().err


def test_ten_thousand_labels_and_long_texts_stay_small(linear_run: Path, tmp_path: Path) -> None:
    """All names and texts are long and of signs that take much room when escaped or encoded."""
    rng = np.random.default_rng(0)
    num_rows, num_labels = 400, 10_000
    sign = "\u4e2d&<\u0634"
    ids = tuple(f"{i:05d}{sign * 100}" for i in range(num_labels))
    corpus = replace(
        read_corpus(linear_run.parent / "tst.jsonl").subset(np.zeros(num_rows, np.int64)),
        texts=[f"{row} {sign * 5_000}" for row in range(num_rows)],
        labels=LabelTable(ids, ids),
        Y=as_csr((rng.random((num_rows, num_labels)) < 0.002).astype(np.float32)),
    )
    scores = as_csr((rng.random((num_rows, num_labels)) < 0.005) * np.float32(0.5))
    told, examples = look_at_rows(
        LookedAtRows("test rows", corpus, {"linear": scores}), "linear",
        np.ones(num_labels, np.int64), num_rows, PropensityParams(), True,
    )  # fmt: skip
    content = read_json_bounded(linear_run / "report.json")
    report = RunReport.of_run({**content, "rows": {"test": told}}, examples)
    page = write_run_page(report, tmp_path / "page.html").read_bytes()
    assert len(page) <= MAX_BYTES
    assert len(examples["wrong"]) == NUM_EXAMPLES
    assert page.count(b'<li><p class="text">') == NUM_EXAMPLES
    assert len(json.dumps(examples)) < 2_000_000


def test_varied_mistakes_come_first() -> None:
    """Forty times the same mistake, surer than five others: not more than two of it before them."""
    Y = np.zeros((45, 12), np.float32)
    scores = np.zeros((45, 12), np.float32)
    Y[:, 0], scores[:40, 1] = 1, 0.9
    for row in range(5):
        scores[40 + row, 2 + row] = 0.1 * (row + 1)
    corpus = replace(
        _corpus(45), Y=as_csr(Y), labels=LabelTable.from_ids([f"l{i}" for i in range(12)])
    )
    _, examples = look_at_rows(
        LookedAtRows("rows", corpus, {"linear": as_csr(scores)}), "linear",
        np.ones(12, np.int64), 45, PropensityParams(), False,
    )  # fmt: skip
    first = [row["suggested"][0]["label"] for row in examples["wrong"]]
    assert first[:7] == ["l1", "l1", "l6", "l5", "l4", "l3", "l2"]
    assert len(first) == NUM_EXAMPLES


def _corpus(num_rows: int) -> Any:
    from xrt.data.corpus import Corpus

    texts = [f"text {i}" for i in range(num_rows)]
    Y = as_csr(np.ones((num_rows, 1), np.float32))
    return Corpus(texts=texts, Y=Y, labels=LabelTable.from_ids(["l"]))


def test_a_model_of_another_run_beside_a_report_is_not_taken_for_its_own(
    linear_run: Path, run_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(linear_run, tmp_path / "run"))
    shutil.rmtree(folder / "model")
    shutil.copytree(run_folder / "model", folder / "model")
    report, page = read_report(folder / "model")
    assert report.about["rows"] == 140
    assert page == folder / "model.report.html"
