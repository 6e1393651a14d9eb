"""Joining: a new organisation with its first person, or a person with an invitation."""

from __future__ import annotations

import datetime as dt
import re
import secrets
import unicodedata

import sqlalchemy as sa
from werkzeug.security import generate_password_hash

from app.auth import digest_of
from app.extensions import db
from app.models.base import new_id, utcnow
from app.models.invitation import Invitation
from app.models.tenant import Tenant
from app.models.user import User
from app.services import audit
from flask_understudy.contrib.api import Problem

INVITATION_LASTS = dt.timedelta(days=7)
PASSWORD_METHOD = "scrypt"


def found(*, organization: str, email: str, name: str, password: str) -> User:
    """Add a new organisation with ``email`` as its administrator; the caller commits.

    Raises:
        Problem: 409 when the address has an account already.
    """
    if db.session.scalar(sa.select(User.id).where(User.email == email).limit(1)):
        raise Problem(409, detail="This address has an account. Sign in, or ask for a new password.")
    tenant = Tenant(id=new_id(), name=organization, slug=free_slug(organization))
    db.session.add(tenant)
    return _add_person(tenant.id, email, name, password, role="admin", action="tenant.create")


def invite(*, tenant_id: str, email: str, role: str, by: str) -> tuple[Invitation, str]:
    """Add an invitation and return it with its secret, which goes into the mail only."""
    secret = secrets.token_urlsafe(32)
    invitation = Invitation(
        id=new_id(),
        tenant_id=tenant_id,
        email=email,
        role=role,
        digest=digest_of(secret),
        invited_by=db.session.scalar(sa.select(User.id).where(User.id == by)),
        expires_at=utcnow() + INVITATION_LASTS,
    )
    db.session.add(invitation)
    audit.record("invitation.create", tenant_id=tenant_id, subject=by, target=invitation.id)
    return invitation, secret


def join(*, invitation: str, email: str, name: str, password: str) -> User:
    """Add the invited person to the organisation; the caller commits.

    Somebody who was added before, without a password, gets this one, and the name and the role as well.

    Raises:
        Problem: 422 when the invitation is unknown, used, expired or for another address; 409 when the address has
            a password there already.
    """
    offer = db.session.scalar(
        sa.select(Invitation)
        .where(
            Invitation.digest == digest_of(invitation),
            Invitation.accepted_at.is_(None),
            Invitation.expires_at > utcnow(),
        )
        .with_for_update()
    )
    if offer is None or offer.email != email:
        raise Problem(
            422,
            detail="The invitation is unknown, used, expired or for another address.",
            errors=[{"pointer": "/invitation", "detail": "ask for a new invitation"}],
        )
    offer.accepted_at = utcnow()
    person = {"name": name, "role": offer.role, "password_hash": generate_password_hash(password, PASSWORD_METHOD)}
    user_id = db.session.scalar(
        sa.update(User)
        .where(User.tenant_id == offer.tenant_id, User.email == email, User.password_hash.is_(None))
        .values(**person)
        .returning(User.id)
    )
    if user_id is None:
        return _add_person(offer.tenant_id, email, name, password, role=offer.role, action="invitation.accept")
    audit.record("invitation.accept", tenant_id=offer.tenant_id, subject=user_id, target=user_id)
    return db.session.get_one(User, user_id)


def _add_person(tenant_id: str, email: str, name: str, password: str, *, role: str, action: str) -> User:
    user = User(
        id=new_id(),
        tenant_id=tenant_id,
        email=email,
        name=name,
        role=role,
        password_hash=generate_password_hash(password, PASSWORD_METHOD),
    )
    db.session.add(user)
    audit.record(action, tenant_id=tenant_id, subject=user.id, target=user.id)
    try:
        db.session.flush()
    except sa.exc.IntegrityError:
        db.session.rollback()
        raise Problem(409, detail="This address is a member already.") from None
    return user


def free_slug(name: str) -> str:
    """Return what an organisation of that name can be known by in addresses; somebody may be faster to take it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:50] or "organisation"
    is_taken = db.session.scalar(sa.select(Tenant.id).where(Tenant.slug == slug))
    return f"{slug}-{secrets.token_hex(4)}" if is_taken else slug


def admin_of(tenant_id: str) -> User | None:
    """Return the administrator of an organisation, the first there was where it has several; None without one."""
    query = sa.select(User).filter_by(tenant_id=tenant_id, role="admin").order_by(User.created_at, User.id)
    return db.session.scalars(query.limit(1)).first()
