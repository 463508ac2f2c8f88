"""One module a peer. Each runs in an interpreter that has the peer, which need not have xrt.

Interpreters are given as `--peer-python PYTHON`, one for all peers, or `NAME=PYTHON` for a single
one; without it the interpreter that runs the suite is taken.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Environment(NamedTuple):
    """What an interpreter must have to run a peer."""

    module: str
    """A module that is looked for."""
    packages: str
    """What pip installs."""


ENVIRONMENTS = {
    "libpecos": Environment("pecos", '"numpy<2" "libpecos==1.2.8"'),
    "omikuji": Environment("omikuji", '"numpy<2" "omikuji==0.5.2"'),
    "napkinxc": Environment("napkinxc", '"napkinxc==0.7.2"'),
    "pecos_transformer": Environment(
        "pecos", '"libpecos==1.2.8" "transformers<4.50" "numpy<2" "torch==2.13.0"'
    ),
    "neighbour_vote": Environment("sklearn", '"scikit-learn>=1.6" scipy'),
    "linear_svc": Environment("sklearn", '"scikit-learn>=1.6" scipy'),
    "cleanlab": Environment("cleanlab", "cleanlab scikit-learn"),
}


def add_interpreters(parser: argparse.ArgumentParser) -> None:
    """Add `--peer-python` to a suite's arguments."""
    parser.add_argument(
        "--peer-python", nargs="+", default=[], metavar="[NAME=]PYTHON",
        help="interpreter that has the peers, or the one called NAME (default: this one)",
    )  # fmt: skip


def interpreters(words: Sequence[str], peers: Iterable[str]) -> dict[str, str]:
    """The interpreter of each peer.

    Args:
        words: Values of `--peer-python`.
        peers: Names of the peers to run.

    Returns:
        Interpreter by peer.

    Raises:
        SystemExit: An interpreter does not run, or lacks the peer; says what to install.
    """
    by_name = dict(word.split("=", 1) for word in words if "=" in word)
    common = next((word for word in words if "=" not in word), sys.executable)
    python_of = {peer: by_name.get(peer, common) for peer in peers}
    for peer, python in python_of.items():
        require_peer(peer, python)
    return python_of


def require_peer(peer: str, python: str) -> None:
    """Leave with what to install where the interpreter does not run or lacks the peer."""
    module, packages = ENVIRONMENTS[peer]
    probe = f"import sys, importlib.util as it; sys.exit(it.find_spec({module!r}) is None)"
    try:
        status = subprocess.run([python, "-c", probe], capture_output=True).returncode
    except OSError as err:
        status, reason = 1, f"{err.strerror}"
    else:
        reason = f"no module {module} there"
    if status != 0:
        raise SystemExit(
            f"{peer}: {python}: {reason}. Make an environment, and name its interpreter:\n"
            f"    python -m venv PEERS\n    PEERS/bin/pip install {packages}\n"
            "    python -m bench ... --peer-python PEERS/bin/python"
        )
