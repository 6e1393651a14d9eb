"""The live feed: it says that counts changed, and the page asks again for what it shows."""

from __future__ import annotations

from flask import Response

from ..rest.callers import require
from ..rest.stream import stream_counts
from .pages import bp


@bp.get("/live")
def live() -> Response:
    """Stream the counts of all queues whenever they change; for 25 s, then the browser comes again."""
    require("read")
    return stream_counts()
