"""An actor that hears an event: its job carries the event's fields, its function receives the event."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

import dramatiq
from dramatiq.middleware import CurrentMessage

from ..actor import Actor
from ..broker import LedgerBroker
from ..errors import ConfigError, InvalidJob
from ..terms import check_declaration
from .event import Event, payload_of, read

logger = logging.getLogger("flask_understudy")

E = TypeVar("E", bound=Event)
P = ParamSpec("P")
R = TypeVar("R")


class Subscriber(Actor[P, R], Generic[P, R]):
    """An actor that hears an event. Called or sent by itself it takes an event, as its function does.

    Args:
        fn: The function of one event.
        event: What it hears.
        where: Which of those events; None = all of them.
        **declared: As Dramatiq gives them.

    Attributes:
        event: What it hears.
        where: Which of those events; None = all of them.
    """

    def __init__(
        self, fn: Callable[..., Any], *, event: type[Event], where: Callable[[Any], bool] | None, **declared: Any
    ) -> None:
        self.event = event
        self.where = where
        super().__init__(_hearing(fn, event, where), **declared)

    def message_with_options(
        self, *, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, **options: Any
    ) -> dramatiq.Message[R]:
        """Build a message for one event, or for an event's fields by name.

        Raises:
            InvalidJob: What is given is no such event.
        """
        if args:
            fact, *others = args
            if others or kwargs or not isinstance(fact, self.event):
                raise InvalidJob(f"{self.actor_name} takes one {self.event.__qualname__}, or its fields by name.")
            args, kwargs = (), payload_of(fact)
        return super().message_with_options(args=args, kwargs=kwargs, **{**self._stamp(), **options})

    def _stamp(self) -> dict[str, Any]:
        """Return the options that say of which version the fields in a message are."""
        return {} if self.event.event_version == 1 else {"event_version": self.event.event_version}


class SubscriberDecorator(Protocol[E]):
    """What `jobs.on(...)` returns: it turns a function of an event into an actor."""

    @overload
    def __call__(self, fn: Callable[[E], Awaitable[R]]) -> Actor[[E], R]: ...

    @overload
    def __call__(self, fn: Callable[[E], R]) -> Actor[[E], R]: ...


def subscribe(
    broker: LedgerBroker,
    event: type[E],
    *,
    where: Callable[[E], bool] | None,
    queue_name: str,
    actor_name: str | None,
    options: dict[str, Any],
) -> SubscriberDecorator[E]:
    """Return what declares a function as a subscriber; see `EventVerbs.on`.

    Raises:
        ConfigError: What is to be heard is no event, or an option is unknown or invalid.
    """
    if not (inspect.isclass(event) and issubclass(event, Event)) or event is Event:
        raise ConfigError(f"jobs.on takes a class of events, such as one derived from Event, and was given {event!r}.")
    if where is not None and not callable(where):
        raise ConfigError(f"where is {where!r}; it takes a function of the event that returns whether to hear it.")
    check_declaration(broker, queue_name, options)
    options.setdefault("sensitive", event.event_sensitive or None)

    def declare(fn: Callable[..., Any]) -> Any:
        if isinstance(fn, dramatiq.Actor):
            raise ConfigError(f"{fn.actor_name} is an actor already; a function hears one event: write one for each.")
        _check_function(fn, event)
        decorator = dramatiq.actor(
            queue_name=queue_name,
            actor_name=actor_name or f"on:{event.event_name}:{fn.__name__}",
            broker=broker,
            actor_class=cast(Any, functools.partial(Subscriber, event=event, where=where)),
            **{"priority": None, "description": (fn.__doc__ or "").strip().partition("\n")[0], **options},
        )
        return decorator(fn)

    return cast(SubscriberDecorator[E], declare)


def subscribers_of(broker: LedgerBroker, name: str) -> list[Subscriber[Any, Any]]:
    """Return the actors that hear an event, in the order of their declaration."""
    return [
        actor for actor in broker.actors.values() if isinstance(actor, Subscriber) and actor.event.event_name == name
    ]


def _check_function(fn: Callable[..., Any], event: type[Event]) -> None:
    try:
        inspect.signature(fn, follow_wrapped=False).bind(None)
    except TypeError:
        name = getattr(fn, "__name__", repr(fn))
        raise ConfigError(f"{name} cannot hear {event.event_name!r}: it takes a function of one event.") from None


def _hearing(fn: Callable[..., Any], event: type[Event], where: Callable[[Any], bool] | None) -> Any:
    """Return the function of a job: it takes the event's fields, and looks like it to whoever asks what it takes."""
    hear: Any
    if inspect.iscoroutinefunction(fn):

        async def hear_async(*given: Any, **fields: Any) -> Any:
            fact = given[0] if given else _fact(event, where, fields)
            return None if fact is None else await fn(fact)

        hear = hear_async
    else:

        def hear_sync(*given: Any, **fields: Any) -> Any:
            fact = given[0] if given else _fact(event, where, fields)
            return None if fact is None else fn(fact)

        hear = hear_sync
    hear.__name__, hear.__qualname__ = fn.__name__, fn.__qualname__
    hear.__module__, hear.__doc__ = fn.__module__, fn.__doc__
    parameters = _parameters(event)
    hear.__signature__ = inspect.Signature(parameters)
    hear.__annotations__ = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    return hear


def _fact(event: type[E], where: Callable[[E], bool] | None, fields: dict[str, Any]) -> E | None:
    """Return the event of the job that runs, or None when its subscriber does not want it after all."""
    message = CurrentMessage.get_current_message()
    options = {} if message is None else message.options
    fact = read(event, fields, options.get("event_version", 1))
    if options.get("event_undecided") and where is not None and not where(fact):
        logger.info("The job %s has nothing to do: its subscriber does not want the event.", message)
        return None
    return fact


def _parameters(event: type[Event]) -> list[inspect.Parameter]:
    empty = inspect.Parameter.empty
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=empty if field.is_required() else field.get_default(call_default_factory=False),
            annotation=field.rebuild_annotation(),
        )
        for name, field in event.model_fields.items()
    ]
    if event.model_config.get("extra") == "allow":
        parameters.append(inspect.Parameter("more", inspect.Parameter.VAR_KEYWORD))
    return parameters


__all__ = ["Subscriber", "SubscriberDecorator", "subscribe", "subscribers_of"]
