"""`python -m bench SUITE ...` runs a suite; without one, lists them."""

import importlib.util
import pkgutil
import sys
from collections.abc import Sequence

from bench import suites


def main(arguments: Sequence[str]) -> int:
    """Run the suite that the first argument names.

    Args:
        arguments: The suite and its own arguments.

    Returns:
        The exit status of the suite: 0, 1 where a run failed, 2 for a wrong argument.
    """
    names = suite_names()
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m bench SUITE ...\n")
        for name in names:
            print(f"  {name:20} {first_line(name)}")
        return 0
    name = arguments[0]
    if name not in names:
        print(f"no suite {name!r}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    sys.argv = [f"python -m bench {name}", *arguments[1:]]
    suite = importlib.import_module(f"bench.suites.{name}")
    return int(suite.main() or 0)


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
