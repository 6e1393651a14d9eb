"""Pages that the application adds: its own views, in the dashboard's frame and behind its doors."""

from __future__ import annotations

from flask import Response, make_response, request

from ..contrib.api import not_found
from ..rest.callers import require, state
from . import browser
from .pages import bp


@bp.route("/app/<name>", methods=["GET", "POST"])
def show_addition(name: str) -> Response:
    """Show a page of the application, or let it take a form of its own."""
    require("read")
    page = state().broker.pages.get(name)
    if page is None:
        raise not_found()
    require(page.scope)
    if request.method == "POST":
        browser.check_form()
    browser.check_texts(request.args)
    return make_response(page.view())
