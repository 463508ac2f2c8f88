"""The package: its suites, its layers, its peers' interpreters, records made again."""

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.__main__ import first_line, main, suite_names
from bench.peers import ENVIRONMENTS, interpreters
from tests import ROOT

PACKAGE = ROOT / "bench"


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports, names within functions too."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    names = {f"{node.module}.{name.name}" for node in nodes for name in node.names}
    names |= {str(node.module) for node in nodes}
    return {name for name in names if name.startswith("bench.")}


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


def test_no_module_imports_itself_by_a_way_round():
    known = modules()
    graph = {name: imports_of(path) & known.keys() - {name} for name, path in known.items()}
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_what_runs_beside_a_peer_does_not_import_xrt():
    known = modules()
    seen, waiting = set(), [f"bench.peers.{name}" for name in ENVIRONMENTS]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += imports_of(known[name]) & known.keys()
    for name in seen:
        assert "xrt" not in {
            str(node.module).partition(".")[0]
            for node in ast.walk(ast.parse(known[name].read_text()))
            if isinstance(node, ast.ImportFrom)
        }, name


def test_every_suite_is_listed_with_what_it_does(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    for name in suite_names():
        assert name in shown
        assert 20 < len(first_line(name)) <= 100
    assert main(["no-such"]) == 2
    assert "linear" in capsys.readouterr().err


@pytest.mark.parametrize("suite", suite_names())
def test_every_suite_has_help(suite, capsys):
    with pytest.raises(SystemExit) as end:
        main([suite, "--help"])
    assert end.value.code == 0
    assert "usage: " in capsys.readouterr().out


def test_a_record_is_made_again_from_its_lines(tmp_path, capsys):
    line = {
        "row_set": "tibkat", "round": 1, "system": "pecos", "threads": 2, "date": "2026-01-02",
        "commit": "abc", "command": "c", "load_average": 1.0, "error": "exit status 1",
        "machine": {"processors": 2, "processor": "P", "memory_gb": 8, "python": "3.11"},
    }  # fmt: skip
    (tmp_path / "lines.jsonl").write_text(json.dumps(line) + "\n")
    assert main(["linear", "--render", str(tmp_path / "lines.jsonl")]) == 0
    assert "- tibkat, round 1, pecos: exit status 1" in capsys.readouterr().out
    assert main(["tfidf", "--render", str(tmp_path / "lines.jsonl")]) == 2
    assert "makes no record" in capsys.readouterr().err
    assert main(["linear", "--render"]) == 2
    assert "one JSONL file" in capsys.readouterr().err


def test_a_missing_peer_is_refused_with_what_to_install(tmp_path):
    for python in (str(tmp_path / "python"), sys.executable):  # no such file; one without libpecos
        with pytest.raises(SystemExit, match=r'PEERS/bin/pip install .*"libpecos==1.2.8"'):
            interpreters([python], ["pecos_transformer"])
    own = interpreters([str(tmp_path / "python"), f"linear_svc={sys.executable}"], ["linear_svc"])
    assert own == {"linear_svc": sys.executable}


def test_the_command_of_the_package_runs():
    process = subprocess.run(
        [sys.executable, "-m", "bench"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "audit" in process.stdout
    assert bench.__doc__
