"""Ending batches: the last job's worker does it, and the clock makes good what a crash left."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import dramatiq
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from .context import Principal, acting_as
from .errors import UnderstudyError, described
from .ledger import batches
from .ledger.batches import Ended
from .state import State

logger = logging.getLogger("flask_understudy")

MOST_ERROR = 500


def close(state: State, ids: Iterable[str] | None = None) -> int:
    """End the batches all of whose jobs have ended, and send what is to follow; return how many were ended.

    Args:
        state: The application's side of the library.
        ids: The batches; None = all.
    """
    with state.database.statement() as connection:
        found = batches.over(connection, None if ids is None else sorted(ids))
    return sum(_close(state, id) for id in found)


def close_soon(state: State, ids: set[str]) -> None:
    """Likewise; nothing is raised, as the clock makes good what could not be done."""
    try:
        close(state, ids)
    except SQLAlchemyError as problem:
        logger.warning("Batches wait for the clock to be ended: %s", type(problem).__name__)


def _close(state: State, id: str) -> bool:
    with state.database.transaction() as connection:
        ended = batches.close(connection, id)
        if ended is None:
            return False
        told = [_send(state, connection, ended, message) for message in _messages(ended)]
    for tell in told:
        tell()
    return True


def _send(state: State, connection: Connection, ended: Ended, message: dramatiq.Message[Any]) -> Any:
    """Store a callback in the transaction that ends the batch; what this release does not know is noted instead."""
    try:
        with acting_as(Principal(ended.owner, ended.tenant)):
            return state.broker.enqueue_within(connection, [message])
    except UnderstudyError as problem:
        logger.error("Batch %s has ended and %s could not be sent: %s", ended.id, message.actor_name, problem)
        batches.note_error(connection, ended.id, described(problem)[:MOST_ERROR])
        return lambda: None


def _messages(ended: Ended) -> Iterator[dramatiq.Message[Any]]:
    succeeded = not ended.failed and not ended.cancelled
    for name in ("on_complete", "on_success" if succeeded else "on_failure"):
        given = ended.callbacks.get(name)
        if given is not None:
            yield dramatiq.Message(
                queue_name=given["queue"],
                actor_name=given["actor"],
                args=tuple(given["args"]),
                kwargs=given["kwargs"],
                options={**given["options"], "batch": ended.id},
            )
