"""API tokens over HTTP: made, listed and revoked by an organisation's administrators."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint
from pydantic import Field, StringConstraints

from app.auth import current_principal, requires
from app.extensions import db
from app.models.api_token import ApiToken
from app.models.base import utcnow
from app.policies import SCOPES, check_scopes
from app.services import tokens
from flask_understudy.contrib.api import Body, Instant, Problem, instant, invalid, not_found, once, read_body

bp = Blueprint("tokens", __name__, url_prefix="/api/jobs/tokens")


class Order(Body):
    """The token that is wanted."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    scopes: list[str] = Field(min_length=1, max_length=len(SCOPES))
    expires_at: Instant | None = None


@bp.get("")
@requires("admin")
def listing() -> dict[str, Any]:
    """List the organisation's tokens, without their secrets."""
    return {"data": [shown(token) for token in tokens.all_of(current_principal().tenant)]}


@bp.post("")
@requires("admin")
def create() -> Any:
    """Make a token; its secret is shown this once. Nobody grants what they do not have."""
    caller = current_principal()
    return once(db.session, caller.tenant, caller.subject, _create)


def _create() -> tuple[dict[str, Any], int]:
    body, caller = read_body(Order), current_principal()
    try:
        wanted = check_scopes(body.scopes)
    except ValueError as error:
        raise invalid("scopes", str(error)) from None
    if missing := sorted(wanted - caller.scopes):
        raise Problem(403, detail=f"You do not have the scope {missing[0]!r} yourself.")
    if body.expires_at is not None and body.expires_at <= utcnow():
        raise invalid("expiresAt", "That time has passed.")
    token, secret = tokens.create(
        tenant_id=caller.tenant,
        name=body.name,
        scopes=wanted,
        expires_at=body.expires_at,
        by=caller.subject,
    )
    db.session.flush()
    return {"token": shown(token), "secret": secret}, 201


@bp.delete("/<token_id>")
@requires("admin")
def revoke(token_id: str) -> tuple[str, int]:
    """End a token: from now on every call with it is a 401."""
    caller = current_principal()
    token = db.session.get(ApiToken, token_id) if "\x00" not in token_id else None
    if token is None or token.tenant_id != caller.tenant:
        raise not_found()
    tokens.revoke(token, by=caller.subject)
    db.session.commit()
    return "", 204


def shown(token: ApiToken) -> dict[str, Any]:
    """Return a token as the API shows it."""
    return {
        "id": token.id,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": token.scopes,
        "userId": token.user_id,
        "createdAt": instant(token.created_at or utcnow()),
        "expiresAt": instant(token.expires_at),
        "revokedAt": instant(token.revoked_at),
        "lastUsedAt": instant(token.last_used_at),
    }
