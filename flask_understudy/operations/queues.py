"""What can be done to a queue."""

from __future__ import annotations

from ..errors import InvalidJob
from ..ledger import TERMINAL, transitions
from ..ledger.statements import run
from ..state import State
from .transaction import transaction

BATCH = 1000
MAX_GRACE_MS = 3_660 * 86_400_000

PAUSE = """
INSERT INTO understudy_queues (name, paused_at) VALUES (:name, <now>)
ON CONFLICT (name) DO UPDATE SET paused_at = coalesce(understudy_queues.paused_at, excluded.paused_at)"""

RESUME = "UPDATE understudy_queues SET paused_at = NULL WHERE name = :name"


def pause(state: State, name: str) -> None:
    """Claim nothing from a queue any more; what runs goes on. Effective with the next claim, everywhere.

    Raises:
        InvalidJob: No queue has the name.
    """
    _known(state, name)
    with transaction(state) as connection:
        run(connection, PAUSE, name=name)


def resume(state: State, name: str) -> None:
    """Claim from a paused queue again, within a second.

    Raises:
        InvalidJob: No queue has the name.
    """
    _known(state, name)
    with transaction(state) as connection:
        run(connection, RESUME, name=name)


def clean(state: State, name: str, status: str, grace_ms: int) -> int:
    """Delete a queue's completed, failed or cancelled jobs that ended before the grace (T12, requirement N05).

    Args:
        state: The application's side of the library.
        name: The queue.
        status: `completed`, `failed` or `cancelled`.
        grace_ms: ms since the end for which a job is kept all the same; 0 or more.

    Returns:
        How many jobs were deleted.

    Raises:
        InvalidJob: The queue is unknown, or `status` or `grace_ms` cannot be.
    """
    _known(state, name)
    if status not in TERMINAL:
        raise InvalidJob(f"status is {status!r}; it takes one of {', '.join(TERMINAL)}: others are never deleted.")
    if isinstance(grace_ms, bool) or not isinstance(grace_ms, int) or not 0 <= grace_ms <= MAX_GRACE_MS:
        raise InvalidJob(f"grace is {grace_ms!r}; it takes whole milliseconds from 0 to {MAX_GRACE_MS}.")
    removed = 0
    while True:
        with transaction(state) as connection:
            n = transitions.prune(connection, [name], [status], grace_ms, n=BATCH)
        removed += n
        if n < BATCH:
            return removed


def _known(state: State, name: str) -> None:
    queues = state.broker.get_declared_queues() | set(state.config.queues)
    if name not in queues:
        raise InvalidJob(f"No queue is named {name!r}. There are: {', '.join(sorted(queues))}.")
