"""What an actor may declare beyond Dramatiq's own options."""

from __future__ import annotations

from typing import Any

from dramatiq import Actor, Broker
from dramatiq.middleware import Middleware, MiddlewareError

from ..errors import ConfigError
from ..limit import Limit
from ..policy import NUMBERS, agreed_retries, check_number

FALLBACKS = ("sync", "hold", "fail")


class Options(Middleware):
    """Declares and checks the library's actor options.

    Options of an actor:
        attempts: Executions in total, the first included; `max_retries + 1`.
        backoff_factor: Each wait is this many times the one before.
        jitter: Share by which a wait may vary, 0 to 1.
        fallback: `sync`, `hold` or `fail`: what a send does while the broker is down.
        sensitive: Names of parameters that are never shown, or True for all.
        description: One line for people.
        api: Whether it may be sent over HTTP.
        workflow: Whether it is listed as a workflow.
        limit: A `Limit`: how many of its jobs run at a time, and start within a span of time.
    """

    @property
    def actor_options(self) -> set[str]:
        """The options' names."""
        return {
            "attempts",
            "backoff_factor",
            "jitter",
            "fallback",
            "sensitive",
            "description",
            "api",
            "workflow",
            "limit",
        }

    def before_declare_actor(self, broker: Broker, actor: Actor[Any, Any]) -> None:
        """Refuse options that could only fail later."""
        where = f"Actor {actor.actor_name}"
        try:
            agreed_retries(actor.options, where)
        except ConfigError as problem:
            raise DeclarationError(str(problem)) from None
        fallback = actor.options.get("fallback")
        if fallback is not None and fallback not in FALLBACKS:
            raise DeclarationError(f"{where}: fallback is {fallback!r}; it takes one of {', '.join(FALLBACKS)}.")
        for name in ("on_success", "on_failure", "on_retry_exhausted"):
            target = actor.options.get(name)
            if isinstance(target, Actor):
                actor.options[name] = target.actor_name  # the hooks look actors up by name
            elif target is not None and not isinstance(target, str):
                raise DeclarationError(f"{where}: {name} is {target!r}; it takes an actor or its name.")
        limit = actor.options.get("limit")
        if limit is not None and not isinstance(limit, Limit):
            raise DeclarationError(f"{where}: limit is {limit!r}; it takes a Limit, such as Limit(concurrency=10).")
        for name in sorted(NUMBERS):
            self._check(where, name, actor.options.get(name))
        self._check(where, "priority", actor.priority)
        for alias in {actor.actor_name.replace("/", ":"), actor.actor_name.replace(":", "/")} - {actor.actor_name}:
            if alias in broker.actors:
                raise DeclarationError(f"{where}: {alias!r} is declared already, and is the same name (C10).")

    def _check(self, where: str, name: str, value: Any) -> None:
        if value is not None:
            try:
                check_number(f"{where}: {name}", name, value)
            except ConfigError as problem:
                raise DeclarationError(str(problem)) from None


class DeclarationError(ConfigError, MiddlewareError):
    """An actor's options are invalid; of Dramatiq's kind as well, as it swallows what else a hook raises."""
