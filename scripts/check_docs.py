"""Checks that the documents tell the truth where a machine can see it.

- every relative link leads to a file;
- every preset and every choice of a group that conf/ has is named in docs/presets.md, and every
  `group=choice` that a document names is there;
- every setting that a document names (`matcher.patience`) is a setting;
- every record of a benchmark is listed in docs/results.md;
- README.md has at most 150 lines and 1,300 words.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
CODE = re.compile(r"`([^`\n]+)`")
CHOICE = re.compile(r"(?<![\w.])([a-z_]+)=([a-z_0-9]+)(?![\w./-])")
SETTING = re.compile(r"^([a-z_]+(?:\.[a-z_]+)+)(?:=.*)?$")
MOST_LINES, MOST_WORDS = 150, 1_300
NO_SETTINGS = (".md", ".jsonl", ".json", ".csv", ".tsv", ".html", ".log", ".toml", ".yaml", ".py",
               ".txt", ".npz", ".gz", ".parquet", ".pq", ".safetensors")  # fmt: skip


def documents() -> list[Path]:
    """The Markdown files that users read."""
    pages = [p for p in sorted((ROOT / "docs").glob("*.md")) if p.name != "containers.md"]
    tops = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    return [*tops, *sorted((ROOT / "docker").glob("*.md")), *pages]


def conf_folders() -> list[Path]:
    """The folders that hold groups of settings: the package's and those of applications."""
    return [ROOT / "conf", *sorted((ROOT / "xrt" / "applications").glob("*/conf"))]


def groups() -> dict[str, set[str]]:
    """Choices by group."""
    found: dict[str, set[str]] = {}
    for folder in conf_folders():
        for path in folder.glob("*/*.yaml"):
            found.setdefault(path.parent.name, set()).add(path.stem)
    return found


def settings() -> set[str]:
    """Names of all settings, with their parts: `matcher`, `matcher.patience`."""
    from dataclasses import fields, is_dataclass
    from types import UnionType
    from typing import Any, Union, get_args, get_origin, get_type_hints

    sys.path.insert(0, str(ROOT))
    from xrt.applications.attributes.data.schema import AttributeSchema
    from xrt.pipeline.params import PipelineParams

    def walk(kind: Any, prefix: str, into: set[str]) -> set[str]:
        hints = get_type_hints(kind)
        for field in fields(kind):
            name, hint = prefix + field.name, hints[field.name]
            into.add(name)
            if get_origin(hint) in (Union, UnionType):
                hint = next(h for h in get_args(hint) if h is not type(None))
            if is_dataclass(hint):
                walk(hint, name + ".", into)
        return into

    names = walk(PipelineParams, "", set())
    return walk(AttributeSchema, "schema.", names | {"schema"})


def broken_links(document: Path) -> list[str]:
    """Relative links of a Markdown file that lead nowhere."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target for target in LINK.findall(text) if "://" not in target and ":" not in target]
    name = document.relative_to(ROOT)
    return [f"{name}: {t}: no such file" for t in targets if not (document.parent / t).exists()]


def unnamed_choices() -> list[str]:
    """Presets and choices that a reader of docs/presets.md would never hear of."""
    text = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    silent = ("hydra", "paths")
    return [
        f"docs/presets.md: {group}={choice} is not named; say what it is for"
        for group, choices in sorted(groups().items())
        for choice in sorted(choices)
        if group not in silent and not re.search(rf"\b{re.escape(choice)}\b", text)
    ]


def unknown_names(document: Path, known: dict[str, set[str]], names: set[str]) -> list[str]:
    """Choices and settings that a document names and that are none."""
    text = document.read_text(encoding="utf-8")
    name, faults = document.relative_to(ROOT), []
    for group, choice in CHOICE.findall(text):
        if group in known and choice not in known[group] and choice != "mine":
            faults.append(f"{name}: {group}={choice}: no such choice")
    parts = {setting.split(".")[0] for setting in names if "." in setting}
    for code in CODE.findall(text):
        for word in code.split():
            match = SETTING.match(word)
            if match is None or word.endswith(NO_SETTINGS):
                continue
            setting = match.group(1)
            if setting.split(".")[0] in parts and setting not in names:
                faults.append(f"{name}: {setting}: no such setting")
    return faults


def unlisted_records() -> list[str]:
    """Records that docs/results.md does not lead to."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    records = sorted((ROOT / "bench" / "records").glob("*.md"))
    return [
        f"docs/results.md: {r.name} is not linked; add it to the list"
        for r in records
        if r.name not in text
    ]


def readme_too_long() -> list[str]:
    """README.md says what the package is and how to begin; the rest is for docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines, words = text.count("\n"), len(text.split())
    if lines <= MOST_LINES and words <= MOST_WORDS:
        return []
    return [
        f"README.md: {lines} lines and {words} words, where {MOST_LINES} and {MOST_WORDS} are "
        "allowed; move text to docs/"
    ]


def faults() -> list[str]:
    """Everything that is wrong, one line each."""
    known, names = groups(), settings()
    found = [fault for document in documents() for fault in broken_links(document)]
    found += [
        fault
        for document in documents()
        if document.name != "CHANGELOG.md" and document.name != "changes.md"
        for fault in unknown_names(document, known, names)
    ]
    return found + unnamed_choices() + unlisted_records() + readme_too_long()


def main() -> int:
    """Print every fault; 1 when there is one."""
    found = faults()
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
