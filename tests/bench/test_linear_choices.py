"""The suite that tells what each choice of the linear model is worth."""

import numpy as np
import pytest

from bench.record import read_lines
from bench.suites import linear_choices
from bench.suites.linear_choices import PLAIN, compared, held_out, main, render

SMALL = "rows-50"


def test_a_difference_is_paired_row_by_row():
    plain_NM = np.array([[0.0, 50.0], [100.0, 50.0]])
    told = compared(plain_NM + np.array([10.0, 0.0]), plain_NM)
    assert told == {"figures": [60.0, 50.0], "differences": [10.0, 0.0], "errors": [0.0, 0.0]}


@pytest.fixture
def few(monkeypatch):
    changes = {PLAIN: {}, "one tree": {"num_trees": 1}}
    monkeypatch.setattr(linear_choices, "CHANGES", changes)
    return SMALL


def test_rows_are_held_out_of_the_training_rows(few):
    corpus = linear_choices.SETS[few].make(None)
    (trn, Y_trn), (held, Y_held) = held_out(corpus, 20, 10**6, 3)
    assert len(trn) == Y_trn.shape[0]
    assert len(held) == Y_held.shape[0] == min(20, corpus.Y_trn.shape[0] // 6)
    assert len(trn) + len(held) == corpus.Y_trn.shape[0]
    again = held_out(corpus, 20, 10**6, 3)
    assert again[1][0] == held
    assert held_out(corpus, 20, 10, 3)[0][1].shape[0] == 10


def test_a_stopped_run_goes_on_and_the_record_has_each_change(few, tmp_path):
    output, record = tmp_path / "choices.jsonl", tmp_path / "record.md"
    words = ["--sets", few, "--held-out", "20", "--output", str(output), "--record", str(record)]
    assert main(words) == 0
    lines = read_lines(output)
    assert [line["change"] for line in lines] == [PLAIN, "one tree"]
    output.write_text(output.read_text().splitlines(keepends=True)[0])
    assert main(words) == 0
    again = read_lines(output)
    for one, other in zip(lines, again, strict=True):
        assert one["figures"] == other["figures"]
    assert "| one tree |" in record.read_text()
    assert render(again).startswith("# What each choice of the linear model is worth")
