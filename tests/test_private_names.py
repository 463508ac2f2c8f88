"""Private names of libraries: a list of all, and a test that holds what each is used for.

A library may take such a name away in any release. So each stands here with the test that fails
then; those without an upper bound in pyproject.toml are looked up in a way that goes on without.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import ROOT
from xrt.encoder.embed import supports_bf16

OWN = {"xrt", "bench"} | set(sys.stdlib_module_names)

USED = {
    "lightning.pytorch.strategies.launchers._MultiProcessingLauncher": "below; lightning<2.7",
    "torch.ops.mkldnn._reorder_linear_weight": "tests/encoder/test_reader.py",
    "torch.ops.mkldnn._linear_pointwise": "tests/encoder/test_reader.py",
}
"""Names that the modules of xrt import or reach through a module, and where they are tested."""

OF_OBJECTS = {
    "_predictors": "tests/fusion/test_fusion.py",  # of scikit-learn's boosted trees
    "_baseline_prediction": "tests/fusion/test_fusion.py",
    "_attn_implementation": "tests/encoder/test_backbone.py",  # of a transformers configuration
    "_is_avx512_bf16_supported": "below",  # of torch.cpu
    "_is_amx_tile_supported": "below",
    "_collect_rank_zero_results": "below; lightning<2.7",
    "_configure_launcher": "below; lightning<2.7",
}
"""Attributes of a library's objects, and names that are looked up, which no scan finds."""


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def private_names(path: Path) -> Iterator[str]:
    """Full names of what a file takes from libraries under a name with an underscore."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    modules = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {a.asname or a.name.split(".")[0]: a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    yield from filter(is_private, modules.values())
    for node in nodes:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in modules and is_private(".".join(parts)):
            yield ".".join([modules[node.id], *parts])


def test_all_private_names_are_known():
    names = {name for path in (ROOT / "xrt").rglob("*.py") for name in private_names(path)}
    names = {name for name in names if name.split(".")[0] not in OWN}
    assert names == set(USED)


def test_the_tests_that_are_named_are_there():
    for place in {*USED.values(), *OF_OBJECTS.values()}:
        if place.startswith("tests/"):
            assert (ROOT / place).is_file()
    assert '"lightning>=2.6.6,<2.7"' in (ROOT / "pyproject.toml").read_text()


def test_lightning_starts_processes_the_way_that_is_overridden():
    from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
    from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher as Launcher

    assert callable(Launcher._collect_rank_zero_results)
    assert callable(DDPStrategy._configure_launcher)
    assert callable(ModelParallelStrategy._configure_launcher)


def test_torch_says_whether_a_processor_has_bfloat16(monkeypatch: pytest.MonkeyPatch):
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    has = [bool(getattr(torch.cpu, name)()) for name in names]
    assert supports_bf16("cpu") == any(has)
    for name in names:
        monkeypatch.setattr(torch.cpu, name, lambda: True)
    assert supports_bf16("cpu")
    for name in names:
        monkeypatch.delattr(torch.cpu, name)
    assert not supports_bf16("cpu")
