"""Every error of an HTTP API is `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import http
import logging
import re
import uuid
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Flask, Response, has_request_context, json, request
from sqlalchemy import exc
from werkzeug.exceptions import HTTPException

from ... import errors

log = logging.getLogger("flask_understudy")

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "5"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REQUEST_ID_KEY = "understudy.request_id"
_KEPT_HEADERS = {"allow", "retry-after", "www-authenticate", "location"}

#: What the library's errors mean to a caller; the first that fits is the answer. Any other is our fault: 500.
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.BrokerUnavailable, 503),
    (errors.NotInitialised, 503),
    (errors.JobNotFound, 404),
    (errors.ScheduleNotFound, 404),
    (errors.JobConflict, 409),
    (errors.ScheduleConflict, 409),
    (errors.PayloadTooLarge, 413),
    (errors.InvalidJob, 422),
)


class Problem(Exception):
    """An error with an answer: raise it anywhere in a request.

    Args:
        status: HTTP status code.
        title: The kind of error in a few words; None takes HTTP's own phrase.
        detail: What went wrong this time, and what would be right.
        errors: One entry per wrong field, `{"pointer": "/field", "detail": "…"}`.
        headers: Headers of the answer, such as `Retry-After`.
        extra: More members of the body, such as `job_id`.
    """

    def __init__(
        self,
        status: int,
        title: str | None = None,
        detail: str | None = None,
        *,
        errors: Sequence[dict[str, str]] = (),
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail or title or str(status))
        self.status = status
        self.title = title or http.HTTPStatus(status).phrase
        self.detail = detail
        self.errors = list(errors)
        self.headers = headers or {}
        self.extra = extra

    def response(self) -> Response:
        """Return the problem as an HTTP answer."""
        body: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        if has_request_context():
            body["instance"] = request.path
            body["request_id"] = request_id()
        if self.errors:
            body["errors"] = self.errors
        answer = Response(json.dumps(body | self.extra), status=self.status, content_type=MEDIA_TYPE)
        answer.headers.update(self.headers)
        return answer


def not_found() -> Problem:
    """Return the 404 that an unknown id and somebody else's id both get, word for word."""
    return Problem(404, detail="There is nothing here under this id.")


def invalid(field: str, detail: str) -> Problem:
    """Return the 422 for one wrong field of the body or the query."""
    return Problem(422, detail=detail, errors=[{"pointer": f"/{field}", "detail": detail}])


def unavailable() -> Problem:
    """Return the 503 for a database that is away, overloaded or not migrated."""
    detail = "The database cannot be used now. Try again."
    return Problem(503, detail=detail, headers={"Retry-After": RETRY_SECONDS})


def lacks_tables(error: exc.DBAPIError) -> bool:
    """Whether the ledger's tables are not those of this release, by a statement on them; any other is a mistake."""
    if "understudy_" not in str(error.statement):
        return False
    state = getattr(error.orig, "sqlstate", None)  # PostgreSQL's undefined_table and undefined_column
    return state in {"42P01", "42703"} or bool(
        re.match(r"no such (table|column)|table \S+ has no column", str(error.orig))
    )


def request_id() -> str:
    """Return this request's id: the caller's `X-Request-ID` when it is plain, or a new one."""
    if _REQUEST_ID_KEY not in request.environ:
        given = request.headers.get("X-Request-ID", "")
        request.environ[_REQUEST_ID_KEY] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    return str(request.environ[_REQUEST_ID_KEY])


def problem_of(error: Exception) -> Problem:
    """Return what an error that ended a view means to the caller.

    A database that cannot be used is a 503. A mistake of ours is a 500: it is logged, and the caller learns the
    request's number only.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        given = error.get_headers(request.environ)
        headers = {name: value for name, value in given if name.lower() in _KEPT_HEADERS}
        return Problem(error.code or 500, error.name, error.description, headers=headers)
    if isinstance(error, exc.DBAPIError) and lacks_tables(error):
        log.error("The request %s needs tables that the database lacks: %s", request.path, error.orig)
        detail = (
            "The database is not the one of this release: it lacks tables or columns. `flask jobs doctor` names them."
        )
        return Problem(503, detail=detail, headers={"Retry-After": RETRY_SECONDS})
    if isinstance(error, (exc.OperationalError, exc.TimeoutError)):
        log.error("The database failed the request %s: %s", request.path, getattr(error, "orig", None) or error)
        return unavailable()
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), None)
    if status == 404:
        return not_found()
    if status is not None:
        return Problem(status, detail=str(error), headers={"Retry-After": RETRY_SECONDS} if status == 503 else None)
    log.error("The request %s failed.", request.path, exc_info=error)
    return Problem(500, detail="Something went wrong here. It was recorded under this request's id.")


def answer(error: Exception) -> Response:
    """Answer an error that ended a view."""
    if isinstance(error, HTTPException) and error.response is not None:
        return error.response  # type: ignore[return-value]
    return problem_of(error).response()


def label(response: Response) -> Response:
    """Name the request, and keep answers out of caches and of browsers' guesses."""
    response.headers["X-Request-ID"] = request_id()
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def init_app(target: Flask | Blueprint) -> None:
    """Answer every error of an application, or of a blueprint's views, as a problem."""
    target.register_error_handler(Exception, answer)
    target.after_request(label)
