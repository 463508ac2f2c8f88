"""The retrieval benchmark: small sizes, its lines, the record and the plot of them."""

from pathlib import Path

import pytest

from bench.suites import retrieval
from xrt.sources import faiss_index


def test_small_sizes_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(faiss_index, "EXACT_UP_TO", 500)
    words = (
        "--labels 400 900 --rows 900 --width 8 --queries 30 --exhaustive 20 --batch 12 --pairs 9"
    )
    record, plot = tmp_path / "record.md", tmp_path / "plot.svg"
    files = ["--output", tmp_path / "lines.jsonl", "--record", record, "--plot", plot]
    assert retrieval.main([*words.split(), *map(str, files)]) == 0
    text = record.read_text()
    assert text == capsys.readouterr().out
    assert "| 400 labels | SQfp16 | - | 100.00 |" in text
    assert "| 900 labels | IVF60,SQ8 |" in text
    assert "| 900 rows | IVF60,SQ8 |" in text
    assert "![Latency against the number of vectors](plot.svg)" in text
    assert plot.read_text().startswith("<?xml")
    assert len(retrieval.render_file(tmp_path / "lines.jsonl").splitlines()) > 10


def test_made_up_vectors_depend_on_the_seed_alone():
    one, same, other = (retrieval.Groups(3_000, 8, 1.0, seed).vectors(70, 0) for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()
