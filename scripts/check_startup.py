"""Checks that `xrt --help` is quick: mean processor time of four starts, against a limit (s).

Processor time (user + system) rather than the clock, so that a busy machine fails nobody.
"""

import os
import subprocess
import sys
from pathlib import Path

NUM_STARTS = 4


def main() -> int:
    """Run the command beside this Python; 1 when it is too slow."""
    limit = float(sys.argv[1])
    command = [str(Path(sys.executable).parent / "xrt"), "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # byte-compiles, warms the disk
    before = os.times()
    for _ in range(NUM_STARTS):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    spent = (
        after.children_user - before.children_user + after.children_system - before.children_system
    ) / NUM_STARTS
    print(f"xrt --help: {spent:.2f} s of processor time, {limit:.2f} s allowed")
    return int(spent > limit)


if __name__ == "__main__":
    sys.exit(main())
