"""An event loop for `async def` actors, started when the first one runs."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

from dramatiq import Broker, Worker
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread, set_event_loop_thread
from dramatiq.logging import get_logger
from dramatiq.middleware import AsyncIO, Middleware


@functools.cache
def _is_async(fn: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(fn))


class AsyncActors(AsyncIO):
    """Dramatiq's AsyncIO, started only when needed, in whatever process the job runs."""

    def __init__(self) -> None:
        Middleware.__init__(self)
        self.logger = get_logger(__name__, type(self))
        self._lock = threading.Lock()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Nothing yet."""

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Start the loop when this actor is the first that needs it."""
        fn = broker.get_actor(message.actor_name).fn
        if not _is_async(fn):
            return
        with self._lock:
            thread = get_event_loop_thread()
            if thread is None or not thread.is_alive():
                thread = EventLoopThread(self.logger)
                thread.daemon = True
                thread.start(timeout=5.0)
                set_event_loop_thread(thread)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Stop the loop, when there is one."""
        thread = get_event_loop_thread()
        if thread is not None:
            thread.stop()
            set_event_loop_thread(None)
