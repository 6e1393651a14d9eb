"""Deleting jobs whose retention is over (requirements N01 to N06, N08)."""

from __future__ import annotations

from datetime import timedelta

from ..ledger import batches, events, gates, transitions
from ..ledger.statements import run
from ..policy import QueuePolicy
from ..state import State

BATCH = 1000
BATCHES = timedelta(days=30)
LIMITS = timedelta(days=1)
_DEFAULT = QueuePolicy()

#: What else grows with use, and how long it is kept.
_FORGET = (
    ("DELETE FROM understudy_idempotency_keys WHERE at < <after::age_ms>", timedelta(hours=24)),
    ("DELETE FROM understudy_windows WHERE until < <after::age_ms>", timedelta(0)),
    ("DELETE FROM understudy_bulks WHERE finished_at < <after::age_ms>", timedelta(days=30)),
    ("DELETE FROM understudy_schedule_fires WHERE at < <after::age_ms> AND outcome <> 'queued'", timedelta(days=14)),
    ("DELETE FROM understudy_schedules WHERE retired_at < <after::age_ms>", timedelta(days=30)),
    ("DELETE FROM understudy_audit WHERE at < <after::age_ms>", timedelta(days=366)),
)


def prune(state: State) -> int:
    """Delete terminal jobs by age, per queue and state, and completed ones beyond `UNDERSTUDY_MAX_HISTORY`.

    Returns:
        How many jobs were deleted.
    """
    named = state.config.queues
    removed = 0
    for queue, policy in named.items():
        removed += _older(state, [queue], ["completed"], policy.keep_completed)
        removed += _older(state, [queue], ["failed", "cancelled"], policy.keep_failed)
    removed += _older(state, list(named), ["completed"], _DEFAULT.keep_completed, others=True)
    removed += _older(state, list(named), ["failed", "cancelled"], _DEFAULT.keep_failed, others=True)
    if state.config.max_history:
        for queue in {*state.broker.get_declared_queues(), *named}:
            removed += _beyond(state, queue, state.config.max_history)
    return removed


def forget(state: State) -> None:
    """Delete what else grows with use.

    Keys of requests and of limits go after a day without use, windows of throttled sends when they are over, slots of
    schedules after two weeks, schedules a month after the code dropped them, bulks and batches a month after their end,
    events after `UNDERSTUDY_EVENT_DAYS`, lines of the audit after a year.
    """
    for statement, age in _FORGET:
        with state.database.transaction() as connection:
            run(connection, statement, age_ms=-int(age.total_seconds() * 1000))
    with state.database.transaction() as connection:
        batches.forget(connection, _ms(BATCHES))
    with state.database.transaction() as connection:
        gates.forget(connection, _ms(LIMITS))
    forget_events(state)


def forget_events(state: State) -> int:
    """Delete events that were published more than `UNDERSTUDY_EVENT_DAYS` ago; return how many."""
    age_ms, removed = _ms(timedelta(days=state.config.event_days)), 0
    while True:
        with state.database.transaction() as connection:
            n = events.forget(connection, age_ms, BATCH)
        removed += n
        if n < BATCH:
            return removed


def _ms(age: timedelta) -> int:
    return int(age.total_seconds() * 1000)


def _older(state: State, queues: list[str], states: list[str], age: timedelta, others: bool = False) -> int:
    removed = 0
    while True:
        with state.database.transaction() as connection:
            n = transitions.prune(connection, queues, states, int(age.total_seconds() * 1000), others=others, n=BATCH)
        removed += n
        if n < BATCH:
            return removed


def _beyond(state: State, queue: str, keep: int) -> int:
    removed = 0
    while True:
        with state.database.transaction() as connection:
            n = transitions.trim(connection, queue, keep, BATCH)
        removed += n
        if n < BATCH:
            return removed
