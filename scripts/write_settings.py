"""Writes docs/settings.md, the page of all settings, from the parameter dataclasses and conf/."""

import sys
from pathlib import Path

from xrt.cli.reference import reference, to_markdown

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"


def main() -> int:
    """Write the page anew."""
    PAGE.write_text(to_markdown(*reference([])), encoding="utf-8")
    print(f"{PAGE}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
