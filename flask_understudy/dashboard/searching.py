"""The search box: words and qualifiers, as `state:failed type:email:welcome error:"no route" payload.order.id:42`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ..ledger import STATES

_SPAN = re.compile(r"(\d{1,5})\s*(s|min|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}

#: What can stand before a colon, and what it means; the names of `Wanted`'s fields.
QUALIFIERS = {
    "state": "one of " + ", ".join(STATES),
    "queue": "the queue",
    "type": "the job's type",
    "tag": "a tag it has",
    "id": "its id",
    "tenant": "the tenant, for operators",
    "owner": "who asked for it",
    "error": "part of its error",
    "fingerprint": "the kind of its error",
    "correlation": "what the jobs of one request share",
    "batch": "the batch it is part of",
    "payload.": "a value in its arguments: payload.order.id:42",
    "created": "younger than (created:<2h) or older than (created:>2h)",
    "finished": "ended within (finished:<1d) or before (finished:>1d)",
}
_LISTS = {"state": "status", "queue": "queue", "type": "type", "tag": "tag", "id": "id", "tenant": "tenant"}
_TEXTS = {
    "owner": "owner",
    "error": "error",
    "fingerprint": "fingerprint",
    "correlation": "correlationId",
    "batch": "batchId",
}


@dataclass(frozen=True, slots=True)
class Search:
    """What a search box says.

    Attributes:
        text: As it was written.
        wanted: The fields of `rest.finding.Wanted`, by the names of the API.
        problem: What cannot be read; None = nothing.
        tab: The state whose tab was chosen; empty = all.
    """

    text: str
    wanted: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    tab: str = ""

    @property
    def whole(self) -> str:
        """The search with its tab, as the search box has it."""
        return f"{self.text} {f'state:{self.tab}' if self.tab else ''}".strip()


def asked_for(given: Mapping[str, str]) -> Search:
    """Return what the fields of a page ask for: its search box, `q`, and the tab of a state, `status`."""
    search, tab = read(given.get("q", "")), given.get("status", "")
    if search.problem is not None or tab not in STATES:
        return search
    states = search.wanted.get("status", [tab])
    if tab not in states:
        said = " or ".join(f"state:{name}" for name in states)
        problem = f"The search says {said} and the tab {tab}; no job is both. Take one of them away."
        return Search(search.text, problem=problem)
    return replace(search, wanted={**search.wanted, "status": [tab]}, tab=tab)


def read(text: str) -> Search:
    """Return what a search box asks for; what cannot be read is said, and nothing is searched."""
    text = text.strip()[:1000]
    wanted: dict[str, Any] = {}
    words: list[str] = []
    try:
        for part in shlex.split(text):
            name, colon, value = part.partition(":")
            if colon and value and _take(wanted, name.lower(), value):
                continue
            words.append(part)
    except ValueError as problem:
        said = "a quotation mark is not closed" if "quotation" in str(problem) else str(problem)
        return Search(text, problem=f"The search cannot be read: {said}.")
    if words:
        wanted["q"] = " ".join(words)
    return Search(text, wanted)


def _take(wanted: dict[str, Any], name: str, value: str) -> bool:
    """Add a qualifier to what is wanted; return whether it is one.

    Raises:
        ValueError: Its value cannot be.
    """
    if name in _LISTS:
        wanted.setdefault(_LISTS[name], []).append(value)
    elif name in _TEXTS:
        wanted[_TEXTS[name]] = value
    elif name.startswith("payload.") and len(name) > len("payload."):
        wanted.setdefault("payload", []).append(f"{name.removeprefix('payload.')}:{value}")
    elif name in {"created", "finished"}:
        wanted.update(_times(name, value))
    else:
        return False
    return True


def _times(name: str, value: str) -> dict[str, str]:
    sign, rest = (value[0], value[1:]) if value[0] in "<>" else ("<", value)
    found = _SPAN.fullmatch(rest)
    if found is None:
        raise ValueError(f"{name}:{value} takes a span such as {name}:<2h, with s, min, h, d or w")
    at = datetime.now(UTC) - timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    return {f"{name}{'After' if sign == '<' else 'Before'}": at.isoformat(timespec="seconds")}
