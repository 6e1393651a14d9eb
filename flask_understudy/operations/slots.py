"""One slot of a schedule: recording it once, and sending its job in the same transaction (promise G7)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import dramatiq
from dramatiq.errors import ActorNotFound
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ..context import Principal, acting_as
from ..errors import InvalidJob, InvalidSchedule
from ..ledger import Schedule
from ..ledger.schedule import FIRED, SKIPPED
from ..ledger.statements import moment, run
from ..state import State

logger = logging.getLogger("flask_understudy")

LOOKED_BACK = 100

RECORD = """
INSERT INTO understudy_schedule_fires (schedule, slot, until, job_id, outcome, reason, at)
VALUES (:schedule, <time::slot>, <time::until>, :job_id, :outcome, :reason, <now>)
ON CONFLICT DO NOTHING RETURNING outcome"""

SETTLE = """
UPDATE understudy_schedule_fires SET outcome = :outcome, job_id = :job_id, reason = :reason, at = <now>
WHERE schedule = :schedule AND slot = <time::slot> AND outcome = 'queued' RETURNING outcome"""

RUNS = f"""
SELECT 1 FROM (
    SELECT job_id FROM understudy_schedule_fires WHERE schedule = :schedule AND job_id IS NOT NULL
    ORDER BY slot DESC LIMIT {LOOKED_BACK}) AS f
JOIN understudy_jobs AS j ON j.id = f.job_id
WHERE j.state IN ('delayed', 'waiting', 'active') LIMIT 1"""  # noqa: S608 - a constant

EXISTS = "SELECT 1 FROM understudy_jobs WHERE id = :id"


def message_of(state: State, row: Schedule) -> dramatiq.Message[Any]:
    """Return the message that a schedule sends.

    Raises:
        InvalidSchedule: No actor has the name.
    """
    try:
        actor = state.broker.get_actor(row.actor)
    except ActorNotFound:
        raise InvalidSchedule(f"No actor is named {row.actor!r} in this release") from None
    options = dict(row.options)
    queue = options.pop("queue", None)
    tags = [*options.pop("tags", ()), f"schedule:{row.name}"]
    message = actor.message_with_options(args=tuple(row.args), kwargs=dict(row.kwargs), tags=tags, **options)
    return message if queue is None else message._replace(queue_name=queue)


def in_the_name_of(row: Schedule) -> Any:
    """Act as whoever a schedule belongs to, whoever asks."""
    return acting_as(Principal(subject=row.owner, tenant=row.tenant))


def runs(connection: Connection, row: Schedule) -> bool:
    """Whether a job that a schedule sent has not ended."""
    return run(connection, RUNS, schedule=row.id).first() is not None


def record(
    connection: Connection,
    row: Schedule,
    slot: datetime,
    outcome: str,
    *,
    job_id: str | None = None,
    reason: str | None = None,
    until: datetime | None = None,
) -> bool:
    """Record what became of a slot, unless that is known; return whether it was not."""
    values = {"slot": moment(slot), "until": moment(until), "job_id": job_id, "outcome": outcome, "reason": reason}
    return run(connection, RECORD, schedule=row.id, **values).first() is not None


def settle(
    connection: Connection, row: Schedule, slot: datetime, outcome: str, *, job_id: str | None = None, reason: str = ""
) -> bool:
    """Record what became of a slot that was queued; return whether it still was."""
    values = {"slot": moment(slot), "outcome": outcome, "job_id": job_id, "reason": reason or None}
    return run(connection, SETTLE, schedule=row.id, **values).first() is not None


def send(
    state: State,
    connection: Connection,
    row: Schedule,
    slot: datetime,
    *,
    outcome: str = FIRED,
    was_queued: bool = False,
) -> Callable[[], None] | None:
    """Send a schedule's job together with its slot.

    Args:
        state: The application's side of the library.
        connection: In whose transaction.
        row: The schedule, locked by that transaction.
        slot: The time it was due.
        outcome: What is recorded.
        was_queued: Whether the slot was queued before.

    Returns:
        What to call once the transaction is committed; None when the slot is past already, or its job cannot be
        sent, which is then on the row and with the slot.
    """
    keep = settle if was_queued else record
    try:
        with connection.begin_nested(), in_the_name_of(row):
            message = message_of(state, row)
            if not keep(connection, row, slot, outcome, job_id=message.message_id):
                return None
            committed = state.broker.enqueue_within(connection, [message])
            if run(connection, EXISTS, id=message.message_id).first() is None:
                raise InvalidJob("a live job holds its deduplication key")
    except SQLAlchemyError:
        raise
    except Exception as problem:  # whatever an actor's options make of it: the next slot shall come all the same
        row.last_error = str(problem) or type(problem).__name__
        logger.error("Schedule %s could not fire: %s", row.name, row.last_error)
        keep(connection, row, slot, SKIPPED, reason=row.last_error)
        return None
    row.last_error, row.last_run_at = None, slot
    return committed
