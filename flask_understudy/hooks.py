"""Calling the hooks of all middleware, and what a job does before the first and after the last of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dramatiq.broker import Broker
from dramatiq.middleware import Middleware, MiddlewareError

from .claims import ClaimedMessage


class HookingBroker(Broker):
    """The part of the broker that calls hooks."""

    def __init__(self, middleware: list[Middleware]) -> None:
        self._hooks: dict[str, list[tuple[Middleware, Callable[..., None]]]] = {}
        super().__init__(middleware=middleware)

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Open a job before the first hook; then call the hooks in order."""
        if signal == "process_message":
            args[0].begin()
        for middleware, hook in self._hooks_of("before_" + signal):
            try:
                hook(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception:
                self.logger.critical("Unexpected failure in before_%s of %r.", signal, middleware, exc_info=True)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Close a job before the hooks that follow its actor, and make what they enqueue part of its end."""
        if signal not in {"process_message", "skip_message"}:
            self._emit_after(signal, *args, **kwargs)
            return
        message: ClaimedMessage = args[0]
        exception = message.ended(kwargs.get("result"), kwargs.get("exception"))
        if signal == "skip_message" and not message.failed:
            message.cancel(None)
        if message.is_suspended:  # neither done nor failed: what follows either must not hear of it
            signal, kwargs = "skip_message", {}
        if exception is not None:
            kwargs = {"exception": exception}
        elif "exception" in kwargs:
            kwargs = {"result": None}
        with message:  # what hooks enqueue belongs to this job's end
            self._emit_after(signal, *args, **kwargs)

    def _emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        for middleware, hook in reversed(self._hooks_of("after_" + signal)):
            try:
                hook(self, *args, **kwargs)
            except Exception:
                self.logger.critical("Unexpected failure in after_%s of %r.", signal, middleware, exc_info=True)

    def _hooks_of(self, name: str) -> list[tuple[Middleware, Callable[..., None]]]:
        """Return the middleware that has a hook of its own, in order: most of them lack most hooks."""
        found = self._hooks.get(name)
        if found is None:
            default = getattr(Middleware, name, None)
            found = self._hooks[name] = [
                (m, getattr(m, name)) for m in self.middleware if getattr(type(m), name, None) is not default
            ]
        return found

    def add_middleware(self, middleware: Middleware, **place: Any) -> None:
        """Add a middleware, `before` or `after` another one's class; see Dramatiq."""
        self._hooks.clear()
        super().add_middleware(middleware, **place)
        self._hooks.clear()
