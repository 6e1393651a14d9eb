"""The HTTP doors of the service: each module in this folder has a blueprint named ``bp``."""

from __future__ import annotations

import importlib
import pkgutil

from flask import Flask


def init_app(app: Flask) -> None:
    """Register the blueprint of every module here."""
    for module in pkgutil.iter_modules(__path__):
        app.register_blueprint(importlib.import_module(f"{__name__}.{module.name}").bp)
