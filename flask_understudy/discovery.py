"""Finding the modules that declare actors and events, so that a new job is a new file (requirements B02, B16)."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from types import ModuleType

from .errors import ConfigError

SETTING = "UNDERSTUDY_DISCOVER"


def discover(packages: Sequence[str]) -> list[str]:
    """Import packages and all modules below them, in the order of their names.

    Args:
        packages: Names such as `app.jobs`; of modules as well.

    Returns:
        The names of all modules.

    Raises:
        ConfigError: One of them cannot be imported; names it and the reason.
    """
    return [module.__name__ for package in packages for module in _walk(package)]


def _walk(name: str) -> Iterator[ModuleType]:
    module = _import(name)
    yield module
    for found in sorted(pkgutil.iter_modules(getattr(module, "__path__", ())), key=lambda found: found.name):
        if found.name != "__main__":
            yield from _walk(f"{name}.{found.name}")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as problem:
        raise ConfigError(
            f"{SETTING}: the module {name!r} cannot be imported: {type(problem).__name__}: {problem}"
        ) from problem
