"""A worker that does everything in the thread that asks."""

from __future__ import annotations

from collections.abc import Callable

from ..claims import ClaimedMessage
from ..ledger import Database
from ..ledger.transitions import Claimed, Due
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

    def __init__(self, database: Database, worker: str, announce: Callable[[list[Due]], None]) -> None:
        super().__init__(database, worker, announce)
        self._notes: list[Finish | Progress | LogLine] = []

    def put(self, note: Finish | Progress | LogLine) -> None:
        self._notes.append(note)

    def flush(self, timeout: float = 30.0) -> bool:
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
        self.writer = ThreadlessWriter(state.database, self.id, self.announce)

    def hold(self, claimed: Claimed, released: Callable[[float], None] | None) -> RememberingMessage:
        message = RememberingMessage(claimed, self, released)
        self._held[claimed.id] = message
        return message
