"""`python -m bench SUITE ...` runs a suite; without one, lists them."""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import suites

RENDER = "--render"


def main(arguments: Sequence[str]) -> int:
    """Run the suite that the first argument names.

    Args:
        arguments: The suite and its own arguments; or the suite, `--render` and a JSONL file, to
            print the record of its lines.

    Returns:
        The exit status of the suite: 0, 1 where a run failed, 2 for a wrong argument.
    """
    names = suite_names()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            f"usage: python -m bench SUITE ...\n       python -m bench SUITE {RENDER} LINES.jsonl"
        )
        print("\n" + "\n".join(f"  {name:22} {first_line(name)}" for name in names))
        return 0
    name, *others = arguments
    if name not in names:
        print(f"no suite {name!r}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    suite = importlib.import_module(f"bench.suites.{name}")
    sys.argv[0] = f"python -m bench {name}"  # what argparse calls the program
    if others[:1] == [RENDER]:
        return render(suite, others[1:])
    return int(suite.main(others))


def render(suite: object, files: Sequence[str]) -> int:
    """Print the record of a suite's lines. Returns the exit status."""
    make, make_of_file = getattr(suite, "render", None), getattr(suite, "render_file", None)
    if (make is None and make_of_file is None) or len(files) != 1:
        makes = make is not None or make_of_file is not None
        reason = f"{RENDER} takes one JSONL file" if makes else "this suite makes no record"
        print(reason, file=sys.stderr)
        return 2
    if make_of_file is not None:  # it reads more than the lines
        print(make_of_file(Path(files[0])), end="")
        return 0
    from bench.record import read_lines

    print(make(read_lines(Path(files[0]))), end="")
    return 0


def suite_names() -> list[str]:
    """Names of the suites, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(suites.__path__))


def first_line(name: str) -> str:
    """What a suite does, in a line; its module is not imported."""
    spec = importlib.util.find_spec(f"bench.suites.{name}")
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as file:
        return file.readline().strip().strip('"')


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
