"""Processes that a matcher's test spawns import `matcher_run` by its name alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
