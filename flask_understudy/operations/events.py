"""What can be done to published events, and what may be seen of them."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidEvent, JobNotFound
from ..events import Event, Publication, declared, named, publish, read, replay, subscribers_of
from ..ledger import Job, PublishedEvent, events
from ..ledger.scope import EVERYTHING, Scope
from ..redaction import SECRET, WITHHELD, redacted
from ..state import State
from .transaction import joined_session


def existing(state: State, id: str, scope: Scope = EVERYTHING) -> PublishedEvent:
    """Return an event, as the caller's transaction sees it when that has uncommitted writes.

    Raises:
        JobNotFound: There is none within the scope.
    """
    event = events.find(state.database, id, scope, joined_session(state))
    if event is None:
        raise JobNotFound(f"There is no event {id!r}.")
    return event


def jobs_of(state: State, event: PublishedEvent) -> list[Job]:
    """Return the jobs that hear an event, the first one first; they are of its tenant."""
    return events.jobs_of(state.database, event.id, Scope(event.tenant), joined_session(state))


def runs_of(state: State, event: PublishedEvent) -> list[Job]:
    """Return the jobs that had waited for an event and went on with it; they are of its tenant."""
    return events.runs_of(state.database, event.id, Scope(event.tenant), joined_session(state))


def send(
    state: State, kind: type[Event], payload: dict[str, Any], version: int | None, *, strict: bool, **options: Any
) -> Publication:
    """Publish an event that came in as JSON.

    Raises:
        InvalidEvent: The fields do not fit; nothing was stored.
    """
    return publish(state.broker, [read(kind, payload, version, strict=strict)], **options)[0]


def repeat(state: State, id: str, to: str | None, scope: Scope = EVERYTHING) -> Publication:
    """Publish an event of the log again; see `Understudy.replay_event`."""
    return replay(state.broker, existing(state, id, scope), to)


def kinds(state: State) -> list[tuple[type[Event], list[str]]]:
    """Return the newest version of each event that this process knows, with the names of its subscribers."""
    return [(kind, [s.actor_name for s in subscribers_of(state.broker, kind.event_name)]) for kind in declared()]


def shown_payload(event: PublishedEvent) -> dict[str, Any]:
    """Return an event's fields with secrets replaced; of an event that this process does not know all are."""
    try:
        hidden = named(event.name).event_sensitive
    except InvalidEvent:
        hidden = True
    if hidden is True:
        return dict.fromkeys(event.payload, WITHHELD)
    secret = set(hidden or ())
    return {
        name: WITHHELD if name in secret or SECRET.search(name) else redacted(value)
        for name, value in event.payload.items()
    }
