"""Letting jobs with a key pass their gates: after a send, after an end, and by the clock, which makes good the rest."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from .errors import TransportError
from .ledger import batches, gates
from .ledger.gates import MOST_KEYS, Key
from .ledger.limit import Numbers
from .ledger.transitions import Due, NewJob
from .limit import BATCH, rate_of
from .state import State
from .submission import ONE

logger = logging.getLogger("flask_understudy")

MOST_KNOWN = 10_000


def admit(state: State, keys: Iterable[Key] | None = None) -> list[Due]:
    """Let the first jobs of the keys pass as far as there is room, and announce them; return them.

    Args:
        state: The application's side of the library.
        keys: Tenants and keys; None = all that jobs wait for.
    """
    with state.database.claims() as connection:
        found = gates.promising(connection, keys)
        admitted: list[Due] = []
        for first in range(0, len(found), MOST_KEYS):
            admitted += gates.admit(connection, found[first : first + MOST_KEYS])
    if admitted:
        try:
            state.transport.announce(admitted)
        except TransportError as problem:
            logger.debug("Not announced: %s", problem)
    return admitted


def admit_sent(state: State, jobs: Sequence[NewJob]) -> list[Due]:
    """Say what the keys of jobs that were just committed allow, where that is news, and let pass what has room.

    Nothing is raised: the jobs are there, and the clock makes good what could not be done.
    """
    numbers = {job.key: job.numbers for job in jobs if job.key is not None and job.numbers is not None}
    try:
        for key, allowed in numbers.items():
            _declare(state, key, allowed)
        return admit(state, {job.key for job in jobs if job.key is not None})
    except SQLAlchemyError as problem:
        logger.warning("Jobs wait for the clock to be admitted: %s", type(problem).__name__)
        return []


def admit_ended(state: State, keys: set[Key]) -> None:
    """Let others pass in place of jobs that have ended; nothing is raised."""
    try:
        admit(state, keys)
    except SQLAlchemyError as problem:
        logger.warning("Jobs wait for the clock to be admitted: %s", type(problem).__name__)


def mend(state: State) -> int:
    """Say what keys allow that jobs wait for and nobody declared, as their sender died; return how many."""
    with state.database.statement() as connection:
        found = gates.unknown(connection)
    for tenant, key, actor in found:
        with state.database.claims() as connection:
            gates.declare(connection, (tenant, key), _numbers(state, connection, key, actor))
    return len(found)


def _numbers(state: State, connection: Connection, key: str, actor: str) -> Numbers:
    if key.startswith(BATCH):
        return Numbers(batches.concurrency(connection, key.removeprefix(BATCH)))
    declared = state.broker.actors.get(actor)
    limit: Any = declared.options.get("limit") if declared is not None else None
    return Numbers(limit.concurrency, *rate_of(limit.rate)) if limit is not None else ONE


def withdraw_paused(state: State) -> None:
    """Put jobs of paused queues back behind their gates, so that they keep nobody from starting."""
    with state.database.transaction() as connection:
        gates.withdraw_paused(connection)


def _declare(state: State, key: Key, numbers: Numbers) -> None:
    """Write what a key allows, once for each process and change."""
    if state.declared.get(key) == numbers:
        return
    with state.database.claims() as connection:
        gates.declare(connection, key, numbers)
    if len(state.declared) >= MOST_KNOWN:
        state.declared.clear()
    state.declared[key] = numbers


__all__ = ["admit", "admit_ended", "admit_sent", "mend", "withdraw_paused"]
