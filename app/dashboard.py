"""Pages that the service adds to the dashboard of its jobs."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as Redirection

from app.auth import current_principal
from app.blueprints.tokens import TokenOrder, end, make
from app.extensions import db, jobs
from app.models.base import utcnow
from app.policies import SCOPES
from app.services import tokens
from flask_understudy.contrib.api import Problem, validated

#: For how long a new token can be good, in days.
DAYS = {"30": "30 days", "90": "90 days", "365": "a year", "": "ever"}


@jobs.dashboard_page("tokens", title="API tokens", scope="admin")
def show_tokens() -> Response | Redirection:
    """Show the organisation's tokens; make one, whose secret stands in the answer alone, or end one."""
    if request.method == "GET":
        return _page()
    try:
        if "revoke" in request.form:
            end(request.form["revoke"])
            db.session.commit()
            return redirect(request.script_root + request.path, 303)
        token, secret = make(_order())
        db.session.commit()
    except Problem as problem:
        db.session.rollback()
        if problem.status == 404:
            raise
        return _page(problem.status, problem=_said(problem))
    return _page(201, made=token, secret=secret)


def _order() -> TokenOrder:
    """Return the token that the form asks for.

    Raises:
        Problem: 422, a field is wrong.
    """
    days = request.form.get("days", "30")
    if days not in DAYS:
        raise Problem(422, detail=f"{days[:20]!r} is no choice of days; there are {', '.join(filter(None, DAYS))}.")
    expires = utcnow() + dt.timedelta(days=int(days)) if days else None
    given = {"name": request.form.get("name", "").strip(), "scopes": request.form.getlist("scopes")}
    return validated(TokenOrder, {**given, **({"expiresAt": expires.isoformat()} if expires else {})})


def _page(status: int = 200, **more: Any) -> Response:
    who, now = current_principal(), utcnow()
    found = [(token, _standing(token, now)) for token in tokens.all_of(who.tenant)]
    shown = {"tokens": found, "days": DAYS, "grantable": [scope for scope in SCOPES if scope in who.scopes]}
    return make_response(render_template("pages/tokens.html", **shown, given=request.form, **more), status)


def _standing(token: Any, now: dt.datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "good"


def _said(problem: Problem) -> str:
    fields = "; ".join(f"{error['pointer'].strip('/')}: {error['detail']}" for error in problem.errors)
    return fields or problem.detail or problem.title
