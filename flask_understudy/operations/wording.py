"""How ages, numbers and errors read in a line of text."""

from __future__ import annotations

from datetime import UTC, datetime


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago something was, or in how long it will be: `3m ago`, `in 2h`."""
    if moment is None:
        return "-"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"


def duration(seconds: float) -> str:
    """Return a duration in its largest unit: `3m`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:.0f}s" if seconds >= 1 else f"{seconds * 1000:.0f}ms"


def counted(n: int, noun: str, *, exact: bool = True) -> str:
    """Return a number with its noun: `1 job`, `at least 10,000 jobs`."""
    return f"{'' if exact else 'at least '}{n:,} {noun}{'' if n == 1 else 's'}"


def size(n: int) -> str:
    """Return a number of bytes in its largest unit: `48 MB`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if n >= unit:
            return f"{n / unit:.1f} {name}" if n < 10 * unit else f"{n / unit:.0f} {name}"
    return f"{n} B"


def printable(text: str) -> str:
    """Return a text on one line, without what would steer the terminal: jobs carry what strangers wrote."""
    return "".join(c if c.isprintable() else " " for c in text)


def reason_of(problem: Exception) -> str:
    """Return the first line of what a driver says."""
    lines = str(getattr(problem, "orig", None) or problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__
