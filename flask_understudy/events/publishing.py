"""Publishing: one row in the log and one job per subscriber, in one transaction."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dramatiq
from sqlalchemy import Connection

from ..broker import LedgerBroker
from ..context import Principal, acting_as, running_job
from ..errors import InvalidEvent
from ..ledger import PublishedEvent, events, waits
from ..ledger.events import NewEvent
from ..ledger.transitions import Due
from ..submission import encode_payload, whose, word
from .event import Event, named, payload_of, read
from .subscriber import Subscriber, subscribers_of

logger = logging.getLogger("flask_understudy")

#: Events of which this process said that nobody listens.
_unheard: set[str] = set()


@dataclass(frozen=True, slots=True)
class Publication:
    """An event that was published.

    Attributes:
        id: The event's id in the log.
        name: The event's name.
        job_ids: The jobs of its subscribers, in the order of their declaration. One whose subscriber's dedup key a live
            job holds is that job.
    """

    id: str
    name: str
    job_ids: tuple[str, ...]


def publish(
    broker: LedgerBroker,
    published: Iterable[Event],
    *,
    tenant: str | None = None,
    owner: str | None = None,
    correlation_id: str | None = None,
    transaction: bool | None = None,
) -> list[Publication]:
    """Publish events, all of them or none; see `EventVerbs.publish`."""
    facts = list(published)
    for fact in facts:
        if not isinstance(fact, Event) or type(fact) is Event:
            raise InvalidEvent(
                f"jobs.publish takes events, such as LeaveApproved(employee_id=7), and was given {fact!r}."
            )
    rows = [_row(broker, fact, payload_of(fact), tenant, owner, correlation_id) for fact in facts]
    return _store(broker, [(row, fact, None) for row, fact in zip(rows, facts, strict=True)], transaction)


def replay(
    broker: LedgerBroker, stored: PublishedEvent, to: str | None = None, transaction: bool | None = None
) -> Publication:
    """Publish an event of the log again, for those who listen today; see `EventVerbs.replay_event`.

    Raises:
        InvalidEvent: Its class is not known here, its fields do not fit any more, or `to` does not hear it.
    """
    fact = read(named(stored.name), stored.payload, stored.version)
    if to is not None and to not in (listening := [s.actor_name for s in subscribers_of(broker, stored.name)]):
        raise InvalidEvent(
            f"No subscriber of {stored.name!r} is named {to[:200]!r}. There are: {', '.join(listening) or 'none'}."
        )
    with acting_as(Principal(stored.subject, stored.tenant)):  # whoever asks for it
        row = _row(broker, fact, payload_of(fact), None, None, stored.correlation_id, stored.id)
        return _store(broker, [(row, fact, to)], transaction)[0]


def _row(
    broker: LedgerBroker,
    fact: Event,
    payload: dict[str, Any],
    tenant: str | None,
    owner: str | None,
    correlation_id: str | None,
    replay_of: str | None = None,
) -> NewEvent:
    kind, job = type(fact), running_job()
    encode_payload(kind.event_name, (), payload, broker.state.config)
    id = str(uuid.uuid4())
    own_tenant, own_subject = whose(broker.principal(), job)
    return NewEvent(
        id=id,
        tenant=word(tenant or own_tenant, "tenant", 200),
        subject=word(owner or own_subject, "owner", 200),
        name=kind.event_name,
        version=kind.event_version,
        payload=payload,
        correlation_id=word(correlation_id or (job.correlation_id if job else None) or id, "correlation_id", 200),
        job_id=None if job is None else job.id,
        replay_of=replay_of,
    )


def _store(
    broker: LedgerBroker, planned: list[tuple[NewEvent, Event, str | None]], transaction: bool | None
) -> list[Publication]:
    messages: list[dramatiq.Message[Any]] = []
    counts: list[int] = []
    for row, fact, to in planned:
        own = [
            message
            for subscriber in subscribers_of(broker, row.name)
            if to in (None, subscriber.actor_name) and (message := _message(subscriber, row, fact)) is not None
        ]
        messages += own
        counts.append(len(own))
    rows = [row for row, _, _ in planned]

    def beside(connection: Connection) -> list[Due]:
        events.insert(connection, rows)
        return waits.meet(connection, rows)

    if not rows:
        return []
    sent = iter(broker.enqueue_many(messages, beside=beside, transaction=transaction))
    for name in {row.name for row in rows}:
        _tell_if_unheard(broker, name)
    return [
        Publication(row.id, row.name, tuple(next(sent).message_id for _ in range(n)))
        for row, n in zip(rows, counts, strict=True)
    ]


def _message(subscriber: Subscriber[Any, Any], row: NewEvent, fact: Event) -> dramatiq.Message[Any] | None:
    """Return the message for a subscriber, or None when it does not want the event."""
    heard, payload = _as_heard(subscriber, row, fact)
    options: dict[str, Any] = {
        "event_id": row.id,
        "tenant": row.tenant,
        "owner": row.subject,
        "correlation_id": row.correlation_id,
    }
    if subscriber.where is not None:
        try:
            if not subscriber.where(heard):
                return None
        except Exception:
            logger.exception(
                "The filter of %s failed for the event %s (%s); its job is made all the same, and asks again.",
                subscriber.actor_name,
                row.id,
                row.name,
            )
            options["event_undecided"] = True
    return subscriber.message_with_options(kwargs=payload, **options)


def _as_heard(subscriber: Subscriber[Any, Any], row: NewEvent, fact: Event) -> tuple[Event, dict[str, Any]]:
    """Return the event and its fields in the version that a subscriber knows."""
    if subscriber.event is type(fact):
        return fact, row.payload
    try:
        heard = read(subscriber.event, row.payload, row.version)
    except InvalidEvent as problem:
        raise InvalidEvent(f"The subscriber {subscriber.actor_name} cannot hear it: {problem}") from problem
    return heard, payload_of(heard)


def _tell_if_unheard(broker: LedgerBroker, name: str) -> None:
    if name not in _unheard and not subscribers_of(broker, name):
        _unheard.add(name)
        logger.warning(
            "Nobody listens to the event %r in this process: it is in the log and no job was made. Are the modules "
            "with its subscribers imported? See UNDERSTUDY_DISCOVER.",
            name,
        )


__all__ = ["Publication", "publish", "replay"]
