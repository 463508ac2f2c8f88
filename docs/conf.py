"""How the documentation is built: python -m sphinx -W -b html docs docs/_build/html.

Needs no network. Warnings are faults, so that a name that moved cannot stay in the reference.
Records of benchmarks and the notes about containers lie elsewhere in the repository, where links
from these pages find them; they are copied here to become pages of their own.
"""

import re
import shutil
from pathlib import Path

import xrt

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RECORDS = HERE / "records"
CONTAINERS = HERE / "containers.md"

project = "xrt"
author = "The xrt authors"
release = version = xrt.__version__
copyright = "The xrt authors, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"xrt {release}"
html_static_path = ["_static"]
html_copy_source = False
html_show_sphinx = False


def _copy_pages() -> None:
    """Copy what becomes a page: records anew, the notes about containers."""
    shutil.rmtree(RECORDS, ignore_errors=True)
    RECORDS.mkdir()
    for record in sorted((ROOT / "bench" / "records").glob("*")):
        text = record.read_text(encoding="utf-8")
        if record.suffix == ".md":
            text = f"---\norphan: true\n---\n\n{text}"
        (RECORDS / record.name).write_text(text, encoding="utf-8")
    containers = (ROOT / "docker" / "README.md").read_text(encoding="utf-8")
    containers = re.sub(r"\]\((?!\.\./|http)", "](../docker/", containers)
    CONTAINERS.write_text(f"---\norphan: true\n---\n\n{containers}", encoding="utf-8")


def _link_copies(app: object, docname: str, source: list[str]) -> None:
    """Lead links to the copies where there are some."""
    text = source[0].replace("](../bench/records/", "](records/")
    source[0] = text.replace("](../docker/README.md", "](containers.md")


def setup(app: object) -> None:
    """Called by Sphinx."""
    _copy_pages()
    app.connect("source-read", _link_copies)  # type: ignore[attr-defined]
