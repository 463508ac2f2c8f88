"""How the documentation is built: python -m sphinx -W -b html docs docs/_build/html.

Needs no network. Warnings are faults, so that a name that moved cannot stay in the reference.
"""

import xrt

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
