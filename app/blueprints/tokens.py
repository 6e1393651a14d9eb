"""API tokens over HTTP: made, listed and revoked by an organisation's administrators."""

from __future__ import annotations

import functools
from typing import Annotated, Any

from flask import Blueprint, current_app
from pydantic import Field, StringConstraints

from app.auth import current_principal, requires
from app.extensions import db
from app.models.api_token import ApiToken
from app.models.base import utcnow
from app.policies import SCOPES, check_scopes
from app.services import tokens
from flask_understudy.contrib.api import Answer, Body, Instant, Problem, invalid, not_found, once, operation
from flask_understudy.contrib.webhooks.sealing import Seal

bp = Blueprint("tokens", __name__, url_prefix="/api/jobs/tokens")


TAG = "Tokens"


class TokenOrder(Body):
    """The token that is wanted."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    scopes: list[str] = Field(min_length=1, max_length=len(SCOPES))
    expires_at: Instant | None = None


class Token(Body):
    """A token, without its secret."""

    id: str
    name: str
    prefix: str = Field(description="What its secret begins with.")
    scopes: list[str]
    user_id: str | None
    created_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None
    last_used_at: Instant | None

    @classmethod
    def of(cls, token: ApiToken) -> Token:
        """Return a token as the API shows it."""
        return cls(
            id=token.id,
            name=token.name,
            prefix=token.prefix,
            scopes=token.scopes,
            user_id=token.user_id,
            created_at=token.created_at or utcnow(),
            expires_at=token.expires_at,
            revoked_at=token.revoked_at,
            last_used_at=token.last_used_at,
        )


class Tokens(Body):
    """All tokens of an organisation."""

    data: list[Token]


class MadeToken(Body):
    """A new token."""

    token: Token
    secret: str = Field(description="Shown this once; send it as a bearer token.")


@bp.get("")
@requires("admin")
@operation(tag=TAG, answers={200: Tokens})
def listing() -> Any:
    """List the organisation's tokens, without their secrets."""
    return Tokens(data=[Token.of(token) for token in tokens.all_of(current_principal().tenant)])


@bp.post("")
@requires("admin")
@operation(tag=TAG, body=TokenOrder, answers={201: MadeToken})
def create(body: TokenOrder) -> Any:
    """Make a token; its secret is shown this once. Nobody grants what they do not have."""
    caller, create_it = current_principal(), functools.partial(_create, body)
    return once(db.session, caller.tenant, caller.subject, create_it, seal=Seal(current_app))


def _create(body: TokenOrder) -> tuple[dict[str, Any], int]:
    token, secret = make(body)
    return MadeToken(token=Token.of(token), secret=secret).model_dump(mode="json", by_alias=True), 201


def make(order: TokenOrder) -> tuple[ApiToken, str]:
    """Make a token of the caller's organisation; return it with its secret. The caller of this commits.

    Raises:
        Problem: 422, a scope is unknown or the end has passed; 403, the caller lacks a scope.
    """
    caller = current_principal()
    try:
        wanted = check_scopes(order.scopes)
    except ValueError as error:
        raise invalid("scopes", str(error)) from None
    if missing := sorted(wanted - caller.scopes):
        raise Problem(403, detail=f"You do not have the scope {missing[0]!r} yourself.")
    if order.expires_at is not None and order.expires_at <= utcnow():
        raise invalid("expiresAt", "That time has passed.")
    token, secret = tokens.create(
        tenant_id=caller.tenant,
        name=order.name,
        scopes=wanted,
        expires_at=order.expires_at,
        by=caller.subject,
    )
    db.session.flush()
    return token, secret


@bp.delete("/<token_id>")
@requires("admin")
@operation(tag=TAG, answers={204: Answer(description="It is revoked.")})
def revoke(token_id: str) -> tuple[str, int]:
    """End a token: from now on every call with it is a 401."""
    end(token_id)
    db.session.commit()
    return "", 204


def end(token_id: str) -> None:
    """End a token of the caller's organisation. The caller of this commits.

    Raises:
        Problem: 404, it has none with that id.
    """
    caller = current_principal()
    token = db.session.get(ApiToken, token_id) if "\x00" not in token_id else None
    if token is None or token.tenant_id != caller.tenant:
        raise not_found()
    tokens.revoke(token, by=caller.subject)
