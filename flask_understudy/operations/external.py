"""Jobs that somebody else does: their end is reported from outside (requirement I05).

Such a job waits in a queue that no worker of ours consumes. Who reports its end claims it first, as any worker would,
so that a job is ended once whoever does it.
"""

from __future__ import annotations

from typing import Any

from ..admission import admit_ended
from ..closing import close_soon
from ..encoding import encode, printable
from ..errors import JobConflict, JobNotFound
from ..ledger import WAITING, transitions
from ..ledger.queries import find
from ..ledger.transitions import Ending
from ..state import State

WORKER = "external"
MOST_ERROR = 2_000


def finish(state: State, id: str, attempt: int, *, error: str | None = None, result: Any = None) -> str:
    """Record that somebody else did a job, or failed to.

    Args:
        state: The application's side of the library.
        id: The job.
        attempt: Number of the attempt that ended, 1-based: a repeated report of the same attempt changes nothing.
        error: Why it failed; None = it is completed.
        result: What came of it, as JSON.

    Returns:
        `recorded`, or `duplicate` when that attempt's end was recorded before.

    Raises:
        JobNotFound: There is no such job.
        JobConflict: One of our workers runs it, or it is at another attempt, or it has ended otherwise.
        InvalidJob: The result is no JSON.
    """
    encoded = None if result is None else encode(result, "The result")
    job = find(state.database, id)
    if job is None:
        raise JobNotFound(f"There is no job {id!r}.")
    outcome = "completed" if error is None else "failed"
    if job.state == outcome and job.attempt == attempt:
        return "duplicate"
    if job.state != WAITING or job.attempt + 1 != attempt:
        raise JobConflict(f"Job {id} is {job.state} after {job.attempt} attempts; attempt {attempt} cannot end now.")
    with state.database.claims() as connection:
        claimed = transitions.claim(connection, WORKER, [id])
    if not claimed:
        raise JobConflict(f"Job {id} cannot be ended now: it was taken, its queue is paused, or its key has no room.")
    fence = claimed[0].fence
    with state.database.transaction() as connection:
        if error is None:
            transitions.complete(connection, WORKER, [(id, fence, encoded)])
        else:
            text = printable(error, MOST_ERROR)
            transitions.end(
                connection, WORKER, [Ending(id, fence, "failed", "failed", error=text, reason="error", result=encoded)]
            )
    if claimed[0].key is not None:
        admit_ended(state, {claimed[0].key})
    if claimed[0].batch_id is not None:
        close_soon(state, {claimed[0].batch_id})
    return "recorded"
