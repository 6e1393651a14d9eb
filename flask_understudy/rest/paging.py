"""Lists come in parts: which one is wanted, and the cursor that leads on to the next."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from flask import current_app, request
from itsdangerous import BadSignature, URLSafeSerializer
from pydantic import Field, StringConstraints

from ..contrib.api import Body, Problem, invalid
from ..ledger.search import Place


class PageOf(Body):
    """Which part of a list."""

    limit: int = Field(50, ge=1, le=1000)
    cursor: Annotated[str, StringConstraints(max_length=500)] | None = Field(
        default=None, description="`nextCursor` of the page before."
    )


def cursor_of(place: Sequence[str | datetime] | None, query: PageOf) -> str | None:
    """Return a place in the answers to a query as text for the caller to hand back."""
    if place is None:
        return None
    keys = [key.isoformat() if isinstance(key, datetime) else key for key in place]
    return str(_cursors().dumps([*keys, _question(query)]))


def keys_of(query: PageOf, n: int) -> list[str] | None:
    """Return the `n` texts that a query goes on from, or None for the first part of a list.

    Raises:
        Problem: 422, its cursor is none of ours, or of another query.
    """
    if query.cursor is None:
        return None
    try:
        *keys, question = map(str, _cursors().loads(query.cursor))
    except (BadSignature, ValueError, TypeError):
        raise _foreign() from None
    if question != _question(query):
        raise invalid("cursor", "The cursor belongs to another query; only 'limit' may differ from page to page.")
    if len(keys) != n:
        raise _foreign()
    return keys


def pair_of(query: PageOf) -> tuple[str, str] | None:
    """Return the two texts that a query goes on from, or None for the first part of a list.

    Raises:
        Problem: As `keys_of`.
    """
    keys = keys_of(query, 2)
    return None if keys is None else (keys[0], keys[1])


def place_of(query: PageOf) -> Place | None:
    """Return the moment and the id that a query goes on from, or None for the first part of a list.

    Raises:
        Problem: As `keys_of`.
    """
    pair = pair_of(query)
    try:
        return None if pair is None else (datetime.fromisoformat(pair[0]).astimezone(UTC), pair[1])
    except ValueError:
        raise _foreign() from None


def _foreign() -> Problem:
    return invalid("cursor", "The cursor is none of ours; take 'nextCursor' of the page before.")


def _question(query: PageOf) -> str:
    """Return what tells one query from another, whatever part of its answer is wanted."""
    wanted = query.model_dump_json(exclude={"cursor", "limit", "count"})
    path = request.path if request.url_rule is None else request.url_rule.rule
    arguments = sorted((request.view_args or {}).items())
    return hashlib.sha256(f"{path} {arguments} {wanted}".encode()).hexdigest()[:12]


def _cursors() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.secret_key or "", salt="understudy-cursor")
