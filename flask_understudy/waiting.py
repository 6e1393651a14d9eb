"""How many requests may wait at a time, so that a web process always has threads left for the others.

A long poll or a stream of events holds a thread for as long as half a minute. Whoever finds no place is answered at
once with what is known now, and asks again: following becomes polling, and nothing stands still.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class WaitingRoom:
    """The places of one process.

    Args:
        places: Requests that may wait at a time; 0 = none.
        places_of_one: Those of one caller among them.
    """

    def __init__(self, places: int, places_of_one: int) -> None:
        self.places = places
        self.places_of_one = places_of_one
        self._taken: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def place(self, caller: Hashable) -> Iterator[bool]:
        """Take a place until the end of the block; yield whether there was one."""
        is_free = self._take(caller)
        try:
            yield is_free
        finally:
            if is_free:
                self._leave(caller)

    def _take(self, caller: Hashable) -> bool:
        with self._lock:
            is_free = self._taken.total() < self.places and self._taken[caller] < self.places_of_one
            if is_free:
                self._taken[caller] += 1
            return is_free

    def _leave(self, caller: Hashable) -> None:
        with self._lock:
            self._taken[caller] -= 1
            self._taken += Counter()  # forgets who has no place
