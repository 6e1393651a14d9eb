"""Which failures are alike: the same actor, kind of error, place and message, but for what differs from job to job."""

from __future__ import annotations

import hashlib
import re
import traceback

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27,}|[0-9a-fA-F]{16,}|\d+|\S+@\S+")
MESSAGE = 300


def fingerprint_of(actor: str, exception: BaseException, message: str) -> str:
    """Return what failures of the same kind share: 16 hexadecimal digits.

    Args:
        actor: The actor's name.
        exception: What it raised.
        message: The exception's text; ids, numbers, addresses and what stands in quotes do not count.
    """
    frames = traceback.extract_tb(exception.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].name}" if frames else ""
    shape = _VARIABLE.sub("#", _QUOTED.sub("#", message[:MESSAGE]))
    text = "\n".join([actor, type(exception).__qualname__, place, shape])
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
