"""The live feed of counts, for a page that shows all queues: it says what changed, never what jobs carry."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator

from flask import Response

from ..contrib.api import Answer
from ..ledger.scope import Scope
from ..operations import queues
from ..state import State
from .callers import caller, state
from .doors import door
from .following import PING_SECONDS, stream

TAG = "Queues"

LOOK_SECONDS = 1.0


@door(
    "/stream",
    scope="read",
    tag=TAG,
    answers={200: Answer(media_type="text/event-stream", description="Events: counts.")},
)
def stream_counts() -> Response:
    """Stream the counts of all queues, as server-sent events, whenever they change; for 25 s, then reconnect."""
    who, here = caller(), state()
    events = functools.partial(_counts, here, who.scope)
    response = Response(stream(here, who, events), content_type="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _counts(state: State, scope: Scope, seconds: float) -> Iterator[str]:
    deadline, pinged, shown = time.monotonic() + seconds, time.monotonic(), ""
    while True:
        counts = json.dumps(queues.stats(state, scope))
        if counts != shown:
            shown, pinged = counts, time.monotonic()
            yield f"event: counts\ndata: {counts}\n\n"
        elif time.monotonic() - pinged > PING_SECONDS:
            pinged = time.monotonic()
            yield ": still here\n\n"
        if time.monotonic() >= deadline:
            return
        time.sleep(LOOK_SECONDS)
