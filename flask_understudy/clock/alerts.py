"""Alerts: each stretch of time in which a rule is broken is told when it begins and when it is over (M08 to M12).

However many clocks evaluate the rules: the unique index of open episodes decides which of them tells it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..ledger import episodes
from ..operations.rules import Rules
from ..signals import AlertNotice
from ..state import State
from .telling import Telling

#: Evaluations in a row that must find a rule kept before its episode is over.
CALM = 2


class Alerts:
    """Evaluates the rules.

    Args:
        state: The application's side of the library.
        now: A monotonic clock in s.
    """

    def __init__(self, state: State, now: Callable[[], float] = time.monotonic) -> None:
        self.state = state
        self.rules = Rules(state, now)
        self.telling = Telling(state)
        self._calm: dict[int, int] = {}

    def evaluate(self) -> None:
        """Take the turn."""
        broken = {(breach.rule, breach.subject): breach for breach in self.rules.broken()}
        told: list[Any] = []
        with self.state.database.transaction() as connection:
            for breach in broken.values():
                told.append(
                    episodes.begin(
                        connection,
                        rule=breach.rule,
                        subject=breach.subject,
                        value=breach.value,
                        threshold=breach.threshold,
                        message=breach.message,
                    )
                )
            episodes.prune(connection)
        calm = {}
        for episode in episodes.opened(self.state.database):
            if (episode.rule, episode.subject) not in broken:
                calm[episode.id] = self._calm.get(episode.id, 0) + 1
        over = [id for id, times in calm.items() if times >= CALM]
        if over:
            with self.state.database.transaction() as connection:
                told += [episodes.end(connection, id) for id in over]
        self._calm = {id: times for id, times in calm.items() if id not in over}
        self.telling.tell([_notice(row) for row in told if row is not None])

    def stop(self) -> None:
        """Tell what is left, for a second at the most."""
        self.telling.stop()


def _notice(row: Any) -> AlertNotice:
    id, rule, subject, began, ended, value, threshold, message, muted = row
    return AlertNotice(
        id=id,
        rule=rule,
        subject=subject,
        began_at=_moment(began),
        ended_at=None if ended is None else _moment(ended),
        value=value,
        threshold=threshold,
        message=message,
        muted=bool(muted),
    )


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
