"""Doing the bulks that were asked for, a step at a time."""

from __future__ import annotations

import time

from ..operations import bulk
from ..state import State

SECONDS = 0.5


def bulks(state: State) -> int:
    """Take the turn: step through the bulks that are not done, for half a second; return how many steps.

    Every bulk gets a step before any gets its next.
    """
    deadline, steps = time.monotonic() + SECONDS, 0
    waiting = list(bulk.running(state))
    while waiting and time.monotonic() < deadline:
        waiting = [id for id in waiting if bulk.step(state, id).state == bulk.RUNNING]
        steps += 1
    return steps
