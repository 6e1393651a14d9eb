"""Values of Python as texts: in the words of `cells.py`, for what does not come out of a database."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import uuid
from collections.abc import Mapping
from decimal import Decimal

from .formats import quoted
from .formulas import disarmed
from .numbers import float_text

Value = object


def plain(value: Value) -> str:
    """Return `value` as a text; None is an empty one, and a time without a zone is taken as UTC."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case enum.Enum():
            return plain(value.value)
        case float():
            return str(float_text(value))
        case Decimal():
            return format(value, "f") if value.is_finite() else str(float_text(float(value)))
        case dt.datetime():
            return _trimmed(in_utc(value).isoformat()) + "Z"
        case dt.time():
            return _trimmed(value.replace(tzinfo=None).isoformat())
        case dt.date():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
        case bytes():
            return value.hex()
        case Mapping() | list() | tuple():
            return json_value(value)
    return str(value)


def csv_line(values: list[Value] | tuple[Value, ...]) -> str:
    """Return a line of CSV; texts are in quotes, and none of them is a formula."""
    return ",".join(map(_csv_cell, values)) + "\n"


def json_value(value: Value) -> str:
    """Return `value` as JSON; NaN and infinities are strings, for JSON has no such numbers."""
    match value:
        case None:
            return "null"
        case bool() | int():
            return json.dumps(value)
        case float() if math.isfinite(value):
            return plain(value)
        case Decimal() if value.is_finite():
            return plain(value)
        case Mapping():
            members = (
                f"{json.dumps(str(name), ensure_ascii=False)}: {json_value(each)}" for name, each in value.items()
            )
            return "{" + ", ".join(members) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(json_value, value)) + "]"
    return json.dumps(plain(value), ensure_ascii=False)


def in_utc(moment: dt.datetime) -> dt.datetime:
    """Return a moment in UTC, without its zone."""
    return moment if moment.tzinfo is None else moment.astimezone(dt.UTC).replace(tzinfo=None)


def encoded(text: str) -> bytes:
    """Return `text` as UTF-8; half of a surrogate pair, which is no character, becomes a question mark."""
    return text.encode("utf-8", "replace")


def _csv_cell(value: Value) -> str:
    text = plain(value)
    is_bare = value is None or isinstance(value, (int, float, Decimal, dt.date, dt.time))
    return text if is_bare and not isinstance(value, enum.Enum) else quoted(disarmed(text))


def _trimmed(text: str) -> str:
    return text.rstrip("0") if "." in text else text
