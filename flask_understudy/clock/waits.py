"""Waking jobs whose events were published while they were going to sleep."""

from __future__ import annotations

import logging

from ..errors import TransportError
from ..ledger import waits as ledger_waits
from ..state import State

logger = logging.getLogger("flask_understudy")


def waits(state: State) -> int:
    """Take the turn: see `ledger.waits.catch_up`; return how many jobs go on."""
    with state.database.transaction() as connection:
        due = ledger_waits.catch_up(connection, fair=state.config.fair)
    if due:
        try:
            state.transport.announce(due)
        except TransportError as problem:
            logger.debug("Not announced: %s", problem)
    return len(due)
