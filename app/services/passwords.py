"""A new password for who forgot the old one: a code by mail, then the code and a password."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Iterator

import sqlalchemy as sa
from flask import current_app
from werkzeug.security import generate_password_hash

from app.extensions import db
from app.models.base import new_id, utcnow
from app.models.password_reset_token import PasswordResetToken
from app.models.user import User
from app.services import audit, sessions
from app.services.accounts import PASSWORD_METHOD
from flask_understudy.contrib.api import Problem

CODE_LASTS = dt.timedelta(minutes=30)
CODE_DIGITS = 8
#: Wrong codes after which a code is dead: with eight digits, one guess in twenty million.
MAX_FAILURES = 5


def make_codes(email: str) -> Iterator[tuple[User, str]]:
    """Make a code for each membership of ``email``, ending the earlier ones. The caller commits."""
    for user in db.session.scalars(sa.select(User).where(User.email == email).limit(10)).all():
        code = "".join(secrets.choice("0123456789") for _ in range(CODE_DIGITS))
        _end_codes(user)
        db.session.add(
            PasswordResetToken(
                id=new_id(),
                tenant_id=user.tenant_id,
                user_id=user.id,
                digest=_digest(user, code),
                expires_at=utcnow() + CODE_LASTS,
            )
        )
        yield user, code


def set_password(*, email: str, code: str, password: str) -> None:
    """Set a new password and sign the person out everywhere. Commits, a wrong code too.

    Raises:
        Problem: 422 when the code is wrong, used, expired or was guessed at too often.
    """
    statement = (
        sa.select(PasswordResetToken, User)
        .join(User, User.id == PasswordResetToken.user_id)
        .where(
            User.email == email,
            PasswordResetToken.used_at.is_(None),
            PasswordResetToken.expires_at > utcnow(),
            PasswordResetToken.failures < MAX_FAILURES,
        )
        .with_for_update(of=PasswordResetToken)
    )
    open_codes = db.session.execute(statement).all()
    for token, user in open_codes:
        if hmac.compare_digest(token.digest, _digest(user, code)):
            user.password_hash = generate_password_hash(password, PASSWORD_METHOD)
            _end_codes(user)
            sessions.end_all(user)
            audit.record("password.reset", tenant_id=user.tenant_id, subject=user.id, target=user.id)
            db.session.commit()
            return
    for token, _ in open_codes:
        token.failures = PasswordResetToken.failures + 1
    db.session.commit()
    raise Problem(
        422,
        detail="The code is wrong, was used, or has expired.",
        errors=[{"pointer": "/code", "detail": "ask for a new code"}],
    )


def _end_codes(user: User) -> None:
    db.session.execute(
        sa.update(PasswordResetToken)
        .where(PasswordResetToken.user_id == user.id, PasswordResetToken.used_at.is_(None))
        .values(used_at=utcnow())
    )


def _digest(user: User, code: str) -> str:
    key = str(current_app.config["SECRET_KEY"]).encode()
    return hmac.new(key, f"reset:{user.id}:{code}".encode(), hashlib.sha256).hexdigest()
