"""The API's description of itself: OpenAPI for programs, a page for people. Neither tells anything about jobs."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, render_template, url_for

from ..contrib import api
from .doors import VERSION, bp, is_there

TITLE = "Background jobs"
DESCRIPTION = (
    "Errors are `application/problem+json` (RFC 9457). Times are RFC 3339 in UTC, durations milliseconds unless "
    "their name says otherwise. Lists lead on by `cursor`. What another tenant owns does not exist. Requests that "
    "change something take an `Idempotency-Key`."
)


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the current application's API."""
    return api.document(
        current_app,
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        has=lambda view: is_there(getattr(view, "__needs__", None)),
    )


def show_openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    return document()


def show_reference() -> Response:
    """Show the same as a page, which needs no script and no other host."""
    described = document()
    page = render_template("understudy/reference.html", api=described, openapi=url_for("understudy.show_openapi"))
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    )
    return response


def _public(rule: str, view: Any) -> None:
    view.__guard__ = "public"
    bp.add_url_rule(rule, view_func=view)


_public("/openapi.json", show_openapi)
_public("/docs", show_reference)
