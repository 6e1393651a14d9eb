"""`Idempotency-Key`: the same request sent again gets the same answer, and nothing happens twice.

The key, what the request does and the answer are committed together, so there is no moment in which one is there
without the others. A request that fails releases its key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response, make_response, request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, scoped_session

from ...ledger import IdempotencyKey
from .bodies import read_raw
from .problems import Problem

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
MOST = 255
_KEPT_HEADERS = ("Location", "Content-Type")


def once(session: Session | scoped_session[Any], tenant: str, subject: str, act: Callable[[], Any]) -> Response:
    """Do what a request asks for in one transaction, or answer as the first time.

    Args:
        session: What `act` writes through; committed here, rolled back when `act` raises.
        tenant: Whose key it is.
        subject: Whose key it is.
        act: Does it without committing, and returns what a view does.

    Raises:
        Problem: 400, the key is no key; 409, the first request is running; 422, the key was sent with another one.
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
        return _again(known, digest)
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
        return _again(known, digest)
    answer = make_response(act())
    row.status, row.body = answer.status_code, answer.get_data(as_text=True)
    row.headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    session.commit()
    return answer


def _check(key: str) -> None:
    if not 1 <= len(key) <= MOST or not key.isascii() or not key.isprintable():
        raise Problem(400, detail=f"{HEADER} takes 1 to {MOST} printable ASCII characters.")


def _digest() -> str:
    parts = (request.method.encode(), request.full_path.encode(), read_raw())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _again(known: IdempotencyKey, digest: str) -> Response:
    if known.request != digest:
        raise Problem(422, detail=f"This {HEADER} was sent with another request; take a new one.")
    if not known.status:
        raise Problem(409, detail="The first request with this key is still running.", headers={"Retry-After": "1"})
    answer = Response(known.body, status=known.status)
    answer.headers.update(known.headers)
    answer.headers["Idempotent-Replayed"] = "true"
    return answer
