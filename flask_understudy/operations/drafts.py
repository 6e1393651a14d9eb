"""What a schedule shall be, checked before anything is stored (requirement F07)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import dramatiq
from dramatiq.errors import ActorNotFound

from ..encoding import encode
from ..errors import InvalidSchedule
from ..ledger import Schedule
from ..ledger.schedule import ALLOW, GRACE_SECONDS, LATEST, MISSED, OVERLAP
from ..signatures import check_payload, named_payload
from ..state import State
from ..timing import trigger_of
from .queues import check as check_queue
from .slots import message_of

LONGEST_NAME = 90
MOST_GRACE_SECONDS = 7 * 86_400

#: What may be said about each send of a schedule. What belongs to one job alone, as a deduplication key does, may not.
OPTIONS = (
    "attempts",
    "correlation_id",
    "max_backoff",
    "max_retries",
    "min_backoff",
    "priority",
    "queue",
    "tags",
    "time_limit",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a schedule shall be.

    Attributes:
        name: Unique among the tenant's.
        actor: Name of the actor that is sent.
        expression: Cron, `every …` or a date.
        timezone: IANA name.
        args: Positional arguments of each job.
        kwargs: Keyword arguments of each job.
        options: Options of each send, of `OPTIONS`.
        missed: What becomes of slots that passed while no clock ran.
        grace_seconds: How late the latest slot may be fired.
        overlap: What becomes of a slot while a former job has not ended.
    """

    name: str
    actor: str
    expression: str
    timezone: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    missed: str = LATEST
    grace_seconds: int = GRACE_SECONDS
    overlap: str = ALLOW

    @property
    def values(self) -> dict[str, Any]:
        """The columns of the row, without its name."""
        return {
            "actor": self.actor,
            "expression": self.expression,
            "timezone": self.timezone,
            "args": list(self.args),
            "kwargs": dict(self.kwargs),
            "options": dict(self.options),
            "missed": self.missed,
            "grace_seconds": self.grace_seconds,
            "overlap": self.overlap,
        }


def check(state: State, draft: Draft) -> Draft:
    """Return a draft that can be a schedule, its payload named as the actor names it.

    Raises:
        InvalidSchedule: Its name, expression, zone, policies, options or payload cannot be; says what can.
        PayloadTooLarge: Its payload is larger than accepted.
    """
    check_name(draft.name)
    trigger_of(draft.expression, draft.timezone)
    check_policies(draft.missed, draft.grace_seconds, draft.overlap, draft.options)
    if not draft.args and draft.actor in state.broker.actors:
        draft = replace(draft, kwargs=named_payload(state.broker.actors[draft.actor], draft.kwargs))
    check_message(state, Schedule(name=draft.name, **draft.values))
    return draft


def check_message(state: State, row: Schedule) -> None:
    """Let a schedule pass whose job could be sent now.

    Raises:
        InvalidSchedule: No actor has the name, or it does not take the payload or the options.
    """
    encode(row.kwargs, f"The payload of schedule {row.name}")
    message = message_of(state, row)
    if not row.args:
        check_payload(state.broker.get_actor(row.actor), row.kwargs)
    if message.queue_name not in state.broker.get_declared_queues():
        check_queue(state, message.queue_name)
    state.broker.check(message)


def check_name(name: Any) -> None:
    """Let a name pass.

    Raises:
        InvalidSchedule: It is none.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or "/" in name:
        raise InvalidSchedule(
            f"A schedule's name is {str(name)[:100]!r}; it takes 1 to {LONGEST_NAME} printable characters, no slash."
        )


def check_policies(missed: Any, grace_seconds: Any, overlap: Any, options: Mapping[str, Any]) -> None:
    """Let policies and the names of options pass.

    Raises:
        InvalidSchedule: Names the value and what is valid.
    """
    if missed not in MISSED:
        raise InvalidSchedule(f"missed is {missed!r}; it takes {', '.join(MISSED)}.")
    if overlap not in OVERLAP:
        raise InvalidSchedule(f"overlap is {overlap!r}; it takes {', '.join(OVERLAP)}.")
    if (
        isinstance(grace_seconds, bool)
        or not isinstance(grace_seconds, int)
        or not 0 <= grace_seconds <= MOST_GRACE_SECONDS
    ):
        raise InvalidSchedule(f"grace is {grace_seconds!r} s; it takes 0 to {MOST_GRACE_SECONDS} (a week).")
    if not isinstance(options, Mapping):
        raise InvalidSchedule(f"options are {options!r}; they take a mapping of {', '.join(OPTIONS)}.")
    if not isinstance(options.get("tags", ()), list | tuple):
        raise InvalidSchedule(f"tags is {options['tags']!r}; it takes a list of texts.")
    if not isinstance(options.get("queue", ""), str):
        raise InvalidSchedule(f"queue is {options['queue']!r}; it takes the name of a queue.")
    for option in options:
        if option not in OPTIONS:
            near = difflib.get_close_matches(str(option), OPTIONS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(OPTIONS)}."
            raise InvalidSchedule(f"{option!r} is no option of a schedule. {hint}")


def seconds_of(grace: timedelta | int) -> int:
    """Return a grace in s."""
    return int(grace.total_seconds()) if isinstance(grace, timedelta) else grace


def actor_named(state: State, actor: dramatiq.Actor[Any, Any] | str) -> str:
    """Return the name of an actor, as it declares it.

    Raises:
        InvalidSchedule: There is none.
    """
    name = actor if isinstance(actor, str) else getattr(actor, "actor_name", "")
    try:
        return str(state.broker.get_actor(str(name)).actor_name)
    except (ActorNotFound, TypeError):
        known = ", ".join(sorted(state.broker.actors)) or "none"
        raise InvalidSchedule(f"No actor is named {str(name)[:80]!r}. Declared are: {known}.") from None


__all__ = ["OPTIONS", "Draft", "actor_named", "check", "check_message", "check_name", "check_policies", "seconds_of"]
