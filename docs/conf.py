"""How Sphinx builds the site: `make docs`."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpydoc.xref
from sphinx.application import Sphinx

import probmix

HERE = Path(__file__).parent
# modules beside this file; sphinx-gallery finds the order of its pages there, too
sys.path.insert(0, str(HERE))
docstrings, pictures, public_names, references = map(
    import_module, ("docstrings", "pictures", "public_names", "references")
)

project = "probmix"
author = "The probmix developers"
project_copyright = "The probmix developers"
version = release = probmix.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx_design",
    "sphinx_copybutton",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_templates", "**/GALLERY_HEADER.rst", "gallery/**.ipynb", "gallery/**.py"]
templates_path = ["_templates"]

# References. Every explicit one must resolve. A name in single backticks is a link where a page of the API has it, and
# code where none has: docstrings write parameters, attributes and names of other libraries like this too.
nitpicky = True
nitpick_ignore_regex = [("py:obj", ".*"), ("py:class", r"collections\.abc\..*")]
default_role = "py:obj"

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "linkify"]
myst_linkify_fuzzy_links = False
myst_heading_anchors = 3

# Docstrings
autosummary_generate = sorted(page.relative_to(HERE).as_posix() for page in HERE.glob("api/*.rst"))
autosummary_context = {"own_members": public_names.members_by_class()}
autodoc_typehints = "none"  # docstrings have the types in words
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # the templates list them
numpydoc_xref_param_type = True
numpydoc_xref_aliases = public_names.pages_by_short_name()
numpydoc_xref_ignore = "all"
numpydoc.xref.DEFAULT_LINKS.clear()  # they lead to the sites of Python and NumPy, whose inventories are not here

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery_order.ByUse",
    "abort_on_example_error": True,
    "parallel": True,  # as many scripts at once as Sphinx has jobs
    "reset_modules": ("matplotlib",),
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "plot_gallery": "True",
}

# Pages
html_theme = "pydata_sphinx_theme"
html_title = "probmix"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "probmix"},
    "header_links_before_dropdown": 7,
    "collapse_navigation": True,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "contributing": [], "changelog": []}


def setup(app: Sphinx) -> dict[str, Any]:
    remove_pages_of_names_that_are_gone()
    draw_pictures()
    app.connect("autodoc-process-docstring", docstrings.mend, priority=400)  # numpydoc has 500
    app.connect("missing-reference", references.resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def remove_pages_of_names_that_are_gone() -> None:
    """Autosummary writes a page for each name and leaves the old ones, which then are in no toctree."""
    shown = set(public_names.shown_names().values())
    for page in HERE.glob("api/generated/*.rst"):
        if page.stem not in shown:
            page.unlink()


def draw_pictures() -> None:
    """Those of the guide's pages, anew from the library."""
    made = HERE / "_static" / "made"
    made.mkdir(parents=True, exist_ok=True)
    pictures.draw_all(made)
