"""`xrt sweep` whose trials are stand-ins; run by test_sweep in a process that it kills.

python sweep_run.py sweep ...
"""

import sys
from pathlib import Path

from xrt.cli import main, trials

STAND_IN = (sys.executable, str(Path(__file__).with_name("trial_stand_in.py")))

if __name__ == "__main__":
    trials.TRAIN = STAND_IN
    sys.exit(main(sys.argv[1:]))
