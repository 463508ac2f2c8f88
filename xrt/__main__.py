"""`python -m xrt` is the same as `xrt`."""

import sys

from xrt.cli import main

if __name__ == "__main__":
    sys.exit(main())
