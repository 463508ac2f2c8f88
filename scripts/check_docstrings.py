"""Checks docstrings with pydoclint: what a docstring says of arguments and results must be true.

It may be silent about some: a name and a type often say enough, and pydoclint cannot be told so.
"""

import re
import subprocess
import sys
from pathlib import Path

SILENCE = re.compile(
    r"DOC(101|201|402|404|405)\b"
)  # an argument, a result or what is yielded is not described
STALE = "in the docstring but not in the function signature"


def main() -> int:
    """Print what is wrong, a line each; 1 when there is something."""
    command = [str(Path(sys.executable).parent / "pydoclint"), "--quiet", "xrt"]
    done = subprocess.run(command, capture_output=True, text=True)
    faults, file = [], ""
    for line in (done.stdout + done.stderr).splitlines():
        if "DOC" not in line:
            file = line.strip() or file
        elif not SILENCE.search(line) and ("DOC103" not in line or STALE in line):
            faults.append(f"{file}:{line.strip()}")
    print("\n".join(faults))
    return 1 if faults or done.returncode not in (0, 1) else 0


if __name__ == "__main__":
    sys.exit(main())
