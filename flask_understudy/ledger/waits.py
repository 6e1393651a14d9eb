"""Jobs that wait for an event."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from .events import NewEvent
from .transitions import Due


def meet(connection: Connection, events: Sequence[NewEvent]) -> list[Due]:
    """Wake the jobs that wait for one of these events, in the transaction that stores the events.

    Returns:
        The jobs that wait to be claimed from now on, to be announced once that transaction is committed. There is
        nothing yet that waits for events, so there are none.
    """
    return []
