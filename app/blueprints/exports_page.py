"""A page where people ask for exports, watch them being made, and fetch them (U04)."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, render_template

from app.auth import public
from app.models.export_job import ExportType
from flask_understudy.contrib.exports import FORMATS

bp = Blueprint("exports_page", __name__, url_prefix="/exports", static_folder="../static")

#: The session's token lives in the tab's memory and goes into a header: there is no cookie that a foreign page could
#: borrow, and no script but ours that could read it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@bp.get("")
@public
def show_exports() -> Response:
    """Show the page; what stands on it comes from the API, in the name of whoever signs in there."""
    text = render_template("pages/exports.html", types=list(ExportType), formats=list(FORMATS))
    response = make_response(text)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
