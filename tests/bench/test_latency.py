"""The latency benchmark: parts are told apart, and the record is made of the lines alone."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from bench import clock
from bench.own import latency as own
from bench.rows import covering_rows, write_peer_rows, write_queries
from bench.suites import latency


def line(system: str, number: int, p50: float, **more) -> dict:
    return {
        "system": system, "round": number, "threads": 2, "k": 5, "warm_up": 10, "max_length": 64,
        "date": "2026-01-02", "commit": "abc", "command": "python it.py", "load_average": 0.5,
        "machine": {"processors": 2, "processor": "P", "memory_gb": 8, "python": "3.11"},
        "versions": {"torch": "2"}, "settings": "own", "num_labels": 24473, "num_texts": 1000,
        "words_a_text": 7.5, "load_seconds": 1.0, "ms": {"p50": p50, "p90": 2 * p50, "p99": 30.0},
        "parts": {"encode": {"p50": p50 / 2, "p90": 1, "p99": 1}, "rest": {"p50": 1.0}}, **more,
    }  # fmt: skip


def test_ratios_are_taken_within_a_round():
    lines = [line("xrt-auto", 1, 8.0), line("pecos", 1, 40.0, parts={"trees": {"p50": 3.0}}),
             line("pecos", 2, 90.0, parts={"trees": {"p50": 5.0}}), line("xrt-auto", 2, 10.0),
             line("xrt-int8", 1, 0.0, error="exit status 1")]  # fmt: skip
    told = latency.render(lines)
    assert "| xrt-auto | 9 (8 to 10) | 18 (16 to 20) | 30 (30 to 30) | 7 (5 to 9) | 1 |" in told
    assert "| encode | 4.5 |" in told
    assert "| trees | 4 |" in told
    assert "- round 1, xrt-int8: exit status 1" in told
    assert "reads at most 64 tokens" in told
    assert "reads at most" not in latency.render(lines[:1])


def test_parts_do_not_count_twice():
    def inner(text):
        time.sleep(0.002)

    owner = SimpleNamespace(inner=inner)
    owner.outer = lambda text: (time.sleep(0.004), owner.inner(text))

    def ask(text):
        time.sleep(0.008)
        owner.outer(text)
        owner.inner(text)

    with clock.PartClock({"inner": (owner, "inner"), "outer": (owner, "outer")}) as parts:
        figures = parts.measure(ask, ["a", "b", "c"])
    assert owner.inner is inner
    assert 2 <= figures["inner"]["p50"] < figures["outer"]["p50"] < figures["rest"]["p50"]
    assert figures["outer"]["p50"] >= 6


def test_every_part_of_xrt_is_where_the_benchmark_looks():
    for owner, name in own.parts_of_xrt().values():
        assert callable(getattr(owner, name))


def test_warm_up_does_not_count():
    taken = iter([0.05, 0.0, 0.0])
    asked = []

    def ask(text):
        asked.append(text)
        time.sleep(next(taken))

    found = clock.latency_of_each(ask, ["a", "b"], warm_up=1)
    assert asked == ["a", "a", "b"]
    assert found["p99"] < 50


def test_a_model_is_asked_and_told_by_part(tiny_corpus, tmp_path):
    from xrt import XRLinear

    texts, Y_NL, _ = tiny_corpus
    XRLinear(num_threads=1).fit(texts, Y_NL).save(tmp_path / "m")
    settings = {"model": str(tmp_path / "m"), "compute": "auto", "threads": 1, "k": 2, "warm_up": 2}
    figures = own.measured(texts[:6], settings)
    assert 0 < figures["ms"]["p50"] <= figures["ms"]["p99"]
    assert figures["parts"]["linear trees"]["p50"] > 0
    assert figures["parts"]["encode"]["p50"] == 0
    assert figures["num_labels"] == 10


def test_every_label_keeps_a_row(tmp_path):
    Y_NL = sp.csr_array(np.eye(7, dtype=np.float32)[[0, 0, 1, 2, 3, 4, 5, 6, 6, 6]])
    rows = covering_rows(Y_NL, 0, seed=0)
    assert rows.tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert len(covering_rows(Y_NL, 9, seed=0)) == 9
    assert len(covering_rows(Y_NL, 99, seed=0)) == 10
    file = tmp_path / "tst.jsonl"
    rows = [{"title": f"t {n}", "content": "c\nd", "labels": [str(n % 3)]} for n in range(9)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = write_queries(file, ["title"], 3, tmp_path)
    assert told == {"num_texts": 3, "words_a_text": 2.0}
    assert json.loads((tmp_path / "queries.json").read_text()) == ["t 0", "t 4", "t 8"]
    assert write_peer_rows(file, 5, 0, tmp_path / "p") == {"num_train": 5, "num_labels": 3}
    assert not any("\n" in text for text in json.loads((tmp_path / "p" / "texts.json").read_text()))


def test_the_command_line_shows_no_path_of_this_machine(tmp_path, capsys):
    args = ["--model", str(tmp_path / "m"), "--data", str(tmp_path)]
    parsed = latency.parse_arguments(args)
    assert parsed.systems == ["xrt-auto", "xrt-fp32", "xrt-bf16", "xrt-int8"]
    peer = [
        "--peers",
        "pecos_transformer",
        "--peer-python",
        str(tmp_path / "python"),
        "--peer-model",
        str(tmp_path / "p"),
    ]
    parsed = latency.parse_arguments([*args, *peer])
    assert parsed.systems[-1] == "pecos"
    assert str(tmp_path) not in latency.command_of(parsed)
    with pytest.raises(SystemExit):
        latency.parse_arguments([*args, "--systems", "pecos"])
    assert "--peer-model" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        latency.parse_arguments(["--data", str(tmp_path)])
    assert "--model is missing" in capsys.readouterr().err
