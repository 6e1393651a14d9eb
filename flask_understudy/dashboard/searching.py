"""The search box: words and qualifiers, as `state:failed type:email:welcome error:"no route" payload.order.id:42`.

Double quotes keep together what has spaces, and make text of what looks like a qualifier; one that is meant is doubled
within them. Every other character, apostrophes and backslashes too, is what it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any

from ..ledger import STATES
from ..rest.finding import ID_START

LONGEST, LONGEST_TEXT = 1000, 200

_PART = re.compile(r'(?:"(?:[^"]|"")*"|[^\s"])+')
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_QUALIFIED = re.compile(r'(-?)(payload\.[^:"]*|[A-Za-z][\w.-]*):(.*)', re.DOTALL)
_SPAN = re.compile(r"(\d{1,5})\s*(s|min|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NUMBER = re.compile(r"(>=|<=|>|<|)(-?\d{1,9})")

#: What can stand before a colon, and what it means.
QUALIFIERS = {
    "state": "one of " + ", ".join(STATES),
    "queue": "the queue",
    "type": "the job's type",
    "tag": "a tag it has",
    "id": "its id, or how that begins",
    "attempt": "attempts made: attempt:2, attempt:>1",
    "priority": "its priority: priority:3, priority:<0",
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
SYNONYMS = {"status": "state"}
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


def asked_for(given: Mapping[str, str], types: Collection[str] = ()) -> Search:
    """Return what the fields of a page ask for: its search box, `q`, and the tab of a state, `status`.

    Args:
        given: The fields.
        types: The types of jobs there are; see `read`.
    """
    search, tab = read(given.get("q", ""), types), given.get("status", "")
    if search.problem is not None or tab not in STATES:
        return search
    states = search.wanted.get("status", [tab])
    if tab not in states:
        said = " or ".join(f"state:{name}" for name in states)
        problem = f"The search says {said} and the tab {tab}; no job is both. Take one of them away."
        return Search(search.text, problem=problem)
    return replace(search, wanted={**search.wanted, "status": [tab]}, tab=tab)


def qualifier(name: str, value: str) -> str:
    """Return a qualifier as `read` takes it, whatever its value holds."""
    is_plain = value and '"' not in value and not any(map(str.isspace, value))
    return f"{name}:{value}" if is_plain else '{}:"{}"'.format(name, value.replace('"', '""'))


def read(text: str, types: Collection[str] = ()) -> Search:
    """Return what a search box asks for; what cannot be read is said, and nothing is searched.

    Args:
        text: What it says.
        types: The types of jobs there are: `email:welcome` is text when one of them begins with `email:`.
    """
    text = text.strip()[:LONGEST]
    if text.count('"') % 2:
        return Search(text, problem="The search cannot be read: a quotation mark is not closed.")
    wanted: dict[str, Any] = {}
    words: list[str] = []
    try:
        for part in _PART.findall(text):
            if not _take(wanted, part, types):
                words.append(_unquoted(part))
        if words:
            _once(wanted, "q", "The words of a search", " ".join(words))
    except ValueError as problem:
        return Search(text, problem=f"The search cannot be read: {problem}.")
    return Search(text, wanted)


def _take(wanted: dict[str, Any], part: str, types: Collection[str]) -> bool:
    """Add a qualifier to what is wanted; return whether the part is one.

    Raises:
        ValueError: It looks like one and is none, or its value cannot be.
    """
    found = _QUALIFIED.fullmatch(part)
    if found is None:
        return False
    is_without, given, value = bool(found[1]), found[2], _unquoted(found[3])
    name = "payload." if given.startswith("payload.") else SYNONYMS.get(given.lower(), given.lower())
    if name not in QUALIFIERS:
        if _is_text(given, value, types):
            return False
        raise ValueError(_unknown(given, part))
    if is_without:
        raise ValueError(f"{part} would leave jobs out, and a search says what jobs are; in double quotes it is text")
    if not value or given == "payload.":
        raise ValueError(f"{given}: says nothing; {QUALIFIERS[name]}")
    if name == "payload.":
        wanted.setdefault("payload", []).append(f"{given.removeprefix('payload.')}:{value}")
    elif name in _LISTS:
        key, value = _of_list(name, value)
        wanted.setdefault(key, []).append(value)
    elif name in _TEXTS:
        _once(wanted, _TEXTS[name], f"{name}:", value)
    else:
        for key, bound in (_times if name in {"created", "finished"} else _numbers)(name, value).items():
            _once(wanted, key, f"{name}:", bound)
    return True


def _is_text(name: str, value: str, types: Collection[str]) -> bool:
    """Whether what has a colon is text all the same: the name of a type, an address, a time, an error's name."""
    is_type = any(known.startswith(f"{name}:") for known in types)
    return is_type or len(name) == 1 or not name.islower() or not value or value.startswith(("/", "\\"))


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda found: found[1].replace('""', '"'), text)


def _unknown(name: str, part: str) -> str:
    near = get_close_matches(name, [*QUALIFIERS, *SYNONYMS], 1, 0.7)
    meant = f" (did you mean {'payload.name' if near[0] == 'payload.' else near[0]}:?)" if near else ""
    there = ", ".join(known for known in QUALIFIERS if not known.endswith(".")) + " and payload.name"
    quoted = '"' + _unquoted(part) + '"'
    return f"no qualifier is named {name}{meant}; there are {there}; {quoted} in quotes is searched as text"


def _once(wanted: dict[str, Any], key: str, what: str, value: Any) -> None:
    if key in wanted:
        raise ValueError(f"{what} can be given once")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"{what} may have up to {LONGEST_TEXT} characters")
    wanted[key] = value


def _of_list(name: str, value: str) -> tuple[str, str]:
    """Return the field for a value of those that may be given several times, and the value as it takes it."""
    if name == "state" and (value := value.lower()) not in STATES:
        raise ValueError(f"{value[:40]!r} is no state; there are {', '.join(STATES)}")
    is_start = name == "id" and len(value) < 36 and ID_START.fullmatch(value.lower())
    return ("idStart", value.lower()) if is_start else (_LISTS[name], value)


def _times(name: str, value: str) -> dict[str, str]:
    sign, rest = (value[0], value[1:]) if value[0] in "<>" else ("<", value)
    found = _SPAN.fullmatch(rest)
    if found is None:
        raise ValueError(f"{name}:{value} takes a span such as {name}:<2h, with s, min, h, d or w")
    at = datetime.now(UTC) - timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    return {f"{name}{'After' if sign == '<' else 'Before'}": at.isoformat(timespec="seconds")}


def _numbers(name: str, value: str) -> dict[str, int]:
    found = _NUMBER.fullmatch(value)
    if found is None:
        raise ValueError(f"{name}:{value} takes a whole number such as {name}:2, {name}:>1 or {name}:<=3")
    least, most, n = f"{name}From", f"{name}To", int(found[2])
    return {"": {least: n, most: n}, ">": {least: n + 1}, "<": {most: n - 1}, ">=": {least: n}, "<=": {most: n}}[
        found[1]
    ]
