"""Inngest's way to declare a subscriber: `create_function(id=…, event=…)(fn(event, step))` (requirements B13, U05)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..actor import Actor
from ..broker import LedgerBroker
from ..errors import ConfigError, InvalidEvent
from .event import Event, named
from .subscriber import subscribe

STEPS = "flask_understudy.steps"


def create_function(
    broker: LedgerBroker,
    *,
    id: str,
    event: type[Event] | str,
    name: str | None,
    retries: int | None,
    where: Callable[[Any], bool] | None,
    queue_name: str,
    options: dict[str, Any],
) -> Callable[[Callable[..., Any]], Actor[..., Any]]:
    """Return what declares a function of an event, or of an event and a step; see `EventVerbs.create_function`."""
    if isinstance(event, str):
        try:
            event = named(event)
        except InvalidEvent as problem:
            raise ConfigError(f"The function {id!r}: {problem} Declare the class before.") from None
    given = {"description": name, "max_retries": retries}
    options = {**{key: value for key, value in given.items() if value is not None}, **options}
    declare = subscribe(broker, event, where=where, queue_name=queue_name, actor_name=id, options=options)

    def decorate(fn: Callable[..., Any]) -> Any:
        return declare(_with_step(id, fn))

    return decorate


def _with_step(id: str, fn: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return a function of the event alone."""
    try:
        takes = len(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        raise ConfigError(f"The function {id!r} takes a function of (event) or (event, step); got {fn!r}.") from None
    if takes == 1:
        return fn
    if takes != 2:
        raise ConfigError(f"The function {id!r} has {takes} parameters; it takes (event) or (event, step).")
    step = import_module(STEPS).step  # which itself stands on events
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def wait(event: Any) -> Any:
            return await fn(event, step)

        return wait

    @functools.wraps(fn)
    def run(event: Any) -> Any:
        return fn(event, step)

    return run
