"""examples/ runs as it is, on the data it makes."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
SHOWS = {
    "train_and_predict.py": ["instances", "best colour: white", "in favour: "],
    "own_csv.py": ["2500 rows", "category=Home"],
    "attributes.py": ["rows without a brand", "brand: "],
    "clicks_to_intent.py": ["'items': ", "category=Home"],
    "own_trainer.py": ["held_out/level_1/ndcg_at_5: 0.", " model: On "],
    "audit.py": ["probability 0.", "P@3 against the true labels"],
}


def test_every_script_is_listed_here_and_in_the_readme():
    text = (EXAMPLES / "README.md").read_text()
    assert set(SHOWS) == set(SCRIPTS)
    for path in EXAMPLES.glob("*.*"):
        assert path.name == "README.md" or path.name in text


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_runs(name: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(tmp_path / "work")],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for text in SHOWS[name]:
        assert text in done.stdout


def test_scripts_can_be_imported_without_running():
    for name in SCRIPTS:
        assert "main" in runpy.run_path(str(EXAMPLES / name), run_name="example")


@pytest.mark.timeout(900)  # its kernels are compiled where no other test has done so
def test_notebook_runs_and_is_stored_without_outputs(tmp_path: Path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    client = nbclient.NotebookClient(
        notebook, timeout=800, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    printed = "".join(o.get("text", "") for cell in code for o in cell.outputs)
    assert "@1" in printed
    assert any("image/png" in o.get("data", {}) for cell in code for o in cell.outputs)
