"""What can be done to a queue."""

from __future__ import annotations

from ..errors import InvalidJob
from ..ledger.statements import run
from ..state import State
from .transaction import transaction

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


def _known(state: State, name: str) -> None:
    queues = state.broker.get_declared_queues() | set(state.config.queues)
    if name not in queues:
        raise InvalidJob(f"No queue is named {name!r}. There are: {', '.join(sorted(queues))}.")
