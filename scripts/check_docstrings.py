"""Checks docstrings: what they say of arguments and results is true, and public names say it.

pydoclint finds sections that do not fit the signature. Every public function and method of the
package has to have the sections: Args where it takes arguments, Returns (or Yields) where it gives
something, Raises where it raises.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SILENCE = re.compile(
    r"DOC(101|201|402|404|405)\b"
)  # an argument, a result or what is yielded is not described
STALE = "in the docstring but not in the function signature"


def main() -> int:
    """Print what is wrong, a line each; 1 when there is something."""
    faults = false_sections()
    for file in sorted((ROOT / "xrt").rglob("*.py")):
        faults += lacks(file)
    print("\n".join(faults))
    return 1 if faults else 0


def false_sections() -> list[str]:
    """What pydoclint finds that is not true."""
    command = [str(Path(sys.executable).parent / "pydoclint"), "--quiet", "xrt"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    faults, file = [], ""
    for line in (done.stdout + done.stderr).splitlines():
        if "DOC" not in line:
            file = line.strip() or file
        elif not SILENCE.search(line) and ("DOC103" not in line or STALE in line):
            faults.append(f"{file}:{line.strip()}")
    if not faults and done.returncode not in (0, 1):
        faults.append(f"pydoclint ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return faults


def lacks(file: Path) -> Iterator[str]:
    """The public functions and methods of a file that lack a section, a line each."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for name, function in _public_functions(tree.body, ""):
        missing = [section for section in _needed(function) if not _has(function, section)]
        if missing:
            where = file.relative_to(ROOT)
            yield f"{where}:{function.lineno}: {name}: no {', no '.join(missing)}"


def _public_functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node


def _needed(function: ast.FunctionDef) -> Iterator[str]:
    decorators = {ast.unparse(decorator) for decorator in function.decorator_list}
    if decorators & {"overload", "override"} or any(d.endswith(".setter") for d in decorators):
        return
    is_property = bool(decorators & {"property", "cached_property", "functools.cached_property"})
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    if [each for each in arguments if each.arg not in ("self", "cls")]:
        yield "Args"
    gives = ast.unparse(function.returns) if function.returns is not None else "None"
    if gives not in ("None", "NoReturn", "Never") and not is_property:
        yield "Returns"
    if any(isinstance(node, ast.Raise) and node.exc is not None for node in _own(function)):
        yield "Raises"


def _own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions in it."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            pending += ast.iter_child_nodes(node)


def _has(function: ast.FunctionDef, section: str) -> bool:
    """Whether the docstring has the section, or says the same in a sentence (Raises X ...)."""
    text = ast.get_docstring(function) or ""
    if section == "Raises":
        return "Raises" in text or "raises" in text
    names = ("Returns", "Yields") if section == "Returns" else (section,)
    return any(re.search(rf"^{name}:$", text, re.MULTILINE) for name in names)


if __name__ == "__main__":
    sys.exit(main())
