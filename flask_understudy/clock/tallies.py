"""Folding what ended into standing counts and rates (requirements M07, L05)."""

from __future__ import annotations

from ..ledger import tallies
from ..state import State

BATCH = 1000


def fold(state: State) -> int:
    """Fold all tallies, gather old minutes, and forget rates of more than 30 days ago; return how many tallies.

    Two leaders at once are harmless: each tally is folded by the one that deletes it.
    """
    total = 0
    while True:
        with state.database.transaction() as connection:
            n = tallies.fold(connection, BATCH)
            if n < BATCH:
                tallies.gather_minutes(connection)
                tallies.prune_rates(connection)
        total += n
        if n < BATCH:
            return total
