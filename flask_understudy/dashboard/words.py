"""How times, numbers and states read on a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from ..operations import wording

#: Characters that change the direction of what follows, each as its escape in JSON.
_TURNING = {code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def moment(value: datetime | str | None) -> datetime | None:
    """Return a time as the API tells it as a time of UTC."""
    if value is None:
        return None
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def span(seconds: float | None) -> str:
    """Return a length of time in its two largest units: `850 ms`, `12 s`, `3 min 4 s`, `2 d 5 h`."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms"
    whole, parts = round(seconds), []
    for size, unit in _UNITS:
        if whole >= size:
            parts.append(f"{whole // size} {unit}")
            whole %= size
        elif parts:
            break
    return " ".join(parts[:2])


def milliseconds(value: float | None) -> str:
    """Return a length of time given in ms."""
    return span(None if value is None else value / 1000)


def when(value: datetime | str | None) -> Markup:
    """Return how long ago a time was, or in how long it is, with the time itself beside it."""
    at = moment(value)
    if at is None:
        return Markup("–")
    seconds = (datetime.now(UTC) - at).total_seconds()
    text = f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"
    if abs(seconds) < 1:
        text = "now"
    exact = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), exact, text)


def number(value: float | None) -> str:
    """Return a number with its thousands apart."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def size(n: int | None) -> str:
    """Return a number of bytes in its largest unit: `48 MB`."""
    return "–" if n is None else wording.size(n)


def jobs_of(n: int, does: str, do: str) -> str:
    """Return how many jobs do something, as a sentence: `1 job waits.`, `2,000 jobs wait.`"""
    return f"{number(n)} {'job' if n == 1 else 'jobs'} {does if n == 1 else do}."


def percent(value: float | None) -> str:
    """Return a share as a percentage."""
    return "–" if value is None else f"{100 * value:.1f} %"


def pretty(value: Any) -> str:
    """Return a value as JSON to be read; characters that turn the direction of a text around stand as escapes."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True).translate(_TURNING)


def state(name: str) -> Markup:
    """Return a state as a word with its colour."""
    return Markup('<span class="state state-{}">{}</span>').format(escape(name), name)


#: What templates know beside Jinja's own.
WORDS: dict[str, Any] = {
    "jobs_of": jobs_of,
    "milliseconds": milliseconds,
    "number": number,
    "percent": percent,
    "pretty": pretty,
    "size": size,
    "span": span,
    "state_of": state,
    "when": when,
}
