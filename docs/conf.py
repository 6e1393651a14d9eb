"""How `make docs` builds these pages."""

import configparser
from pathlib import Path

_metadata = configparser.ConfigParser(interpolation=None)
_metadata.read(Path(__file__).parents[1] / "setup.cfg")

project = "Flask-Understudy"
author = _metadata["metadata"]["author"]
copyright = author

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sphinx = False
# Pages are read offline as well: nothing is fetched from elsewhere.
html_theme_options = {"navigation_with_keys": True}
