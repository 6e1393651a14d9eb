"""Who is calling: bearer tokens, and the decorator that guards every route.

A token is 256 random bits behind a prefix: ``us_`` for an API token, ``uss_`` for a signed-in
person's session. The database has the SHA-256 digest only, so a copy of it opens nothing.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import sqlalchemy as sa
from flask import Request, Response, after_this_request, current_app, request

from app.extensions import db, jobs
from app.models.api_token import ApiToken
from app.models.base import utcnow
from app.models.session import Session
from app.models.user import User
from app.policies import scopes_of
from flask_understudy import Principal
from flask_understudy.contrib.api import Problem, read_raw
from flask_understudy.contrib.webhooks import SignatureInvalid, verify

P = ParamSpec("P")
R = TypeVar("R")

API_TOKEN = "us_"
SESSION_TOKEN = "uss_"

_TOKEN = sa.select(
    ApiToken.id,
    ApiToken.tenant_id,
    ApiToken.user_id,
    ApiToken.digest,
    ApiToken.scopes,
    ApiToken.expires_at,
    ApiToken.revoked_at,
    ApiToken.last_used_at,
)

#: Where a request keeps who sent it: with the request, not with an app context it may share.
_CALLER = "app.principal"

#: How stale ``last_used_at`` may be: one write a minute and token, not one a request.
LAST_USED_RESOLUTION = dt.timedelta(minutes=1)


def new_secret(kind: str) -> str:
    """Return a fresh secret, shown to its owner once and never stored."""
    return kind + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return what the database keeps of ``secret``: SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def requires(scope: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Guard a view: 401 without a valid token, 403 when the token lacks ``scope``."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            principal = current_principal()
            if scope not in principal.scopes:
                raise Problem(403, detail=f"This needs a token with the scope {scope!r}.")
            return view(*args, **kwargs)

        guarded.__guard__ = scope  # type: ignore[attr-defined]
        return guarded

    return decorate


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Mark a view as open to everybody; a test sees that each is marked or guarded."""
    view.__guard__ = "public"  # type: ignore[attr-defined]
    return view


def signed(setting: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Guard a view for machines: the body is signed with the secret of that setting, or it is a 401 (P11).

    Without a secret there is no such view: a 404 that says which setting opens it.
    """

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            secret = current_app.config.get(setting) or ""
            if not secret:
                raise Problem(404, detail=f"Nobody can report to this service, as {setting} is not set.")
            headers = request.headers
            try:
                verify(
                    secret,
                    headers.get("X-Webhook-Timestamp", ""),
                    headers.get("X-Webhook-Signature", ""),
                    read_raw(),
                )
            except SignatureInvalid as error:
                raise Problem(401, detail=str(error)) from None
            return view(*args, **kwargs)

        guarded.__guard__ = "signed"  # type: ignore[attr-defined]
        return guarded

    return decorate


def current_principal() -> Principal:
    """Return who is calling.

    Raises:
        Problem: 401 without a token, or with one that is unknown, expired or revoked.
    """
    principal = optional_principal()
    if principal is None:
        raise _unauthorised("This needs a token: send 'Authorization: Bearer …'.")
    return principal


def optional_principal() -> Principal | None:
    """Return who is calling, or None when nobody says so; a wrong token is still a 401."""
    if _CALLER not in request.environ:
        request.environ[_CALLER] = _authenticate(request)
    principal: Principal | None = request.environ[_CALLER]
    return principal


def current_user() -> User | None:
    """Return the person behind the caller; None for a machine's token."""
    return db.session.get(User, current_principal().subject)


@jobs.authorizer
def who(incoming: Request) -> Principal | None:
    """Tell the library who is calling: its doors and the jobs queued in a request ask here."""
    try:
        return optional_principal()
    except Problem:
        return None


def _unauthorised(detail: str) -> Problem:
    return Problem(401, detail=detail, headers={"WWW-Authenticate": 'Bearer realm="api"'})


def _authenticate(incoming: Request) -> Principal | None:
    header = incoming.headers.get("Authorization", "")
    if not header:
        return None
    kind, _, secret = header.partition(" ")
    secret = secret.strip()
    principal = None
    if kind.lower() == "bearer" and len(secret) <= 200:
        if secret.startswith(SESSION_TOKEN):
            principal = _from_session(secret)
        elif secret.startswith(API_TOKEN):
            principal = _from_api_token(secret)
    if principal is None:
        raise _unauthorised("The token is unknown, expired or revoked.")
    return principal


def _from_api_token(secret: str) -> Principal | None:
    digest, now = digest_of(secret), utcnow()
    # On a connection of its own: the request's session starts clean.
    with db.engine.connect() as connection:
        row = connection.execute(_TOKEN.where(ApiToken.digest == digest)).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    if row.revoked_at or (row.expires_at and row.expires_at <= now):
        return None
    if row.last_used_at is None or now - row.last_used_at > LAST_USED_RESOLUTION:
        _record_use(row.id, now)
    return Principal(
        subject=row.user_id or f"token:{row.id}",
        tenant=row.tenant_id,
        scopes=frozenset(row.scopes),
    )


def _record_use(token_id: str, now: dt.datetime) -> None:
    # After the view, whose writes are committed or will never be: on SQLite two writers in one request would wait for
    # each other.
    @after_this_request
    def record(response: Response) -> Response:
        db.session.rollback()
        with db.engine.begin() as connection:
            connection.execute(sa.update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=now))
        return response


def _from_session(secret: str) -> Principal | None:
    digest = digest_of(secret)
    statement = (
        sa.select(Session.digest, Session.tenant_id, Session.user_id, User.role)
        .join(User, User.id == Session.user_id)
        .where(Session.digest == digest, Session.expires_at > utcnow())
    )
    with db.engine.connect() as connection:
        row = connection.execute(statement).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    return Principal(subject=row.user_id, tenant=row.tenant_id, scopes=scopes_of(row.role))
