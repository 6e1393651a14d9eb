"""A SELECT as a file's bytes, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sqlalchemy as sa

from . import sqlite
from .cells import Named
from .errors import UnsupportedExport
from .formats import format_named
from .kinds import kind_of

try:
    from . import postgres
except ImportError:  # psycopg is in the extra `postgres`
    postgres = None  # type: ignore[assignment]


class RowStream:
    """The rows of one SELECT as CSV or JSON, read once, as an iterable of bytes.

    The file is the same, byte for byte, from PostgreSQL (where it comes by COPY) and from SQLite.
    Texts that a spreadsheet would run are disarmed in CSV, and left as they are in JSON.

    Args:
        connection: An open connection that nobody else uses meanwhile. On PostgreSQL it is given up
            (`invalidate()`) when the stream is abandoned before its end.
        query: What to export; the names of its columns are those in the file.
        format: `csv`, `json` (an array) or `jsonl` (one object a line).
        on_rows: Called with the number of rows so far, at most once in `every` rows and at the end.
        every: Rows between two calls of `on_rows`.
        check: Called some hundred to some thousand rows apart; what it raises ends the stream.

    Raises:
        UnsupportedExport: The format, the database or the type of a column cannot be exported.
    """

    def __init__(
        self,
        connection: sa.Connection,
        query: sa.Select[*tuple[object, ...]] | sa.CompoundSelect[*tuple[object, ...]],
        format: str = "csv",
        *,
        on_rows: Callable[[int], object] | None = None,
        every: int = 10_000,
        check: Callable[[], object] | None = None,
    ) -> None:
        self.format = format_named(format)
        #: Rows written so far.
        self.rows = 0
        self._connection = connection
        self._subquery = query.subquery("rows")
        self._columns: list[Named] = [
            (name, column, kind_of(column, connection.dialect)) for name, column in self._subquery.c.items()
        ]
        self._source = _source(connection.dialect.name)
        self._on_rows = on_rows or (lambda rows: None)
        self._every = every
        self._check = check or (lambda: None)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file in pieces."""
        yield self.format.head([name for name, _, _ in self._columns])
        reported = -1
        self._check()
        source = self._source(self._connection, self._subquery, self._columns, self.format)
        for count, data in source:
            if not count:
                continue
            if self.format.name == "json" and not self.rows:
                data = b" " + data[1:]  # every row brings the comma before it, the first one too
            self.rows += count
            yield data
            self._check()
            if self.rows - max(reported, 0) >= self._every:
                reported = self.rows
                self._on_rows(reported)
        yield self.format.tail()
        if reported != self.rows:
            self._on_rows(self.rows)


def _source(dialect: str) -> Callable[..., Iterator[tuple[int, bytes]]]:
    if dialect == "sqlite":
        return sqlite.chunks
    if dialect == "postgresql" and postgres is not None:
        return postgres.chunks
    if dialect == "postgresql":
        raise UnsupportedExport("This needs psycopg: pip install 'flask-understudy[postgres]'.")
    raise UnsupportedExport(f"{dialect!r} cannot be exported from; postgresql and sqlite can.")
