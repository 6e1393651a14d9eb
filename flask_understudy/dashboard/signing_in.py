"""Signing in with a token of the application, and out again."""

from __future__ import annotations

from flask import Response, redirect, request, url_for

from ..contrib.api import Problem
from ..rest.callers import caller
from . import browser
from .pages import bp


@bp.post("/session")
def sign_in() -> Response:
    """Take a token that the application's authoriser knows, and go on to where the browser wanted to."""
    token = request.form.get("token", "").strip()
    if not 0 < len(token) <= browser.LONGEST_TOKEN or not token.isascii() or not token.isprintable():
        raise Problem(401, detail="That is no token.")
    request.environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    try:
        caller().need("read")
    except Problem as problem:
        raise Problem(401, detail="Nobody here has that token, or it may not read.") from problem
    response = redirect(browser.own_path(request.form.get("next", "")), 303)
    browser.sign_in(response, token)  # type: ignore[arg-type]
    return response  # type: ignore[return-value]


@bp.post("/session/end")
def sign_out() -> Response:
    """Forget the token."""
    browser.check_form()
    response = redirect(url_for(f"{bp.name}.show_overview"), 303)
    browser.sign_out(response)  # type: ignore[arg-type]
    return response  # type: ignore[return-value]
