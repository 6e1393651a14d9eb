"""Rounds, rows and medians."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.arena import Arena


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: Paired rounds of which the median is taken.
        jobs: Jobs of one drain.
        sends: Sends of one round.
        probes: Single jobs whose latency is taken.
        idle_seconds: s for which idle workers are watched.
        history: Finished rows in a ledger that has grown.
        lifetime: Jobs over which a worker's memory is watched.
    """

    rounds: int = 5
    jobs: int = 8000
    sends: int = 300
    probes: int = 200
    idle_seconds: float = 20.0
    history: int = 1_000_000
    lifetime: int = 100_000


class Skipped(Exception):
    """A benchmark cannot run here; the message says what would let it."""


QUICK = Scale(rounds=3, jobs=3000, sends=100, probes=25, idle_seconds=6.0, history=100_000, lifetime=15_000)


@dataclass(slots=True)
class Row:
    """One line of the result.

    Attributes:
        name: What was measured.
        unit: Of `ours` and `peer_value`.
        ours: Median of ours.
        peer: Who we are compared with; empty = an absolute figure.
        peer_value: Its median.
        ratio: Median of the rounds' ratios; above 1 is better whenever the unit is a rate.
        target: What docs promise, as text.
        met: Whether the target was met; None = there is none.
        note: Spread and side figures.
    """

    name: str
    unit: str
    ours: float
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = field(default="")

    def as_result(self) -> dict[str, Any]:
        """Return the row for `results.json`."""
        return asdict(self)


Measure = Callable[[], float]
Benchmark = Callable[[Arena, Scale], Iterator[Row]]


def paired(rounds: int, ours: Measure, peer: Measure, warm_up: bool = False) -> list[tuple[float, float]]:
    """Measure both in each round, taking turns at going first."""
    pairs = []
    if warm_up:
        peer(), ours()
    for number in range(rounds):
        if number % 2:
            theirs, own = peer(), ours()
        else:
            own = ours()
            theirs = peer()
        pairs.append((own, theirs))
    return pairs


def compare(
    name: str,
    unit: str,
    pairs: Sequence[tuple[float, float]],
    peer: str,
    *,
    at_least: float | None = None,
    note: str = "",
) -> Row:
    """Return the row of paired rates; the target is a ratio that must be reached."""
    ratios = sorted(own / theirs for own, theirs in pairs)
    ratio = statistics.median(ratios)
    spread = f"{ratios[0]:.2f}–{ratios[-1]:.2f}"
    return Row(
        name,
        unit,
        statistics.median(own for own, _ in pairs),
        peer,
        statistics.median(theirs for _, theirs in pairs),
        ratio,
        "" if at_least is None else f"≥ {at_least:g} ×",
        None if at_least is None else ratio >= at_least,
        f"{spread}; {note}" if note else spread,
    )


def limit(
    name: str, unit: str, value: float, *, at_most: float | None = None, at_least: float | None = None, note: str = ""
) -> Row:
    """Return the row of an absolute figure."""
    if at_most is not None:
        return Row(name, unit, value, target=f"≤ {at_most:g} {unit}", met=value <= at_most, note=note)
    assert at_least is not None
    return Row(name, unit, value, target=f"≥ {at_least:g} {unit}", met=value >= at_least, note=note)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
