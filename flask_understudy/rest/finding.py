"""Reading the query of a search, and writing its cursors."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Literal

from flask import current_app, request
from itsdangerous import BadSignature, URLSafeSerializer
from pydantic import AfterValidator, Field, StringConstraints

from ..contrib.api import Body, Instant, Many, Problem, invalid
from ..ledger import STATES
from ..ledger.filter import Filter
from ..ledger.scope import Scope
from ..ledger.search import Place, Search
from ..operations.bulk import known
from ..redaction import SECRET
from ..state import State
from .doors import Caller

MOST_ALTERNATIVES = 100
PAYLOAD_DEPTH = 8

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


Several = Annotated[Many, AfterValidator(_limited)]
States = Annotated[Several, AfterValidator(_states)]


class Wanted(Body):
    """Which jobs: repeated parameters are alternatives, different ones must all hold."""

    status: States = Field(default=[], description="States.")
    queue: Several = []
    type: Several = Field(default=[], description="Names of actors.")
    tag: Several = []
    id: Several = []
    tenant: Several = Field(default=[], description="For callers who may see every tenant.")
    owner: Word | None = None
    q: Word | None = Field(default=None, description="Part of the id, type, deduplication key or error.")
    error: Word | None = Field(default=None, description="Part of the error.")
    fingerprint: Word | None = Field(default=None, description="Of the error; see /failures.")
    correlation_id: Word | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    finished_after: Instant | None = None
    finished_before: Instant | None = None
    payload: Several = Field(
        default=[], description="`path:value`, such as `order.id:42`: an argument's name, then keys or positions in it."
    )


class PageOf(Body):
    """Which part of a list."""

    limit: int = Field(50, ge=1, le=1000)
    cursor: Annotated[str, StringConstraints(max_length=500)] | None = Field(
        default=None, description="`nextCursor` of the page before."
    )


class JobsQuery(Wanted, PageOf):
    """A search."""

    sort: Literal["-created_at", "created_at", "-finished_at", "finished_at"] = Field(
        default="-created_at", description="Ended jobs alone are always sorted by their end, others by their creation."
    )
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
    if not wanted.tenant:
        return who.scope
    if not who.may("tenants") and set(wanted.tenant) != {who.principal.tenant}:
        raise Problem(403, detail="Seeing other tenants' jobs needs the scope 'tenants'.")
    if len(wanted.tenant) > 1:
        raise invalid("tenant", "One tenant at a time can be searched.")
    return Scope(wanted.tenant[0])


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
        owner=wanted.owner,
        text=wanted.q,
        error=wanted.error,
        fingerprint=wanted.fingerprint,
        correlation_id=wanted.correlation_id,
        created_after=wanted.created_after,
        created_before=wanted.created_before,
        finished_after=wanted.finished_after,
        finished_before=wanted.finished_before,
        payload=tuple(map(_payload, wanted.payload)),
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


def _payload(text: str) -> tuple[tuple[str, ...], str]:
    try:
        keys, value = path_and_value(text)
    except ValueError as problem:
        raise invalid("payload", str(problem)) from None
    if any(SECRET.search(key) for key in keys):
        raise Problem(403, detail="Values that are withheld cannot be searched either.")
    return keys, value


def cursor_of(place: Place | None, query: PageOf) -> str | None:
    """Return a place in the answers to a query as text for the caller to hand back."""
    return None if place is None else str(_cursors().dumps([place[0].isoformat(), place[1], _question(query)]))


def place_of(query: PageOf) -> Place | None:
    """Return the place that a query goes on from.

    Raises:
        Problem: 422, its cursor is none of ours, or of another query.
    """
    if query.cursor is None:
        return None
    try:
        moment, id, question = _cursors().loads(query.cursor)
        place = datetime.fromisoformat(moment).astimezone(UTC), str(id)
    except (BadSignature, ValueError, TypeError):
        raise invalid("cursor", "The cursor is none of ours; take 'nextCursor' of the page before.") from None
    if question != _question(query):
        raise invalid("cursor", "The cursor belongs to another query; only 'limit' may differ from page to page.")
    return place


def _question(query: PageOf) -> str:
    """Return what tells one query from another, whatever part of its answer is wanted."""
    wanted = query.model_dump_json(exclude={"cursor", "limit", "count"})
    path = request.path if request.url_rule is None else request.url_rule.rule
    arguments = sorted((request.view_args or {}).items())
    return hashlib.sha256(f"{path} {arguments} {wanted}".encode()).hexdigest()[:12]


def _cursors() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.secret_key or "", salt="understudy-cursor")
