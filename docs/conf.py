"""Configuration of the documentation: `make docs` builds it, every example executed, every warning an error."""

import hashlib
import os
import sys
from pathlib import Path

from jupyter_cache import get_cache

import smallinit

HERE = Path(__file__).parent
ROOMS = [
    HERE.parent.glob("*.py"),
    *((HERE.parent / layer).rglob("*.*") for layer in ("theory", "sim", "compare")),
]
SOURCES = b"".join(path.read_bytes() for room in ROOMS for path in sorted(room) if path.suffix != ".pyc")
sys.path.insert(0, str(HERE))  # `_pages` and the other extensions

# Kernels are to speak of errors only, and to leave no history in the user's home.
kernels = HERE / "_build" / "ipython" / "profile_default"
kernels.mkdir(parents=True, exist_ok=True)
(kernels / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\n")
os.environ["IPYTHONDIR"] = str(kernels.parent)

project = "smallinit"
author = "The smallinit authors"
project_copyright = "The smallinit authors"
version = release = smallinit.__version__
extensions = [
    *("_pages", "_gallery", "_reference", "_links", "_numbers"),
    *("myst_nb", "sphinx_design", "sphinx_copybutton"),
    *("sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode", "numpydoc"),
]
exclude_patterns = ["_build", "jupyter_execute", "results"]
html_math_renderer = "mathml"  # drawn by the browser: no scripts, no fonts, nothing from outside

# Pages are plain Markdown; `_pages` turns their python fences into cells, each page run in one kernel.
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
myst_update_mathjax = False
nb_execution_mode = "cache"
# Outputs belong to the sources of the package as much as to the cells.
nb_execution_cache_path = str(HERE / "_build" / "executed" / hashlib.sha256(SOURCES).hexdigest()[:16])
get_cache(
    nb_execution_cache_path
).list_cache_records()  # one process makes its tables, before many read pages
nb_execution_in_temp = True
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_ipywidgets_js = {}  # nothing is loaded from outside

autosummary_generate = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
default_role = "autolink"
smartquotes = False  # a prime in a formula is no apostrophe
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = "smallinit"
html_static_path = ["_static"]
html_css_files = ["site.css"]
copybutton_exclude = ".linenos, .gp, .go"  # prompts and what a command prints stay behind
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"**": ["all-pages.html"], "index": []}
templates_path = ["_templates"]
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_center": [],
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "friendly",
    "pygments_dark_style": "github-dark-high-contrast",
}
linkcheck_timeout = 20
