"""One-vs-rest and the votes of neighbours, as the suite has them, and the suite from end to end."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from bench.corpora import registry
from bench.corpora.made_up import TextShape
from bench.corpora.views import write_view
from bench.linear_system import LinearRows, top_scores
from bench.own.suite_deep import write_texts
from bench.peers.linear_svc import OneVsRest
from bench.peers.neighbour_vote import NeighbourVote, best_of_rows
from bench.record import read_lines
from bench.suites import suite

SHAPE = TextShape(num_labels=12, num_train=120, num_test=40, num_words=300, labels_a_cluster=4)


@pytest.fixture
def small_set(monkeypatch):
    each = registry.made("small", "odd", SHAPE)
    monkeypatch.setattr(registry, "SETS", {"small": each})
    monkeypatch.setattr(suite, "SETS", {"small": each})
    monkeypatch.setattr(suite, "warm_up", lambda *_: None)
    return each


@pytest.fixture
def rows(small_set, tmp_path):
    write_view(small_set.corpus(None, short=False), "own", tmp_path / "rows")
    return LinearRows.load(tmp_path / "rows")


def test_best_scores():
    scores = np.array([[0.1, 0.5, 0.5, 0.2], [0.0, -1.0, 3.0, 0.0]])
    best = top_scores(scores, 2)
    assert best[[0]].indices.tolist() == [1, 2]
    assert best[[1]].indices.tolist() == [2, 0]
    assert best_of_rows(sp.csr_matrix(scores), 1).toarray().tolist() == [
        [0, 0.5, 0, 0],
        [0, 0, 3, 0],
    ]


@pytest.mark.parametrize("kind", [OneVsRest, NeighbourVote])
def test_peers_find_labels_and_keep_their_scores_when_saved(kind, rows, tmp_path: Path):
    system = kind(rows, 1, tmp_path)
    system.prepare()
    system.train()
    before, _ = system.predict()
    system.save(tmp_path / "model")
    system.load(tmp_path / "model")
    after, _ = system.predict()
    assert (before != after).nnz == 0
    Y_tst = sp.load_npz(tmp_path / "rows" / "Y_tst.npz").tocsr()
    best = np.asarray(after.argmax(axis=1)).ravel()
    assert np.mean([Y_tst[row, label] for row, label in enumerate(best)]) > 0.5
    one = sp.csr_matrix(system.predict_one(system.single_rows(np.array([3]))[0]))
    np.testing.assert_allclose(one.toarray(), after[[3]].toarray(), atol=1e-6)


def test_labels_of_all_rows_and_of_none_are_no_fault(rows, tmp_path: Path):
    Y = rows.Y_trn.tolil()
    Y[:, 0], Y[:, 1] = 1, 0
    system = OneVsRest(rows, 1, tmp_path)
    system.Y_trn = Y.tocsr()
    system.prepare()
    system.train()
    scores, _ = system.predict()
    assert (scores.argmax(axis=1) == 0).mean() > 0.2


def test_costly_peers_have_a_limit():
    sizes = {"num_train": 30_000, "num_labels": 1_000, "num_test": 10}
    assert "limit 10,000,000" in suite.over_limit("linear_svc", sizes)
    assert not suite.over_limit("neighbour_vote", sizes)
    assert not suite.over_limit("bonsai", sizes)


def test_the_suite_from_end_to_end_goes_on_where_it_was(small_set, tmp_path: Path, capsys):
    output = tmp_path / "suite.jsonl"
    arguments = ["--output", str(output), "--threads", "1", "--peer-python", sys.executable]
    assert suite.main([*arguments, "--systems", "neighbour_vote"]) == 0
    assert suite.main([*arguments, "--systems", "xrt-linear", "neighbour_vote"]) == 0
    lines = read_lines(output)
    assert [line["system"] for line in lines] == ["neighbour_vote", "xrt-linear"]
    assert all((tmp_path / "suite.rows" / line["rows_file"]).is_file() for line in lines)
    assert lines[0]["rows_train_seconds"] > 0
    text = capsys.readouterr().out
    assert "| small, own | 120 / 40 / 12 |" in text
    assert "neighbour_vote" in text
    assert suite.main([*arguments, "--systems", "xrt-linear", "--set", "num_trees=2"]) == 0
    assert read_lines(output)[-1]["changes"] == {"num_trees": 2}
    assert suite.main([*arguments, "--systems", "xrt-linear", "--set", "num_trees=2"]) == 0
    assert len(read_lines(output)) == 3
    assert suite.main(["--compare", str(output), str(output)]) == 1


def test_an_encoder_takes_part_where_it_is_asked_for_and_there_are_texts(tmp_path: Path):
    words = ["--systems", "xrt-linear", "--sets", "bibtex", "three-words"]
    for deep, expected in ((["--deep"], ["encoder=minilm"]), (["--deep", "a=b", "c=d"], None)):
        args = suite.parse_arguments([*words, *deep])
        args.set = {}
        assert args.deep == (expected or ["a=b", "c=d"])
        runs = [run for run in suite.planned_runs(args) if run.system == "xrt-deep"]
        assert [(run.row_set.name, run.view) for run in runs] == [("three-words", "own")]
        assert json.loads(runs[0].key(args))["changes"] == args.deep
    args = suite.parse_arguments(words)
    assert all(run.system == "xrt-linear" for run in suite.planned_runs(args))


def test_training_texts_are_written_with_their_columns(rows, tmp_path: Path):
    write_texts(rows.folder, tmp_path / "trn.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "trn.jsonl").read_text().splitlines()]
    texts = json.loads((rows.folder / "texts_trn.json").read_text())
    assert [line["text"] for line in lines] == texts
    assert [int(label) for label in lines[5]["labels"]] == rows.Y_trn[[5]].indices.tolist()


def test_the_command_of_a_record_has_what_was_given():
    args = suite.without_defaults(suite.parse_arguments(["--short", "--sets", "thai"]))
    told = suite.shown_command("suite", args, suite.SHOWN)
    assert told == "python -m bench suite --short --sets thai --threads 2"


def test_a_run_that_failed_is_tried_again_and_told(small_set, tmp_path: Path, monkeypatch, capsys):
    output = tmp_path / "suite.jsonl"
    monkeypatch.setattr(suite, "run_child", lambda *_: {"error": "ended by signal 11"})
    arguments = ["--output", str(output), "--systems", "xrt-linear"]
    assert suite.main(arguments) == 1
    assert suite.main(arguments) == 1
    assert len(read_lines(output)) == 2
    assert "small, own, xrt-linear, seed 0: ended by signal 11" in capsys.readouterr().out


def test_settings_are_json_or_words():
    assert suite.changed_setting("features.char_ngrams=[3,5]") == ("features.char_ngrams", [3, 5])
    assert suite.changed_setting("linear=fast") == ("linear", "fast")
    with pytest.raises(SystemExit, match="NAME=VALUE"):
        suite.changed_setting("num_trees")


def test_lines_of_xrt_count_for_their_code_alone(small_set, tmp_path: Path, monkeypatch):
    args = suite.parse_arguments(["--systems", "xrt-linear", "bonsai"])
    args.set = {}
    runs = list(suite.planned_runs(args))
    lines = [json.loads(json.dumps({"key": run.key(args)})) for run in runs]
    assert suite.missing_runs(args, lines) == []
    monkeypatch.setattr(suite, "code_of", lambda folder: folder)
    missing = suite.missing_runs(args, lines)
    assert {(run.view, run.system) for run in missing} == {("own", "xrt-linear")}
    monkeypatch.setattr(suite, "SETS", {"real": registry.real(registry.files.tibkat, 100, (50, 9))})
    args.sets = ["real"]
    planned = {
        (run.view, run.system): json.loads(run.key(args)) for run in suite.planned_runs(args)
    }
    assert planned["own", "bonsai"]["code"] == ""
    assert planned["equal", "bonsai"]["code"] == "xrt/features"
    assert planned["equal", "xrt-linear"]["code"] == "xrt"
