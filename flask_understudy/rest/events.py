"""Published events: posting them, finding them, and publishing them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from ..contrib.api import Body, Problem, invalid
from ..contrib.api.bodies import pointer
from ..errors import InvalidEvent
from ..events import Event, schema_of
from ..ledger import PublishedEvent, events
from ..operations import events as operations
from .callers import caller, state
from .doors import door, note
from .finding import Several, Word, within
from .paging import PageOf, cursor_of, place_of
from .shapes import Instant, JobSummary, Shape

TAG = "Events"

Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Post(Body):
    """An event to be published."""

    name: Name = Field(description="The event's name; see /events/types.")
    payload: dict[str, Any] = Field(default={}, description="Its fields.")
    version: int | None = Field(default=None, ge=1, le=1_000_000, description="Of the fields; default the newest.")
    tenant: Word | None = Field(default=None, description="For callers who may publish for every tenant.")
    correlation_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None


class Again(Body):
    """For whom an event is published again."""

    to: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        default=None, description="The name of the only subscriber that shall hear it; default all."
    )


class EventsQuery(PageOf):
    """Which events."""

    name: Several = []
    correlation_id: Word | None = None
    after: Instant | None = Field(default=None, description="Not published before this time.")
    before: Instant | None = Field(default=None, description="Published before this time.")
    tenant: Word | None = Field(default=None, description="For callers who may see every tenant.")
    with_payload: bool = Field(default=False, description="Whether to tell what they carry as well.")


class EventSummary(Shape):
    """An event as lists show it."""

    id: str
    name: str
    version: int
    tenant: str
    subject: str = Field(description="Who published it.")
    correlation_id: str | None
    job_id: str | None = Field(description="The job that published it.")
    replay_of: str | None = Field(description="The event that it repeats.")
    published_at: Instant

    @classmethod
    def of(cls, event: PublishedEvent, **more: Any) -> Any:
        """Return an event as it is shown."""
        return cls(
            id=event.id,
            name=event.name,
            version=event.version,
            tenant=event.tenant,
            subject=event.subject,
            correlation_id=event.correlation_id,
            job_id=event.job_id,
            replay_of=event.replay_of,
            published_at=event.at,
            **more,
        )


class SentEvent(EventSummary):
    """An event that was published."""

    jobs: list[str] = Field(description="The jobs of its subscribers.")


class EventDetail(EventSummary):
    """An event with everything the caller may see of it."""

    payload: dict[str, Any] | None = Field(description="Its fields, secrets withheld; null without permission.")
    jobs: list[JobSummary] = Field(description="The jobs of its subscribers; a thousand at the most.")
    runs: list[JobSummary] = Field(description="The jobs that had waited for it and went on; likewise.")


class ListedEvent(EventSummary):
    """An event as the log has it."""

    job_count: int = Field(description="How many jobs hear it, of those that are kept.")
    run_count: int = Field(description="How many jobs had waited for it and went on, likewise.")
    payload: dict[str, Any] | None = Field(
        description="Its fields, secrets withheld; null unless asked for, or without permission."
    )


class EventPage(Shape):
    """A page of events, the latest first."""

    data: list[ListedEvent]
    next_cursor: str | None


class EventType(Shape):
    """A kind of event."""

    name: str
    version: int
    description: str
    can_be_sent: bool = Field(description="Whether the API may publish it.")
    subscribers: list[str]
    waiting_runs: int = Field(description="Jobs in which a step waits for one, as far as the caller may know.")
    payload_schema: dict[str, Any]


class EventTypes(Shape):
    """All kinds of events."""

    data: list[EventType]


@door(
    "/events",
    method="POST",
    scope="enqueue",
    tag=TAG,
    audit_as="event.publish",
    opens_to_event_key=True,
    body=Post,
    answers={202: SentEvent},
    errors=(409, 503),
)
def send_event(body: Post) -> tuple[SentEvent, int, dict[str, str]]:
    """Publish an event."""
    who = caller()
    kind = _kind(body.name)
    tenant = who.principal.tenant
    if body.tenant is not None and body.tenant != tenant:
        if not (who.may("tenants") or who.is_event_key):
            raise Problem(403, detail="Publishing for another tenant needs the scope 'tenants'.")
        tenant = body.tenant
    with _pointing():
        sent = operations.send(
            state(),
            kind,
            body.payload,
            body.version,
            strict=True,
            tenant=tenant,
            owner=who.principal.subject,
            correlation_id=body.correlation_id,
        )
    note(target=sent.id, tenant=tenant, name=sent.name)
    return _sent(sent.id, sent.job_ids)


@door("/events", scope="read", tag=TAG, query=EventsQuery, answers={200: EventPage})
def list_events(query: EventsQuery) -> EventPage:
    """List what was published, the latest first."""
    wanted = events.Wanted(tuple(query.name), query.correlation_id, query.after, query.before)
    who = caller()
    scope = within(who, query.tenant)
    found, after = events.page(state().database, scope, wanted, query.limit, place_of(query))
    ids = [event.id for event in found]
    heard, let_go = (count(state().database, ids, scope) for count in (events.count_jobs, events.count_runs))
    is_told = query.with_payload and who.may("payload")
    shown = [
        ListedEvent.of(
            event,
            job_count=heard.get(event.id, 0),
            run_count=let_go.get(event.id, 0),
            payload=operations.shown_payload(event) if is_told else None,
        )
        for event in found
    ]
    return EventPage(data=shown, next_cursor=cursor_of(after, query))


@door("/events/types", scope="read", tag=TAG, answers={200: EventTypes})
def list_event_types() -> EventTypes:
    """List the events there are, who hears them, and what they carry."""
    waiting = events.count_waiting(state().database, caller().scope)
    return EventTypes(
        data=[
            EventType(
                name=kind.event_name,
                version=kind.event_version,
                description=(kind.__doc__ or "").strip().partition("\n")[0],
                can_be_sent=kind.event_api,
                subscribers=subscribers,
                waiting_runs=waiting.get(kind.event_name, 0),
                payload_schema=schema_of(kind),
            )
            for kind, subscribers in operations.kinds(state())
        ]
    )


@door("/events/<event_id>", scope="read", tag=TAG, answers={200: EventDetail})
def show_event(event_id: str) -> EventDetail:
    """Return an event, its jobs, and the jobs that had waited for it."""
    who = caller()
    event = operations.existing(state(), event_id, who.scope)
    detail: EventDetail = EventDetail.of(
        event,
        payload=operations.shown_payload(event) if who.may("payload") else None,
        jobs=[JobSummary.of(job) for job in operations.jobs_of(state(), event)],
        runs=[JobSummary.of(job) for job in operations.runs_of(state(), event)],
    )
    return detail


@door(
    "/events/<event_id>/replay",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="event.replay",
    body=Again,
    body_is_optional=True,
    answers={202: SentEvent},
    errors=(409, 503),
)
def replay_event(event_id: str, body: Again) -> tuple[SentEvent, int, dict[str, str]]:
    """Publish an event again, as a new one, for those who listen today."""
    sent = operations.repeat(state(), event_id, body.to, caller().scope)
    note(event=sent.id, to=body.to)
    return _sent(sent.id, sent.job_ids)


def _sent(id: str, jobs: tuple[str, ...]) -> tuple[SentEvent, int, dict[str, str]]:
    event = operations.existing(state(), id)
    return SentEvent.of(event, jobs=list(jobs)), 202, {"Location": f"{state().config.rest_prefix}/events/{id}"}


def _kind(name: str) -> type[Event]:
    """Return an event that the API may publish; one that it may not is as unknown as one that is not there."""
    offered = {kind.event_name: kind for kind, _ in operations.kinds(state()) if kind.event_api}
    if name not in offered:
        known = ", ".join(sorted(offered)) or "none"
        raise invalid("name", f"{name!r} cannot be published through the API. There are: {known}.")
    return offered[name]


@contextmanager
def _pointing() -> Iterator[None]:
    """Answer an event that does not fit with a pointer to each of its wrong fields."""
    try:
        yield
    except InvalidEvent as problem:
        wrong = [{"pointer": pointer(("payload", *where)), "detail": why} for where, why in problem.wrong[:20]]
        raise Problem(
            422, detail=str(problem), errors=wrong or [{"pointer": "/payload", "detail": str(problem)}]
        ) from None
