"""Where the links in mails lead: plain pages, without scripts, for people without a client of the API.

A GET changes nothing, as programs follow links before people do. What a POST needs is the secret of the mail's link,
which nobody else can put into a form; there are no cookies that a foreign page could borrow.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, render_template, request, url_for

from app.actors import email as mails
from app.auth import public
from app.blueprints.auth import SignUp, Verification
from app.extensions import db, limiter
from app.limits import is_accepted
from app.services import accounts, verification
from flask_understudy.contrib.api import Problem, validated

bp = Blueprint("pages", __name__)

_POLICY = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_PERSON = (("email", "E-mail address", "email"), ("name", "Name", "text"), ("password", "New password", "password"))


@bp.get("/")
@public
def index() -> dict[str, Any]:
    """Say what this is and where to go on."""
    return {
        "name": "Flask-Understudy, reference service",
        "what": "An HTTP API whose slow work is done by background jobs.",
        "health": url_for("health.health"),
        "signUp": {"method": "POST", "path": url_for("auth.sign_up")},
        "signIn": {"method": "POST", "path": url_for("auth.sign_in")},
        "exports": url_for("exports.listing"),
        "exportsPage": url_for("exports_page.show_exports"),
        "documentation": "docs/ in the source; docs/quickstart.md is the start",
    }


@bp.get("/verify-email")
@public
def verify_page() -> Response:
    """Show the button that verifies an address."""
    return _verify_page()


@bp.post("/verify-email")
@public
@limiter.limit("20 per minute")
def verify() -> Response:
    """Verify the address that the link was mailed to."""
    try:
        user = verification.verify(validated(Verification, {"token": request.form.get("token", "")}).token)
        address = user.email
        db.session.commit()
    except Problem as problem:
        return _verify_page(_said(problem), problem.status)
    return _page("Your address is confirmed", f"{address} is confirmed. You can close this page.")


@bp.get("/join")
@public
def join_page() -> Response:
    """Show the form of somebody who was invited."""
    return _join_page()


@bp.post("/join")
@public
@limiter.limit("10 per hour", deduct_when=is_accepted)
@limiter.limit("100 per hour")
def join() -> Response:
    """Add the invited person, as a sign-up with an invitation does."""
    given = {name: request.form.get(name, "") for name in ("email", "name", "password", "invitation")}
    try:
        person = validated(SignUp, given)
        user = accounts.join(
            invitation=person.invitation or "", email=person.email, name=person.name, password=person.password
        )
        mails.send_welcome_email(user.email, user.name)
        address = user.email
        db.session.commit()
    except Problem as problem:
        db.session.rollback()
        return _join_page(_said(problem), problem.status)
    return _page("Welcome", f"The account of {address} is ready.")


def _verify_page(message: str = "Please confirm that this address is yours.", status: int = 200) -> Response:
    hidden = {"token": request.values.get("token", "")}
    return _page("Confirm your address", message, status, (), hidden, "Confirm")


def _join_page(message: str = "Make your account.", status: int = 200) -> Response:
    hidden = {"invitation": request.values.get("invitation", "")}
    return _page("Join your organisation", message, status, _PERSON, hidden, "Join")


def _page(
    title: str,
    message: str,
    status: int = 200,
    fields: tuple[tuple[str, str, str], ...] | None = None,
    hidden: dict[str, str] | None = None,
    button: str = "",
) -> Response:
    text = render_template(
        "pages/page.html",
        title=title,
        message=message,
        fields=fields,
        hidden=hidden or {},
        button=button,
        action=request.script_root + request.path,
        given=request.form,
    )
    response = make_response(text, status)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _said(problem: Problem) -> str:
    """Return a problem in one line; its fields by name."""
    fields = "; ".join(f"{error['pointer'].strip('/')}: {error['detail']}" for error in problem.errors)
    return f"{problem.detail or problem.title} {fields}".strip()
