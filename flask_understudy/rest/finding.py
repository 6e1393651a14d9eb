"""Reading the query of a search."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from ..contrib.api import Body, Instant, Many, Problem, invalid
from ..ledger import STATES
from ..ledger.filter import Filter
from ..ledger.scope import Scope
from ..ledger.search import Search
from ..operations.bulk import known
from ..redaction import SECRET, redacted_text, withholds, withholds_all
from ..state import State
from .callers import Caller
from .paging import PageOf

MOST_ALTERNATIVES = 100
PAYLOAD_DEPTH = 8

#: What a column for numbers holds.
MOST_NUMBER = 2**31 - 1

#: The beginning of a job's id, such as the eight characters that lists show.
ID_START = re.compile(r"[0-9a-f-]{4,36}")

#: Below them a message holds its arguments, such as a callback that is one's argument.
_OF_MESSAGES = frozenset({"args", "kwargs"})

Word = Annotated[str, StringConstraints(max_length=200)]


def _limited(values: list[str]) -> list[str]:
    if len(values) > MOST_ALTERNATIVES or any(len(value) > 1000 for value in values):
        raise ValueError(f"up to {MOST_ALTERNATIVES} values of up to 1000 characters are accepted")
    return values


def _states(values: list[str]) -> list[str]:
    unknown = [value for value in values if value not in STATES]
    if unknown:
        raise ValueError(f"{unknown[0][:40]!r} is no state; there are {', '.join(STATES)}")
    return values


def _starts(values: list[str]) -> list[str]:
    wrong = next((value for value in values if not ID_START.fullmatch(value)), None)
    if wrong is not None:
        raise ValueError(f"{wrong[:40]!r} begins no id: take 4 or more of its characters, 0-9, a-f and -")
    return values


Several = Annotated[Many, AfterValidator(_limited)]
States = Annotated[Several, AfterValidator(_states)]
Starts = Annotated[Several, AfterValidator(_starts)]
Number = Annotated[int, Field(ge=-MOST_NUMBER, le=MOST_NUMBER)]


class Wanted(Body):
    """Which jobs: repeated parameters are alternatives, different ones must all hold."""

    status: States = Field(default=[], description="States.")
    queue: Several = []
    type: Several = Field(default=[], description="Names of actors.")
    tag: Several = []
    id: Several = []
    id_start: Starts = Field(default=[], description="How the id begins, 4 characters or more; an alternative to `id`.")
    tenant: Several = Field(default=[], description="For callers who may see every tenant.")
    owner: Word | None = None
    q: Word | None = Field(default=None, description="Part of the id, type, deduplication key or error.")
    error: Word | None = Field(default=None, description="Part of the error.")
    fingerprint: Word | None = Field(default=None, description="Of the error; see /failures.")
    correlation_id: Word | None = None
    batch_id: Word | None = Field(default=None, description="The batch that they are part of.")
    attempt_from: Number | None = Field(default=None, description="This many attempts made, or more.")
    attempt_to: Number | None = Field(default=None, description="This many attempts made at the most.")
    priority_from: Number | None = Field(default=None, description="This priority or a higher number.")
    priority_to: Number | None = Field(default=None, description="This priority or a lower number.")
    created_after: Instant | None = None
    created_before: Instant | None = None
    finished_after: Instant | None = None
    finished_before: Instant | None = None
    payload: Several = Field(
        default=[], description="`path:value`, such as `order.id:42`: an argument's name, then keys or positions in it."
    )


class PageOfTenant(PageOf):
    """Which part of a list of what tenants have."""

    tenant: Word | None = Field(default=None, description="For callers who may see every tenant.")


class Sorted(Wanted, PageOf):
    """A search, in an order."""

    sort: Literal["-created_at", "created_at", "-finished_at", "finished_at"] = Field(
        default="-created_at", description="Ended jobs alone are always sorted by their end, others by their creation."
    )

    @property
    def is_newest_first(self) -> bool:
        """Whether the latest job comes first."""
        return self.sort.startswith("-")


class JobsQuery(Sorted):
    """A search."""

    count: bool = Field(default=False, description="Whether to count the jobs as well.")


def search_of(state: State, who: Caller, wanted: Wanted, *, newest_first: bool = True) -> Search:
    """Return the search that a caller asks for.

    Raises:
        Problem: 403, a filter that the caller may not use; 422, one that cannot be read.
    """
    return Search(
        state.database, scope_of(who, wanted), filter_of(state, who, wanted), known(state), newest_first=newest_first
    )


def scope_of(who: Caller, wanted: Wanted) -> Scope:
    """Return the part of the ledger that is searched."""
    if len(set(wanted.tenant)) > 1:
        raise invalid("tenant", "One tenant at a time can be searched.")
    return within(who, wanted.tenant[0] if wanted.tenant else None)


def within(who: Caller, tenant: str | None) -> Scope:
    """Return what a caller sees of one tenant, or of all that it may see.

    Raises:
        Problem: 403, the tenant is another one and the caller may not see it.
    """
    if tenant is None:
        return who.scope
    if tenant != who.principal.tenant and not who.may("tenants"):
        raise Problem(403, detail="Seeing other tenants needs the scope 'tenants'.")
    return Scope(tenant)


def filter_of(state: State, who: Caller, wanted: Wanted) -> Filter:
    """Return the filter of a search."""
    if wanted.payload and not who.may("payload"):
        raise Problem(403, detail="Searching payloads needs the scope 'payload'.")
    return Filter(
        states=tuple(wanted.status),
        queues=tuple(wanted.queue),
        actors=tuple(wanted.type),
        tags=tuple(wanted.tag),
        ids=tuple(wanted.id),
        id_starts=tuple(wanted.id_start),
        owner=wanted.owner,
        text=wanted.q,
        error=wanted.error,
        fingerprint=wanted.fingerprint,
        correlation_id=wanted.correlation_id,
        batch_id=wanted.batch_id,
        attempt_from=wanted.attempt_from,
        attempt_to=wanted.attempt_to,
        priority_from=wanted.priority_from,
        priority_to=wanted.priority_to,
        created_after=wanted.created_after,
        created_before=wanted.created_before,
        finished_after=wanted.finished_after,
        finished_before=wanted.finished_before,
        payload=tuple(_payload(state, text) for text in wanted.payload),
        only_shown=bool(wanted.payload),
    )


def path_and_value(text: str) -> tuple[tuple[str, ...], str]:
    """Return the keys of a path into a job's arguments, and the value that shall stand there.

    Raises:
        ValueError: The text is none such; says what is.
    """
    path, colon, value = text.partition(":")
    keys = tuple(path.split("."))
    if not colon or not all(keys) or len(keys) > PAYLOAD_DEPTH:
        raise ValueError(f"{text[:80]!r} is no path and value such as 'order.id:42'.")
    if '"' in path:
        raise ValueError(f"{text[:80]!r} has a quotation mark in its path, and SQLite finds no such key.")
    return keys, value


def _payload(state: State, text: str) -> tuple[tuple[str, ...], str]:
    try:
        keys, value = path_and_value(text)
    except ValueError as problem:
        raise invalid("payload", str(problem)) from None
    is_named = any(withholds(actor, keys[0]) for actor in state.broker.actors.values() if not withholds_all(actor))
    is_inside_a_message = not _OF_MESSAGES.isdisjoint(keys[1:])  # whose own actor would have to be asked
    if is_named or is_inside_a_message or any(map(SECRET.search, keys)) or redacted_text(value) != value:
        raise Problem(403, detail="Values that are withheld cannot be searched either.")
    return keys, value
