"""Joining, signing in and out, and getting back in. The mails of it are jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Blueprint, request
from pydantic import StringConstraints, model_validator

from app.actors import email as mails
from app.auth import SESSION_TOKEN, current_principal, current_user, public, requires
from app.extensions import db, limiter
from app.limits import is_accepted
from app.models.tenant import Tenant
from app.models.user import User
from app.services import accounts, passwords, sessions, verification
from app.services.people import Address, Name
from flask_understudy.contrib.api import Body, Problem, read_body

bp = Blueprint("auth", __name__, url_prefix="/api/auth")


Password = Annotated[str, StringConstraints(min_length=10, max_length=128)]


class SignUp(Body):
    """Who wants to join: with a new organisation, or into one with an invitation."""

    email: Address
    name: Name
    password: Password
    organization: Name | None = None
    invitation: Annotated[str, StringConstraints(min_length=20, max_length=100)] | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> SignUp:
        if (self.organization is None) == (self.invitation is None):
            raise ValueError("give either organization or invitation")
        return self


class SignIn(Body):
    """Who wants to sign in."""

    email: Address
    password: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    organization: Annotated[str, StringConstraints(max_length=63)] | None = None


class ResetRequest(Body):
    """Whose password is lost."""

    email: Address


class Reset(Body):
    """The code of the mail and a new password."""

    email: Address
    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{8}$")]
    password: Password


class Invite(Body):
    """Who is to join the caller's organisation."""

    email: Address
    role: Literal["viewer", "member", "operator", "admin"] = "member"


class Verification(Body):
    """The token of the mail."""

    token: Annotated[str, StringConstraints(min_length=10, max_length=500)]


@bp.post("/signup")
@public
@limiter.limit("10 per hour", deduct_when=is_accepted)
@limiter.limit("100 per hour")
def sign_up() -> tuple[dict[str, Any], int]:
    """Make an account and queue its welcome mail, both or neither (requirement U01)."""
    body = read_body(SignUp)
    person = {"email": body.email, "name": body.name, "password": body.password}
    if body.invitation is not None:
        user = accounts.join(invitation=body.invitation, **person)
    else:
        user = accounts.found(organization=body.organization or "", **person)
    mails.send_welcome_email(user.email, user.name)
    answer = {"user": _shown(user)}
    db.session.commit()
    return answer, 201


@bp.post("/login")
@public
@limiter.limit("20 per minute")
def sign_in() -> tuple[dict[str, Any], int]:
    """Start a session; its token goes into the Authorization header like any other."""
    body = read_body(SignIn)
    session, secret = sessions.sign_in(email=body.email, password=body.password, organization=body.organization)
    answer = {"token": secret, "expiresAt": session.expires_at.isoformat().replace("+00:00", "Z")}
    db.session.commit()
    return answer, 201


@bp.post("/logout")
@requires("read")
def sign_out() -> tuple[str, int]:
    """End the session that this request came with."""
    secret = request.headers["Authorization"].partition(" ")[2].strip()
    if not secret.startswith(SESSION_TOKEN):
        raise Problem(409, detail="This is an API token and no session; it ends with: flask tokens revoke.")
    sessions.end(secret)
    db.session.commit()
    return "", 204


@bp.post("/password-reset")
@public
@limiter.limit("5 per minute")
def request_reset() -> tuple[dict[str, str], int]:
    """Send a code to the address if it has an account; neither answer nor duration says whether."""
    body = read_body(ResetRequest)
    mails.request_password_reset.send(body.email)
    return {"message": "If the address has an account, a code is on its way."}, 202


@bp.post("/password-reset/confirm")
@public
@limiter.limit("10 per minute")
def confirm_reset() -> tuple[str, int]:
    """Set a new password with a code."""
    body = read_body(Reset)
    passwords.set_password(email=body.email, code=body.code, password=body.password)
    return "", 204


@bp.post("/invitations")
@requires("admin")
@limiter.limit("60 per hour")
def invite() -> tuple[dict[str, str], int]:
    """Invite somebody into the caller's organisation and mail them the invitation."""
    body = read_body(Invite)
    caller = current_principal()
    invitation, secret = accounts.invite(tenant_id=caller.tenant, email=body.email, role=body.role, by=caller.subject)
    organization = db.session.get_one(Tenant, caller.tenant).name
    mails.send_invitation_email(body.email, body.email.partition("@")[0], organization, secret)
    answer = {"id": invitation.id, "email": invitation.email, "role": invitation.role}
    db.session.commit()
    return answer, 201


@bp.post("/verification")
@requires("read")
@limiter.limit("5 per minute")
def request_verification() -> tuple[dict[str, str], int]:
    """Mail the caller a token that shows that the address is theirs."""
    user = current_user()
    if user is None:
        raise Problem(409, detail="This token is a machine's: it has no address to verify.")
    mails.send_verification_email(user.email, user.name, verification.make_token(user))
    db.session.commit()
    return {"message": "A mail is on its way."}, 202


@bp.post("/verify")
@public
@limiter.limit("20 per minute")
def verify() -> tuple[dict[str, Any], int]:
    """Take back the token of the verification mail."""
    user = verification.verify(read_body(Verification).token)
    answer = {"user": _shown(user)}
    db.session.commit()
    return answer, 200


def _shown(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "emailVerified": user.email_verified_at is not None,
    }
