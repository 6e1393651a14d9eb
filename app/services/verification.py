"""Showing that an address is one's own: a signed token by mail, sent back within three days."""

from __future__ import annotations

from flask import current_app
from itsdangerous import BadSignature, URLSafeTimedSerializer

from app.extensions import db
from app.models.base import utcnow
from app.models.user import User
from flask_understudy.contrib.api import Problem

TOKEN_LASTS_SECONDS = 3 * 24 * 3600


def make_token(user: User) -> str:
    """Return a token for the address that ``user`` has now."""
    return _serializer().dumps([user.id, user.email])


def verify(token: str) -> User:
    """Mark the token's address as verified; the caller commits.

    Raises:
        Problem: 422 when the token is wrong or old, or the address has changed since.
    """
    try:
        user_id, email = _serializer().loads(token, max_age=TOKEN_LASTS_SECONDS)
    except BadSignature:
        user_id, email = "", ""
    user = db.session.get(User, user_id)
    if user is None or user.email != email:
        raise Problem(
            422,
            detail="The token is wrong or has expired.",
            errors=[{"pointer": "/token", "detail": "ask for a new mail"}],
        )
    user.email_verified_at = user.email_verified_at or utcnow()
    return user


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="verify-address")
