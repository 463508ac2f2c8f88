"""No module imports itself through others."""

import ast
from pathlib import Path

from tests import ROOT


def imports_of(path: Path, modules: set[str]) -> set[str]:
    """The modules of the package that a file imports, anywhere but for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = [ast.Pass()]
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names} & modules
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                imported |= {name if name in modules else node.module} & modules
    return imported


def circles(package: str) -> list[list[str]]:
    """The circles of imports that stay when every module that leads into none is taken away."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / package).rglob("*.py")
    }
    imports = {name: imports_of(path, set(paths)) - {name} for name, path in paths.items()}
    leaf = True
    while leaf:
        leaf = {name for name, targets in imports.items() if not targets}
        imports = {name: targets - leaf for name, targets in imports.items() if name not in leaf}
    return sorted([name, *sorted(targets)] for name, targets in imports.items())


def test_no_circle() -> None:
    assert not circles("xrt")
    assert not circles("bench")
