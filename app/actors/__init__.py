"""What the workers run: ``dramatiq app.actors``.

A module in this folder is found by itself (requirement B02). Importing it declares actors and
builds no application.
"""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
