"""The clock's turn for batches: what a crash left open is ended, and what was cancelled stays so."""

from __future__ import annotations

from .. import admission
from ..closing import close
from ..ledger import batches
from ..operations import batches as operations
from ..state import State


def close_batches(state: State) -> None:
    """Take the turn: cancel what has come to wait in cancelled batches, and end those whose jobs have all ended."""
    with state.database.statement() as connection:
        abandoned = batches.abandoned(connection)
    for id in abandoned:
        operations.cancel_rest(state, id)
    close(state)


def mend_gates(state: State) -> None:
    """Take the turn: find out what keys allow that jobs wait for and nobody declared."""
    admission.mend(state)
