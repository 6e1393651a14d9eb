"""Waiting for the end of a job.

The ledger is asked a few times a second: the job may run in any process of any machine.
"""

from __future__ import annotations

import time
from collections.abc import Hashable

from ..ledger import TERMINAL, Job, queries
from ..ledger.scope import EVERYTHING, Scope
from ..state import State

LOOK_SECONDS = 0.25


def wait_for_end(state: State, job_id: str, seconds: float, scope: Scope = EVERYTHING) -> Job | None:
    """Return a job once it has ended, or as it is after so many seconds; None when there is none."""
    deadline = time.monotonic() + seconds
    while True:
        job = queries.find(state.database, job_id, scope=scope)
        left = deadline - time.monotonic()
        if job is None or job.state in TERMINAL or left <= 0:
            return job
        time.sleep(min(LOOK_SECONDS, left))


def wait_in_turn(state: State, caller: Hashable, job_id: str, seconds: float, scope: Scope = EVERYTHING) -> Job | None:
    """Return a job once it has ended, or as it is after so many seconds; at once when too many requests wait.

    Args:
        state: The application's side of the library.
        caller: Tells callers apart, each of whom may take some of the places only.
        job_id: The job.
        seconds: s to wait at the most.
        scope: Whose jobs may be seen.
    """
    job = queries.find(state.database, job_id, scope=scope)
    if seconds <= 0 or job is None or job.state in TERMINAL:
        return job
    with state.waiting_room.place(caller) as is_free:
        return wait_for_end(state, job_id, seconds, scope) if is_free else job
