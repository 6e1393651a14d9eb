"""What a browser brings along: the token it signed in with, the proof that a form is ours, and what to say once.

Signing in is for applications whose authoriser reads `Authorization`: the token is put into a signed cookie that goes
to the dashboard alone, and from there into that header. Where the authoriser knows the browser otherwise, by a session
of the application, nobody has to sign in here.
"""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, g, request, url_for
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.datastructures import MultiDict

from ..contrib.api import Problem
from ..rest.callers import caller, comes_from_elsewhere

COOKIE, NOTICE = "understudy_dashboard", "understudy_notice"
SIGNED_IN_SECONDS = 12 * 3600
NOTICE_SECONDS = 60
LONGEST_TOKEN = 500


def recognise() -> None:
    """Take the token of a browser that signed in for the credentials of its request, unless it sends some."""
    given = request.cookies.get(COOKIE)
    if given is None or "Authorization" in request.headers:
        return
    try:
        token = str(_signer("sign-in").loads(given, max_age=SIGNED_IN_SECONDS))
    except BadSignature:
        return
    request.environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"


def sign_in(response: Response, token: str) -> None:
    """Let a browser come again with a token, for half a day."""
    _set(response, COOKIE, str(_signer("sign-in").dumps(token)), SIGNED_IN_SECONDS)


def sign_out(response: Response) -> None:
    """Let a browser forget its token."""
    response.delete_cookie(COOKIE, path=_path())


def csrf_token() -> str:
    """Return what a form of this caller has to bring along."""
    return str(_signer("form").dumps(caller().key))


def check_form() -> None:
    """Refuse a form that is none of ours, or of another caller, or that no database could take.

    Raises:
        Problem: 403; 400 for its characters.
    """
    if comes_from_elsewhere():
        raise Problem(403, detail="This came from another site.")
    try:
        key = tuple(_signer("form").loads(request.form.get("csrf", ""), max_age=SIGNED_IN_SECONDS))
    except (BadSignature, TypeError):
        key = None
    if key != caller().key:
        raise Problem(403, detail="The form is too old, or was made for somebody else. Go back, load it again.")
    check_texts(request.form)


def check_texts(given: MultiDict[str, str]) -> None:
    """Refuse texts that no database could take.

    Raises:
        Problem: 400.
    """
    if any("\x00" in text for values in given.listvalues() for text in values):
        raise Problem(400, detail="A text has a NUL character, which cannot be stored or looked for.")


def this_page() -> str:
    """Return the path of this page with its query, as the browser knows it: below the prefix of a proxy too."""
    return (request.script_root + request.full_path).rstrip("?")


def sealed(what: Any) -> str:
    """Return a value of JSON as text for an address or a form; it comes back from this caller alone, and unchanged."""
    return str(_signer("sealed").dumps([caller().key, what]))


def unsealed(text: str) -> Any:
    """Return what was sealed for this caller within half a day, or None."""
    try:
        key, what = _signer("sealed").loads(text, max_age=SIGNED_IN_SECONDS)
    except (BadSignature, ValueError, TypeError):
        return None
    return what if tuple(key) == caller().key else None


def own_path(wanted: str) -> str:
    """Return a path to go on to: the wanted one when it is the dashboard's, else the dashboard's first page."""
    root = url_for("understudy_dashboard.show_overview")
    is_own = wanted.startswith(root) and "\\" not in wanted and wanted.isprintable()
    return wanted if is_own else root


def tell(response: Response, text: str, *, is_problem: bool = False) -> None:
    """Say something on the next page."""
    _set(response, NOTICE, str(_signer("notice").dumps([text[:1000], is_problem])), NOTICE_SECONDS)


def notice() -> tuple[str, bool] | None:
    """Return what is to be said on this page, and whether it is a problem."""
    try:
        text, is_problem = _signer("notice").loads(request.cookies.get(NOTICE, ""), max_age=NOTICE_SECONDS)
    except (BadSignature, ValueError, TypeError):
        return None
    g.understudy_noticed = True
    return str(text), bool(is_problem)


def forget_notice(response: Response) -> None:
    """Say it once."""
    if g.get("understudy_noticed"):
        response.delete_cookie(NOTICE, path=_path())


def _set(response: Response, name: str, value: str, seconds: int) -> None:
    response.set_cookie(  # lax: a link in a chat opens the page; what changes something is a form of ours
        name, value, max_age=seconds, path=_path(), httponly=True, samesite="Lax", secure=request.is_secure
    )


def _path() -> str:
    return url_for("understudy_dashboard.show_overview").rstrip("/") or "/"


def _signer(purpose: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.secret_key or "", salt=f"understudy-dashboard-{purpose}")
