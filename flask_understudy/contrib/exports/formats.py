"""The formats of a file: names, endings and media types, and what stands around its rows."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import UnsupportedExport
from .formulas import disarmed


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        name: What callers ask for: `csv`, `json` (one array), `jsonl` (one object a line), `xlsx`, `parquet` or `pdf`.
        extension: The file name's ending, without the dot.
        media_type: The value of `Content-Type`.
        package: What must be importable to write it; empty when nothing is.
    """

    name: str
    extension: str
    media_type: str
    package: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether what writes it is there."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    def needed(self) -> Format:
        """Return this format when it can be written.

        Raises:
            UnsupportedExport: Its package is missing; the message has the command that installs it.
        """
        if self.is_installed:
            return self
        raise UnsupportedExport(f"{self.name} needs a package: pip install 'flask-understudy[{self.name}]'")

    def writer(self) -> Any:
        """Return the module that writes it; imported now, for these packages are large.

        Raises:
            UnsupportedExport: As `needed` does.
        """
        self.needed()
        return importlib.import_module(f"{__package__}.{self.name}")

    def head(self, columns: Sequence[str]) -> bytes:
        """Return what precedes the rows of a text: the names of the columns, or the array's bracket."""
        if self.name == "csv":
            return (",".join(quoted(disarmed(name)) for name in columns) + "\n").encode()
        return b"[\n" if self.name == "json" else b""

    def tail(self) -> bytes:
        """Return what follows the rows of a text."""
        return b"]\n" if self.name == "json" else b""


_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

#: Every format of rows, with those whose package is missing.
ALL_FORMATS = {
    each.name: each
    for each in (
        Format("csv", "csv", "text/csv; charset=utf-8"),
        Format("json", "json", "application/json"),
        Format("jsonl", "jsonl", "application/jsonl"),
        Format("xlsx", "xlsx", _XLSX, "xlsxwriter"),
        Format("parquet", "parquet", "application/vnd.apache.parquet", "pyarrow"),
        Format("pdf", "pdf", "application/pdf", "reportlab"),
    )
}

#: The formats of rows that can be written here.
FORMATS = {name: each for name, each in ALL_FORMATS.items() if each.is_installed}

#: The formats of a `Report`.
REPORT_FORMATS = {name: ALL_FORMATS[name] for name in ("json", "csv", "pdf", "xlsx")}


def format_named(name: str, among: Mapping[str, Format] = ALL_FORMATS) -> Format:
    """Return the format called `name`.

    Raises:
        UnsupportedExport: There is none, and the message has the valid names; or its package is missing.
    """
    if name in among:
        return among[name].needed()
    near = difflib.get_close_matches(name, among, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnsupportedExport(f"{name[:100]!r} is no format; there are {', '.join(among)}.{hint}")


def quoted(text: str) -> str:
    """Return `text` as a CSV cell in quotes."""
    return '"' + text.replace('"', '""') + '"'
