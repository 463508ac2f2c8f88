"""A tiny model for the commands that read one."""

from pathlib import Path

import pytest

from tests.small_corpora import make_rows, write_rows
from xrt import XRLinear
from xrt.data.formats import read_corpus


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model of 24 labels."""
    folder = tmp_path_factory.mktemp("commands")
    rows = write_rows(folder / "rows.jsonl", make_rows(500, 0))
    return XRLinear(num_threads=1, seed=0).fit(read_corpus(rows)).save(folder / "small")
