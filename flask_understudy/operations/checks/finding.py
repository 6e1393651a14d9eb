"""What a check found, and what a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...state import State

OK, NOTE, WARNING, ERROR = "ok", "note", "warning", "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        status: `ok`, `note` (nothing is wrong, but it should be known), `warning` or `error`.
        found: What there is, in words.
        remedy: What to do about it; empty when nothing has to be done.
    """

    status: str
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        name: For the reader, and for `--only`.
        look: Yields what it found; nothing when it does not apply here.
        needs: Checks without whose success this one makes no sense.
    """

    name: str
    look: Callable[[State], Iterable[Finding]]
    needs: tuple[str, ...] = ()
