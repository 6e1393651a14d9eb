"""Dramatiq's actor, with the options of a send spelled out and typed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, ParamSpec, Protocol, TypeVar, overload

import dramatiq

P = ParamSpec("P")
R = TypeVar("R")


class Actor(dramatiq.Actor[P, R]):
    """A function that can be sent as a job. Everything Dramatiq documents about actors holds.

    Attributes:
        own_priority: The priority the declaration named; None = the queue's.
    """

    own_priority: int | None

    def __init__(self, fn: Callable[P, Any], *, priority: int | None = None, **declared: Any) -> None:
        self.own_priority = priority
        super().__init__(fn, priority=0 if priority is None else priority, **declared)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now; unlike Dramatiq's own, without logging the arguments."""
        return self.fn(*args, **kwargs)

    def send_with_options(
        self,
        *,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        delay: timedelta | int | None = None,
        run_at: datetime | None = None,
        priority: int | None = None,
        dedup_key: str | None = None,
        tags: Iterable[str] | None = None,
        expires_at: datetime | None = None,
        tenant: str | None = None,
        owner: str | None = None,
        transaction: bool | None = None,
        concurrency_key: str | None = None,
        debounce: timedelta | int | None = None,
        debounce_max: timedelta | int | None = None,
        throttle: timedelta | int | None = None,
        keep: str | None = None,
        **options: Any,
    ) -> dramatiq.Message[R]:
        """Send the actor as a job.

        Args:
            args: Positional arguments of the actor.
            kwargs: Keyword arguments of the actor.
            delay: ms, or a timedelta, until it may run; 0 or more (C01).
            run_at: Aware time before which it does not run (C02); not together with `delay`.
            priority: -1000 to 1000, lower runs first; default the actor's, else the queue's (C06).
            dedup_key: While a live job of the tenant has the same key, that job is returned instead (C05).
            tags: Labels, up to 50.
            expires_at: Aware time after which it fails as expired instead of running.
            tenant: Whose job it is; default the sending job's or the principal's.
            owner: Who asked for it; default likewise.
            transaction: True joins `db.session`'s transaction, False commits at once; default: join when it has
                uncommitted writes.
            concurrency_key: Jobs of the tenant with the same key are limited together: by the actor's `limit`, else
                one at a time; default what the actor's `limit` says.
            debounce: ms, or a timedelta, for which it waits for a further send with the same `dedup_key`: that one
                replaces its arguments and the wait begins anew.
            debounce_max: ms, or a timedelta, after the first send when it runs all the same; default ten times
                `debounce`.
            throttle: ms, or a timedelta, within which only one job of the same `dedup_key` starts; the first one runs
                at once, and what is sent after it is answered with its id.
            keep: `"last"`: what is sent last within the throttle's time runs at its end; default `"first"`.
            **options: Dramatiq's options, such as `max_retries`, `time_limit`, `on_success`, `pipe_target`.

        Returns:
            The message; `message_id` is the job's id (B11, C13).

        Raises:
            InvalidJob: A value is out of range or an argument is no JSON; nothing was stored.
            BrokerUnavailable: The actor's fallback is `fail` and the broker is down; nothing was stored.
        """
        named = {
            "run_at": run_at,
            "priority": priority,
            "dedup_key": dedup_key,
            "expires_at": expires_at,
            "tenant": tenant,
            "owner": owner,
            "transaction": transaction,
            "concurrency_key": concurrency_key,
            "debounce": debounce,
            "debounce_max": debounce_max,
            "throttle": throttle,
            "keep": keep,
            "tags": list(tags) if tags is not None and not isinstance(tags, str) else tags,
        }
        options |= {name: value for name, value in named.items() if value is not None}
        return super().send_with_options(args=args, kwargs=kwargs, delay=delay, **options)


class ActorDecorator(Protocol):
    """What `jobs.actor(...)` returns: it turns a function into an `Actor` that keeps its parameters' types."""

    @overload
    def __call__(self, fn: Callable[P, Awaitable[R]]) -> Actor[P, R]: ...

    @overload
    def __call__(self, fn: Callable[P, R]) -> Actor[P, R]: ...
