"""What a bulk can do, to jobs of which states, and how it does it to those of one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection

from ..errors import InvalidJob
from ..ledger import CANCELLED, DELAYED, FAILED, LIVE, STATES, TERMINAL, WAITING, Job, transitions
from ..ledger.filter import Filter
from ..state import State
from . import jobs, queues
from .jobs import announce
from .reopening import reopen

Changes = Mapping[str, Any]
NOTHING: Changes = MappingProxyType({})

#: What a bulk can do, and to jobs of which states.
ACTIONS = {
    "retry": (FAILED, CANCELLED),
    "replay": STATES,
    "run_now": (DELAYED,),
    "change_queue": (WAITING, DELAYED),
    "change_priority": (WAITING, DELAYED),
    "cancel": LIVE,
    "delete": (*TERMINAL, DELAYED, WAITING),
}

#: What those change that change something.
CHANGED = {"change_queue": "queue", "change_priority": "priority"}


def narrowed(action: str, wanted: Filter) -> Filter:
    """Return the filter without the states whose jobs an action cannot be done to, or is not meant for unasked.

    Raises:
        InvalidJob: The action is unknown, or none of the states that the filter names is left.
    """
    if action not in ACTIONS:
        raise InvalidJob(f"{action!r} is no bulk action; there are {', '.join(ACTIONS)}.")
    able = ACTIONS[action]
    if set(able) == set(STATES) or (wanted.ids and not wanted.states):
        return wanted
    meant = wanted.states or (TERMINAL if action == "delete" else able)  # what waits is deleted when asked for by name
    states = tuple(name for name in able if name in meant)
    if not states:
        raise InvalidJob(f"{action} is for jobs that are {', '.join(able)}; none is when {' or '.join(wanted.states)}.")
    return replace(wanted, states=states)


def check(state: State, action: str, changes: Changes) -> None:
    """Let changes pass that an action can make: `queue` and `priority` each by its own action, others none.

    Raises:
        InvalidJob: Something is missing, too much, or cannot be.
    """
    field = CHANGED.get(action)
    if field is not None and field not in changes:
        raise InvalidJob(f"{action} takes the new {field}, and none was given.")
    if more := sorted(set(changes) - {field}):
        raise InvalidJob(f"{action} changes no {' and no '.join(more)}.")
    if field == "queue":
        queues.check(state, changes["queue"])
    if field == "priority":
        jobs.check_priority(changes["priority"])


def act(
    state: State,
    connection: Connection,
    action: str,
    changes: Changes,
    found: Sequence[Job],
    told: list[Callable[[], None]],
) -> int:
    """Do it to those of the jobs whose state allows it; return to how many.

    Args:
        state: The application's side of the library.
        connection: In a transaction.
        action: One of `ACTIONS`.
        changes: What it changes and to what.
        found: The jobs.
        told: Takes what follows the commit.
    """
    ids = [job.id for job in found]
    if not ids:
        return 0
    match action:
        case "retry":
            due = reopen(state, connection, found, "Reopened by a bulk")
            told.append(lambda: announce(state, due))
            return len(due)
        case "run_now":
            delayed = [job.id for job in found if job.state == DELAYED]
            due = transitions.make_due(connection, delayed, fair=state.config.fair)
            transitions.record_event(connection, [job.id for job in due], "hastened", "Made due by a bulk")
            told.append(lambda: announce(state, due))
            return len(due)
        case "change_queue" | "change_priority":
            field = CHANGED[action]
            others = [job.id for job in found if getattr(job, field) != changes[field]]
            due = transitions.amend(connection, others, **changes, fair=state.config.fair)
            transitions.record_event(connection, [job.id for job in due], "amended", "Changed by a bulk")
            told.append(lambda: announce(state, due))
            return len(due)
        case "cancel":
            cancelled = transitions.cancel(connection, ids, "cancelled")
            asked = transitions.request_cancel(connection, ids)
            transitions.record_event(connection, list(cancelled), "cancelled", "Cancelled by a bulk")
            transitions.record_event(connection, list(asked), "cancel_requested", "Asked to stop by a bulk")
            return len(cancelled) + len(asked)
        case "delete":
            transitions.cancel(connection, ids, "deleted")
            return transitions.delete(connection, ids)
        case _:
            return jobs.replay_within(state, connection, ids, told)
