"""Where a page of a list ends, as a text that callers hand back and cannot forge."""

from __future__ import annotations

import datetime as dt

from flask import current_app
from itsdangerous import BadSignature, URLSafeSerializer

from flask_understudy.contrib.api import invalid


def cursor(moment: dt.datetime, id_: str, of: str) -> str:
    """Return the cursor that leads on after a row.

    Args:
        moment: The row's time.
        id_: The row's id.
        of: The list; another one's cursors do not fit.
    """
    return str(_serializer(of).dumps([moment.isoformat(), id_]))


def place(text: str, of: str) -> tuple[dt.datetime, str]:
    """Return time and id of the row that a cursor stands for.

    Raises:
        Problem: 422, it was not made here.
    """
    try:
        moment, id_ = _serializer(of).loads(text)
    except BadSignature:
        raise invalid("cursor", "The cursor is none of ours; take 'nextCursor' of the page before.") from None
    return dt.datetime.fromisoformat(moment), id_


def _serializer(of: str) -> URLSafeSerializer:
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt=f"{of}-cursor")
