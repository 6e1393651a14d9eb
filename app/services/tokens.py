"""API tokens: made, listed, revoked. The caller commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from app import auth
from app.extensions import db
from app.models.api_token import ApiToken
from app.models.base import new_id, utcnow
from app.policies import SCOPES, check_scopes
from app.services import audit

#: Characters of the secret that are shown afterwards to recognise a token.
PREFIX_LENGTH = 10


def create(
    *,
    tenant_id: str,
    name: str,
    scopes: Iterable[str],
    user_id: str | None = None,
    expires_at: dt.datetime | None = None,
    by: str = "cli",
) -> tuple[ApiToken, str]:
    """Make a token; return its row and the secret, which can be shown this once only.

    Args:
        tenant_id: The organisation that it opens, and no other.
        name: What it is for.
        scopes: Out of ``app.policies.SCOPES``, at least one.
        user_id: The person it acts for; None for a machine.
        expires_at: When it ends; None for never.
        by: Who makes it, for the audit log.

    Raises:
        ValueError: No scope, or an unknown one.
    """
    granted = check_scopes(scopes)
    if not granted:
        raise ValueError(f"a token needs a scope; valid scopes are {', '.join(SCOPES)}")
    secret = auth.new_secret(auth.API_TOKEN)
    token = ApiToken(
        id=new_id(),
        tenant_id=tenant_id,
        user_id=user_id,
        name=name,
        prefix=secret[:PREFIX_LENGTH],
        digest=auth.digest_of(secret),
        scopes=[scope for scope in SCOPES if scope in granted],
        expires_at=expires_at,
    )
    db.session.add(token)
    audit.record("token.create", tenant_id=tenant_id, subject=by, target=token.id, scopes=token.scopes)
    return token, secret


def all_of(tenant_id: str) -> Sequence[ApiToken]:
    """Return the tokens of a tenant, newest first."""
    statement = sa.select(ApiToken).where(ApiToken.tenant_id == tenant_id)
    return db.session.scalars(statement.order_by(ApiToken.created_at.desc())).all()


def revoke(token: ApiToken, by: str = "cli") -> None:
    """End a token; from the commit on every call with it is a 401."""
    if token.revoked_at is None:
        token.revoked_at = utcnow()
        audit.record("token.revoke", tenant_id=token.tenant_id, subject=by, target=token.id)
