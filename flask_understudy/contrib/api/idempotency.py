"""`Idempotency-Key`: the same request sent again gets the same answer, and nothing happens twice.

The key, what the request does and the answer are committed together, so there is no moment in which one is there
without the others. A request that fails releases its key. An answer that tells a secret is kept sealed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from flask import Response, make_response, request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, scoped_session

from ...errors import UnderstudyError
from ...ledger import IdempotencyKey
from .bodies import read_raw
from .problems import Problem

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
MOST = 255
_KEPT_HEADERS = ("Location", "Content-Type")


class Sealing(Protocol):
    """What keeps a text so that the database does not tell it, such as the `Seal` of `contrib.webhooks.sealing`."""

    def seal(self, secret: str, owner: str) -> str:
        """Return a text as it may be stored for a row."""

    def open(self, sealed: str, owner: str) -> str:
        """Return a text that was sealed for that row; an `UnderstudyError` says that it cannot be read any more."""


def once(
    session: Session | scoped_session[Any],
    tenant: str,
    subject: str,
    act: Callable[[], Any],
    *,
    seal: Sealing | None = None,
) -> Response:
    """Do what a request asks for in one transaction, or answer as the first time.

    Args:
        session: What `act` writes through; committed here, rolled back when `act` raises.
        tenant: Whose key it is.
        subject: Whose key it is.
        act: Does it without committing, and returns what a view does.
        seal: Keeps the answer, which tells a secret; None = it tells none.

    Raises:
        Problem: 400, the key is no key; 409, the first request is running, or its answer was sealed with another
            `SECRET_KEY`; 422, the key was sent with another one.
    """
    key = request.headers.get(HEADER)
    if key is None:
        answer = make_response(act())
        session.commit()
        return answer
    _check(key)
    digest = _digest()
    known = session.get(IdempotencyKey, (tenant, subject, key))
    if known is not None and known.at < datetime.now(UTC) - KEPT:
        session.delete(known)
        session.flush()
        known = None
    if known is not None:
        return _again(known, digest, seal)
    row = IdempotencyKey(
        tenant=tenant, subject=subject, key=key, request=digest, status=0, headers={}, body="", at=datetime.now(UTC)
    )
    session.add(row)
    try:
        session.flush()  # waits for another request with the same key to end
    except IntegrityError:
        session.rollback()
        known = session.get(IdempotencyKey, (tenant, subject, key))
        if known is None:
            raise Problem(409, detail="A request with this Idempotency-Key has just failed. Send it again.") from None
        return _again(known, digest, seal)
    answer = make_response(act())
    body = answer.get_data(as_text=True)
    row.status, row.body = answer.status_code, body if seal is None else seal.seal(body, _owner(row))
    row.headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    session.commit()
    return answer


def _check(key: str) -> None:
    if not 1 <= len(key) <= MOST or not key.isascii() or not key.isprintable():
        raise Problem(400, detail=f"{HEADER} takes 1 to {MOST} printable ASCII characters.")


def _digest() -> str:
    parts = (request.method.encode(), request.full_path.encode(), read_raw())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _owner(row: IdempotencyKey) -> str:
    return "\n".join((row.tenant, row.subject, row.key))


def _again(known: IdempotencyKey, digest: str, seal: Sealing | None) -> Response:
    if known.request != digest:
        raise Problem(422, detail=f"This {HEADER} was sent with another request; take a new one.")
    if not known.status:
        raise Problem(409, detail="The first request with this key is still running.", headers={"Retry-After": "1"})
    try:
        body = known.body if seal is None else seal.open(known.body, _owner(known))
    except UnderstudyError:
        detail = f"The answer was sealed with another SECRET_KEY and cannot be read; take a new {HEADER}."
        raise Problem(409, detail=detail) from None
    answer = Response(body, status=known.status)
    answer.headers.update(known.headers)
    answer.headers["Idempotent-Replayed"] = "true"
    return answer
