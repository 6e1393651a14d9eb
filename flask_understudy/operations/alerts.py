"""What can be asked and done about alerts."""

from __future__ import annotations

from ..errors import InvalidJob
from ..ledger import AlertEpisode, episodes
from ..state import State
from .transaction import transaction

MOST_MINUTES = 10_080


def opened(state: State) -> list[AlertEpisode]:
    """Return the open episodes, the oldest first."""
    return episodes.opened(state.database)


def history(state: State, limit: int, before: int | None = None) -> list[AlertEpisode]:
    """Return episodes, the newest first; with `before` those that began before the one with that id."""
    return episodes.history(state.database, limit, before)


def mute(state: State, id: int, minutes: int) -> bool:
    """Tell nobody of an open episode, and of those that follow it, for a while; the log and signals go on.

    Args:
        state: The application's side of the library.
        id: The episode.
        minutes: For how long, up to a week; 0 = tell again.

    Returns:
        Whether there is such an open episode.

    Raises:
        InvalidJob: The number of minutes is out of range.
    """
    if not 0 <= minutes <= MOST_MINUTES:
        raise InvalidJob(f"minutes is {minutes!r}; it takes a whole number from 0 to {MOST_MINUTES}.")
    with transaction(state) as connection:
        return episodes.mute(connection, id, minutes)
