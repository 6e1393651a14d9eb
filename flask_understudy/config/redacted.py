"""An address as it may be shown."""

from __future__ import annotations

import re


def redacted(url: str) -> str:
    """Return a URL without its password, fit for logs."""
    return re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)
