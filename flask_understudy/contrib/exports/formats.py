"""The formats of a file: names, endings and media types, and what stands around its rows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import UnsupportedExport
from .formulas import disarmed


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        name: What callers ask for: `csv`, `json` (one array) or `jsonl` (one object a line).
        extension: The file name's ending, without the dot.
        media_type: The value of `Content-Type`.
    """

    name: str
    extension: str
    media_type: str

    def head(self, columns: Sequence[str]) -> bytes:
        """Return what precedes the rows: the names of the columns, or the array's bracket."""
        if self.name == "csv":
            return (",".join(_quoted(disarmed(name)) for name in columns) + "\n").encode()
        return b"[\n" if self.name == "json" else b""

    def tail(self) -> bytes:
        """Return what follows the rows."""
        return b"]\n" if self.name == "json" else b""


FORMATS = {
    "csv": Format("csv", "csv", "text/csv; charset=utf-8"),
    "json": Format("json", "json", "application/json"),
    "jsonl": Format("jsonl", "jsonl", "application/jsonl"),
}


def format_named(name: str) -> Format:
    """Return the format called `name`.

    Raises:
        UnsupportedExport: There is none; the message has the valid names.
    """
    if name in FORMATS:
        return FORMATS[name]
    near = difflib.get_close_matches(name, FORMATS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnsupportedExport(f"{name!r} is no format; there are {', '.join(FORMATS)}.{hint}")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
