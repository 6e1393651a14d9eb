"""What a process can say of itself at no cost: which releases it runs, and how much memory it has."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_STATM = Path("/proc/self/statm")
_PACKAGES = ("flask-understudy", "dramatiq")


def memory_bytes() -> int | None:
    """Return the memory of this process that is in RAM, in bytes; None where the system does not tell (not Linux)."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def versions(release: str) -> dict[str, str]:
    """Return the releases that this process runs, by name.

    Args:
        release: The application's, as `UNDERSTUDY_RELEASE` says; empty = unknown, and left out.
    """
    found = {"application": release} if release else {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # it is run from a folder, and was never installed
            continue
    return {**found, "python": platform.python_version()}
