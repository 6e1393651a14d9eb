"""How many steps of jobs are done and kept in a second."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.arena import Arena, create_tables
from benchmarks.drain import Drain
from benchmarks.harness import Row, Scale
from benchmarks.programs import ours as program

STEPS = 10


class StepsDrain(Drain):
    """Our workers, whose jobs have steps."""

    def message(self, number: int) -> Any:
        """Return a job of `STEPS` steps."""
        return program.in_steps.message(STEPS)


def steps(arena: Arena, scale: Scale) -> Iterator[Row]:
    """Steps that do nothing, ten to a job, each committed before the next."""
    postgres, sqlite = arena.new_database(), arena.new_sqlite()
    for name, url, transport, embedded in (
        ("steps: PostgreSQL + Redis", postgres, arena.redis().url, False),
        ("steps: embedded on SQLite", sqlite, "database", True),
    ):
        create_tables(url)
        drain = StepsDrain(url, transport, embedded=embedded)
        rates = [drain.run(scale.jobs // STEPS) * STEPS for _ in range(scale.rounds)]
        note = f"{min(rates):.0f}–{max(rates):.0f}; CPU {statistics.median(drain.cpu) / STEPS:.0f} µs a step"
        yield Row(name, "steps/s", statistics.median(rates), note=note)
