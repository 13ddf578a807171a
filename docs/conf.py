"""How the pages are built: `make docs`, in which a warning is an error."""

from importlib.metadata import version as installed
from typing import Any

project = "hepprune"
author = copyright = "hepprune developers"  # noqa: A001 (Sphinx' name)
release = installed("hepprune")
version = ".".join(release.split(".")[:2])

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]

nb_execution_mode = "force"  # the notebooks are kept without outputs
nb_execution_timeout = 600
nb_execution_raise_on_error = True
html_theme = "furo"
html_title = f"hepprune {version}"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a page may begin deeper than its title

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
default_role = "code"  # `name` in a docstring is code
copybutton_exclude = ".linenos, .gp, .go"


def setup(app: Any) -> None:
    """Keep stars of docstrings, as in (n_jets, *shape), from being emphasis."""
    app.connect("autodoc-process-docstring", _plain)


def _plain(*event: Any) -> None:
    lines: list[str] = event[-1]
    lines[:] = [line.replace("*", r"\*") for line in lines]
