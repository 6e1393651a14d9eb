"""Signing in and out."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from werkzeug.security import check_password_hash, generate_password_hash

from app import auth
from app.extensions import db
from app.models.base import new_id, utcnow
from app.models.session import Session
from app.models.tenant import Tenant
from app.models.user import User
from app.services import audit
from flask_understudy.contrib.api import Problem

SESSION_LASTS = dt.timedelta(days=14)

#: Checked when nobody has the address, so that the answer takes as long.
_NOBODY = generate_password_hash("nobody's password", "scrypt")


def sign_in(*, email: str, password: str, organization: str | None) -> tuple[Session, str]:
    """Start a session; return its row and its secret. The caller commits.

    Args:
        email: The address.
        password: The password.
        organization: The organisation's slug, for who is a member of several.

    Raises:
        Problem: 401 when address and password do not fit; 422 when the organisation is needed.
    """
    statement = sa.select(User).where(User.email == email, User.password_hash.is_not(None))
    if organization:
        statement = statement.join(Tenant).where(Tenant.slug == organization)
    candidates = db.session.scalars(statement.limit(10)).all()
    fitting = [u for u in candidates if check_password_hash(u.password_hash or "", password)]
    if not candidates:
        check_password_hash(_NOBODY, password)
    if not fitting:
        raise Problem(401, detail="The address and the password do not fit.")
    if len(fitting) > 1:
        raise Problem(
            422,
            detail="This address is a member of several organisations.",
            errors=[{"pointer": "/organization", "detail": "say which organisation"}],
        )
    return start(fitting[0])


def start(user: User) -> tuple[Session, str]:
    """Start a session for ``user``, whoever made sure that it is them."""
    secret = auth.new_secret(auth.SESSION_TOKEN)
    session = Session(
        id=new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        digest=auth.digest_of(secret),
        expires_at=utcnow() + SESSION_LASTS,
    )
    db.session.add(session)
    audit.record("session.start", tenant_id=user.tenant_id, subject=user.id, target=session.id)
    return session, secret


def end(secret: str) -> None:
    """Forget the session of ``secret``; without one there is nothing to do."""
    db.session.execute(sa.delete(Session).where(Session.digest == auth.digest_of(secret)))


def end_all(user: User) -> None:
    """Sign ``user`` out everywhere."""
    db.session.execute(sa.delete(Session).where(Session.user_id == user.id))
