"""What may be said about a job when it is sent, held against its actor before anything is stored.

What can be known once is kept per actor, so that a plain send costs a dictionary look-up and two comparisons.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import dramatiq
from dramatiq.errors import ActorNotFound

from .errors import ConfigError, InvalidJob
from .policy import NUMBERS, check_number
from .submission import COLUMNS

#: Options that Dramatiq itself, or a composition of messages, puts on a message.
TRAVELLING = frozenset(
    {
        "delay",
        "eta",
        "retries",
        "traceback",
        "requeue_timestamp",
        "redis_message_id",
        "pipe_target",
        "pipe_ignore",
        "group_completion_uuid",
        "group_completion_callbacks",
        "event_version",
        "event_undecided",
        "batch",
    }
)
_QUEUE = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]*")
CALLBACKS = ("on_success", "on_failure", "on_retry_exhausted")


class InvalidDeclaration(ConfigError, ValueError):
    """An actor cannot be declared like this; a ValueError as well, as Dramatiq raises."""


class Terms:
    """What the sends of one actor are held against.

    Args:
        actor: The actor.

    Attributes:
        actor: The actor.
        least: Positional arguments that it needs at the least.
        most: Positional arguments that it takes at the most.
    """

    def __init__(self, actor: dramatiq.Actor[Any, Any]) -> None:
        self.actor = actor
        self.signature = _signature_of(actor.fn)
        self.least, self.most = _positional(self.signature)
        self._callbacks_exist = False

    def check(self, message: dramatiq.Message[Any], passed_on: int = 0) -> None:
        """Let a message pass that fits; what follows it in a pipeline is checked with it.

        Args:
            message: A first send, not a retry.
            passed_on: How many positional arguments a pipeline will add.

        Raises:
            InvalidJob: Names the value and what is valid.
        """
        if not self._callbacks_exist:
            _check_callbacks(self.actor.options, self.actor.broker, f"Actor {self.actor.actor_name}")
            self._callbacks_exist = True
        if message.options:
            self._check_options(message.options)
        if message.kwargs or not self.least <= len(message.args) + passed_on <= self.most:
            self._check_arguments(message, passed_on)

    def _check_options(self, options: Mapping[str, Any]) -> None:
        name, broker = self.actor.actor_name, self.actor.broker
        known = broker.actor_options
        for option in options:
            if option not in known and option not in COLUMNS and option not in TRAVELLING:
                raise InvalidJob(unknown(f"{name}: {option!r} is no option of a send", option, offered(broker)))
        for option in NUMBERS & options.keys():
            if options[option] is not None:
                try:
                    check_number(f"{name}: {option}", option, options[option])
                except ConfigError as problem:
                    raise InvalidJob(str(problem)) from None
        _check_callbacks(options, broker, name)
        if (target := options.get("pipe_target")) is not None:
            self._check_next(target)

    def _check_next(self, target: Any) -> None:
        try:
            message: dramatiq.Message[Any] = dramatiq.Message(**target)
            actor = self.actor.broker.get_actor(message.actor_name)
        except (TypeError, ActorNotFound) as problem:
            raise InvalidJob(
                f"{self.actor.actor_name}: pipe_target is no message of a known actor ({problem})."
            ) from None
        is_ignored = message.options.get("pipe_ignore") or actor.options.get("pipe_ignore")
        terms_of(actor).check(message, passed_on=0 if is_ignored else 1)

    def _check_arguments(self, message: dramatiq.Message[Any], passed_on: int) -> None:
        if self.signature is None:
            return
        try:
            self.signature.bind(*message.args, *([None] * passed_on), **message.kwargs)
        except TypeError as problem:
            raise InvalidJob(
                f"The arguments do not fit {message.actor_name}{self.signature}: {problem}"
                + (", the result of the step before included." if passed_on else ".")
            ) from None


def terms_of(actor: dramatiq.Actor[Any, Any]) -> Terms:
    """Return the terms of an actor, made at its first send and kept with it."""
    terms: Terms | None = actor.__dict__.get("_understudy_terms")
    if terms is None:
        terms = actor.__dict__["_understudy_terms"] = Terms(actor)
    return terms


def offered(broker: Any) -> set[str]:
    """Return the options that a send may name."""
    return {*broker.actor_options, *COLUMNS, "delay", "pipe_ignore"}


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """Return the message about a name that is none, with the nearest one that is."""
    near = difflib.get_close_matches(str(name), sorted(known), n=1)
    return f"{what}." + (f" Did you mean {near[0]!r}?" if near else f" There are {', '.join(sorted(known))}.")


def check_declaration(broker: Any, queue_name: Any, options: Collection[str]) -> None:
    """Let pass what an actor may be declared with.

    Raises:
        ConfigError: The queue's name or the name of an option is none; names it and the nearest one.
    """
    if not isinstance(queue_name, str) or not _QUEUE.fullmatch(queue_name):
        raise InvalidDeclaration(
            f"queue_name is {queue_name!r}; it takes a letter or an underscore, and then letters, digits, "
            "dashes and underscores."
        )
    known = {*broker.actor_options, "priority"}
    for option in sorted(set(options) - known):
        raise InvalidDeclaration(unknown(f"{option!r} is no option of an actor", option, known))


def _check_callbacks(options: Mapping[str, Any], broker: Any, where: str) -> None:
    for name in CALLBACKS:
        target = options.get(name)
        if target is None:
            continue
        try:
            broker.get_actor(target)
        except (ActorNotFound, AttributeError, TypeError):
            raise InvalidJob(
                unknown(f"{where}: {name} is {target!r}, and no actor has that name", str(target), set(broker.actors))
            ) from None


def check_declared(broker: Any) -> None:
    """Let pass a broker whose actors name only actors as their callbacks.

    Raises:
        InvalidJob: Names the actor, the option and the value.
    """
    for actor in list(broker.actors.values()):
        _check_callbacks(actor.options, broker, f"Actor {actor.actor_name}")


def check_names(message: dramatiq.Message[Any]) -> None:
    """Let pass arguments whose dicts have texts as keys: JSON would make texts of all others, without a word.

    To be called with what was encoded before, and so has no cycles.

    Raises:
        InvalidJob: Names the key.
    """
    if not message.kwargs and "pipe_target" not in message.options:
        for value in message.args:
            if isinstance(value, dict | list | tuple):
                _check_names(message.args, message.actor_name)
                return
        return
    _check_names([message.args, message.kwargs, message.options.get("pipe_target") or {}], message.actor_name)


def _check_names(value: Any, actor: str) -> None:
    stack: list[Any] = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            for name in value:
                if not isinstance(name, str):
                    raise InvalidJob(
                        f"An argument of {actor} has a dict with the key {name!r}; JSON has texts as keys, "
                        f"such as {str(name)!r}."
                    )
            stack.extend(v for v in value.values() if isinstance(v, dict | list | tuple))
        else:
            stack.extend(v for v in value if isinstance(v, dict | list | tuple))


def _signature_of(fn: Callable[..., Any]) -> inspect.Signature | None:
    """Return the parameters of an actor's function as they are called.

    The library's wrappers and Dramatiq's are looked through; an application's decorator is not, as it may add
    arguments of its own: what it says it takes is what it takes.
    """
    while getattr(fn, "__wrapped__", None) is not None and _is_ours(fn):
        fn = inspect.getattr_static(fn, "__wrapped__")
    try:
        return inspect.signature(fn, follow_wrapped=False)
    except (TypeError, ValueError):
        return None  # a built-in


def _is_ours(fn: Any) -> bool:
    module = getattr(fn, "__globals__", {}).get("__name__", "")
    return module in {"dramatiq.asyncio", f"{__package__}.interrupts"}


def _positional(signature: inspect.Signature | None) -> tuple[int, float]:
    """Return how few and how many positional arguments fit alone; (1, 0) when that cannot be said by number."""
    if signature is None:
        return 0, float("inf")
    least, most = 0, 0.0
    for parameter in signature.parameters.values():
        is_needed = parameter.default is parameter.empty
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = float("inf")
        elif parameter.kind is parameter.KEYWORD_ONLY and is_needed:
            return 1, 0
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            least, most = least + is_needed, most + 1
    return least, most


__all__ = ["Terms", "check_declaration", "check_declared", "check_names", "offered", "terms_of", "unknown"]
