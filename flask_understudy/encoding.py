"""JSON as the ledger stores it: strict, because what two databases and every client must read back cannot be vague."""

from __future__ import annotations

import json
import re
from typing import Any

from .errors import InvalidJob

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(value: Any, what: str) -> str:
    """Return a value as JSON text.

    Args:
        value: Of None, bool, int, float, str, list, tuple and dict alone.
        what: What it is, for the message.

    Raises:
        InvalidJob: JSON or PostgreSQL cannot hold it: another type, NaN, infinity, a cycle, NUL, a lone surrogate.
    """
    try:
        text = _compact(value)
        text.encode()
    except TypeError as problem:
        raise InvalidJob(f"{what} cannot be stored as JSON: {problem}. Pass ids, texts and numbers.") from None
    except UnicodeEncodeError as problem:
        raise InvalidJob(
            f"{what} holds {problem.object[problem.start]!r}, a half of a character that no database stores."
        ) from None
    except (ValueError, RecursionError) as problem:
        raise InvalidJob(f"{what} cannot be stored as JSON: {problem}.") from None
    if _NUL.search(text):
        raise InvalidJob(f"{what} holds the character NUL, which no database stores.")
    return text


def printable(text: str, limit: int) -> str:
    """Return a text that any database stores: without NUL and lone surrogates, `limit` characters at the most."""
    return text[:limit].replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
