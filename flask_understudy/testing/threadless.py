"""A worker that does everything in the thread that asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..claims import ClaimedMessage
from ..ledger.steps import StepNote
from ..ledger.transitions import Claimed
from ..ledger.writer import Finish, LogLine, Progress, Writer
from ..state import State
from ..worker import WorkerProcess


class RememberingMessage(ClaimedMessage):
    """Remembers what the actor raised, which Dramatiq forgets once the end is recorded."""

    raised: BaseException | None = None

    def stuff_exception(self, exception: BaseException) -> None:
        super().stuff_exception(exception)
        self.raised = exception


class ThreadlessWriter(Writer):
    """Writes when it is asked to, in the thread that asks: SQLite in memory is one connection for all threads."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._notes: list[Finish | Progress | LogLine | StepNote] = []
        self._flushing = threading.Lock()

    def put(self, note: Finish | Progress | LogLine | StepNote) -> None:
        self._notes.append(note)

    def commit(self, note: StepNote) -> bool:
        self._notes.append(note)
        self.flush()
        return note.outcome()

    def flush(self, timeout: float = 30.0) -> bool:
        with self._flushing:
            notes, self._notes = self._notes, []
            if notes:
                self._write_until_done(notes)
        return True

    def close(self, timeout: float = 5.0) -> bool:
        return self.flush(timeout)


class Threadless(WorkerProcess):
    """A worker without threads."""

    def __init__(self, state: State) -> None:
        super().__init__(state, "test", [], 1)
        self.writer = ThreadlessWriter(state.database, self.id, self.announce, self.settle)

    def hold(self, claimed: Claimed, released: Callable[[float], None] | None) -> RememberingMessage:
        message = RememberingMessage(claimed, self, released)
        self._held[claimed.id] = message
        return message
