"""Checks that the Markdown files tell the truth where a machine can see it.

Every relative link leads to a file, and every preset of conf/experiment is named in README.md.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def broken_links(document: Path) -> list[str]:
    """Relative links of a Markdown file that lead nowhere."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target for target in LINK.findall(text) if "://" not in target and ":" not in target]
    name = document.relative_to(ROOT)
    return [f"{name}: {t}: no such file" for t in targets if not (document.parent / t).exists()]


def unnamed_presets() -> list[str]:
    """Presets that a reader of README.md would never hear of."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    presets = sorted((ROOT / "conf" / "experiment").glob("*.yaml"))
    return [
        f"README.md: experiment={p.stem} is not named; say what it is for"
        for p in presets
        if not re.search(rf"\b{re.escape(p.stem)}\b", readme)
    ]


def main() -> int:
    """Print every fault; 1 when there is one."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docker").glob("*.md"))]
    faults = [
        fault for document in documents for fault in broken_links(document)
    ] + unnamed_presets()
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
