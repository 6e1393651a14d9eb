"""What an `Understudy` can do with events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ..actor import Actor
from ..broker import LedgerBroker
from ..errors import JobNotFound
from ..ledger import events as log
from . import functions, publishing
from .event import Event, named, read
from .publishing import Publication
from .subscriber import SubscriberDecorator, subscribe

E = TypeVar("E", bound=Event)


class EventVerbs:
    """Declaring subscribers and publishing events; a part of `Understudy`."""

    broker: LedgerBroker

    def on(
        self,
        event: type[E],
        *,
        where: Callable[[E], bool] | None = None,
        queue_name: str = "default",
        actor_name: str | None = None,
        **options: Any,
    ) -> SubscriberDecorator[E]:
        """Declare a function as an actor that hears an event (V02).

        Its function receives the event; its job carries the event's fields as arguments. Each subscriber of an event
        has a job, and retries, of its own.

        Args:
            event: A class derived from `Event`.
            where: Which of those events, asked when one is published. When it raises, that is logged and the job is
                made all the same; it asks again before it does anything.
            queue_name: The queue its jobs wait in.
            actor_name: Its stable name; default `on:<event>:<function>`.
            **options: As of `actor`.

        Raises:
            ConfigError: What is to be heard is no event, or an option is unknown or its value invalid.
            ValueError: The name is taken.
        """
        return subscribe(self.broker, event, where=where, queue_name=queue_name, actor_name=actor_name, options=options)

    def create_function(
        self,
        *,
        id: str,
        event: type[Event] | str,
        name: str | None = None,
        retries: int | None = None,
        where: Callable[[Any], bool] | None = None,
        queue_name: str = "default",
        **options: Any,
    ) -> Callable[[Callable[..., Any]], Actor[..., Any]]:
        """Declare a function that hears an event, as Inngest has it: `create_function(id=…, event=…)(fn)` (B13).

        Args:
            id: Its stable name in the ledger.
            event: A class derived from `Event`, or the name of one that is declared already.
            name: What people read.
            retries: Attempts after the first; default the queue's.
            where: As of `on`.
            queue_name: The queue its jobs wait in.
            **options: As of `actor`.

        Returns:
            What takes the function: of the event, or of the event and the job's durable steps.

        Raises:
            ConfigError: The event is unknown, or an option or the function's parameters cannot be.
        """
        return functions.create_function(
            self.broker,
            id=id,
            event=event,
            name=name,
            retries=retries,
            where=where,
            queue_name=queue_name,
            options=options,
        )

    def publish(
        self,
        event: Event,
        *,
        tenant: str | None = None,
        owner: str | None = None,
        correlation_id: str | None = None,
        transaction: bool | None = None,
    ) -> Publication:
        """Publish an event: a row in the log and a job for each subscriber, in the caller's transaction as a send.

        Args:
            event: The event.
            tenant: Whose it is, and its jobs; default the sending job's or the principal's.
            owner: Who publishes; default likewise.
            correlation_id: Shared by what one request leads to; default the sending job's, else the event's id.
            transaction: True joins `db.session`'s transaction, False commits at once; default: join when it has
                uncommitted writes.

        Returns:
            The event's id and those of the jobs.

        Raises:
            InvalidEvent: A field holds what it may not; nothing was stored.
            PayloadTooLarge: Its fields are larger than accepted.
            BrokerUnavailable: A subscriber's fallback is `fail` and the broker is down; nothing was stored.
        """
        return self.publish_many(
            [event], tenant=tenant, owner=owner, correlation_id=correlation_id, transaction=transaction
        )[0]

    def publish_many(
        self,
        events: Iterable[Event],
        *,
        tenant: str | None = None,
        owner: str | None = None,
        correlation_id: str | None = None,
        transaction: bool | None = None,
    ) -> list[Publication]:
        """Publish many events, all or none; see `publish`."""
        return publishing.publish(
            self.broker,
            events,
            tenant=tenant,
            owner=owner,
            correlation_id=correlation_id,
            transaction=transaction,
        )

    def send_event(
        self, name: str, data: Mapping[str, Any] | None = None, *, version: int | None = None, **options: Any
    ) -> Publication:
        """Publish an event by its name (B15).

        Args:
            name: Of a class that is declared.
            data: Its fields.
            version: The version they are of; default the newest.
            **options: As of `publish`.

        Raises:
            InvalidEvent: No event has the name, or the fields do not fit; nothing was stored.
        """
        return self.publish(read(named(name), data or {}, version), **options)

    def replay_event(self, event_id: str, *, to: str | None = None) -> Publication:
        """Publish an event of the log again, as a new event, for those who listen today.

        Args:
            event_id: The event.
            to: The name of the only subscriber that shall hear it; default all.

        Raises:
            JobNotFound: There is no such event.
            InvalidEvent: It cannot be heard any more, or `to` does not hear it.
        """
        stored = log.find(self.broker.state.database, event_id)
        if stored is None:
            raise JobNotFound(f"There is no event {event_id!r}.")
        return publishing.replay(self.broker, stored, to)
