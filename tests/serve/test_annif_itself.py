"""Annif itself (PyPI: annif), with a project of its backend `http`, asks a served model.

Needs `annif`, named by XRT_TEST_ANNIF: the path of its command in an environment of its own.
"""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tests.serve.serving import serving
from xrt import Predictor, XRLinear
from xrt.data.corpus import Corpus, LabelTable

URI = "http://example.org/subject/"
NAMES = {f"{URI}{n}": name for n, name in enumerate(("telescopes", "violins", "bridges", "tea"))}
CONFIGURATION = """\
[served]
name=Served by xrt
language=en
backend=http
vocab=subjects
endpoint={address}/v1/projects/small/suggest
"""


@pytest.mark.slow
def test_annif_prints_what_xrt_suggests(tmp_path: Path):
    annif = os.environ.get("XRT_TEST_ANNIF", "")
    assert annif, "set XRT_TEST_ANNIF to the command of Annif"
    texts = [f"a book about {name} number {n}" for n in range(10) for name in NAMES.values()]
    Y_NL = sp.csr_array(np.tile(np.eye(len(NAMES), dtype=np.float32), (10, 1)))
    corpus = Corpus(texts=texts, Y=Y_NL, labels=LabelTable.from_ids(NAMES, NAMES))
    estimator = XRLinear(num_threads=1).fit(corpus)
    folder = estimator.save(tmp_path / "small")
    text = "the history of violins and tea"
    expected = Predictor.load(folder, num_threads=1).predict(text, 10)
    vocabulary = tmp_path / "subjects.tsv"
    vocabulary.write_text("".join(f"<{uri}>\t{name}\n" for uri, name in NAMES.items()))
    with serving([str(folder)], tmp_path) as server:
        (tmp_path / "projects.cfg").write_text(CONFIGURATION.format(address=server.address))

        def run(*words: str, text: str = "") -> str:
            outcome = subprocess.run(
                [annif, *words], input=text, capture_output=True, text=True, cwd=tmp_path
            )
            assert outcome.returncode == 0, outcome.stderr
            return outcome.stdout

        run("load-vocab", "subjects", str(vocabulary), "--language", "en")
        assert re.search(r"Trained: +True", run("show-project", "served"))
        lines = run("suggest", "served", text=text).splitlines()
    rows = [line.split("\t") for line in lines]
    assert [row[0] for row in rows] == [f"<{one.label}>" for one in expected]
    assert [row[1] for row in rows] == [NAMES[one.label] for one in expected]
    assert [float(row[2]) for row in rows] == pytest.approx([s.score for s in expected], abs=1e-4)
