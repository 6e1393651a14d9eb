"""A SELECT as a file's bytes, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

import sqlalchemy as sa

from . import sqlite
from .cells import Named
from .errors import UnsupportedExport
from .formats import format_named
from .kinds import kind_of, stored_type
from .rows import Row

try:
    from . import postgres
except ImportError:  # psycopg is in the extra `postgres`
    postgres = None  # type: ignore[assignment]


class RowStream:
    """The rows of one SELECT as a file, read once, as an iterable of bytes.

    CSV and JSON are the same, byte for byte, from PostgreSQL (where they come by COPY) and from SQLite;
    the other formats have the same values. Texts that a spreadsheet would run are disarmed in CSV, and
    left as they are elsewhere, where a text is a text.

    Args:
        connection: An open connection that nobody else uses meanwhile, in a transaction. On PostgreSQL it
            is given up (`invalidate()`) when a stream of CSV or JSON is abandoned before its end.
        query: What to export; the names of its columns are those in the file.
        format: `csv`, `json` (an array), `jsonl` (one object a line), `xlsx`, `parquet` or `pdf`.
        title: The name of the sheet of `xlsx`, and what stands above the rows of `pdf`.
        on_rows: Called with the number of rows so far, at most once in `every` rows and at the end.
        every: Rows between two calls of `on_rows`.
        check: Called some hundred to some thousand rows apart; what it raises ends the stream.

    Raises:
        UnsupportedExport: The format, the database or the type of a column cannot be exported, or the
            format's package is missing.
        ExportTooLarge: The format has no room for so many rows or so long a text; while it is read.
    """

    def __init__(
        self,
        connection: sa.Connection,
        query: sa.Select[*tuple[object, ...]] | sa.CompoundSelect[*tuple[object, ...]],
        format: str = "csv",
        *,
        title: str = "Export",
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
        self._database = _database(connection.dialect.name)
        self._title = title
        self._on_rows = on_rows or (lambda rows: None)
        self._every = every
        self._check = check or (lambda: None)
        self._reported = -1

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file in pieces."""
        self._check()
        yield from self._typed() if self.format.package else self._text()
        if self._reported != self.rows:
            self._on_rows(self.rows)

    def _text(self) -> Iterator[bytes]:
        yield self.format.head([name for name, _, _ in self._columns])
        source = self._database.chunks(self._connection, self._subquery, self._columns, self.format)
        for count, data in source:
            if not count:
                continue
            if self.format.name == "json" and not self.rows:
                data = b" " + data[1:]  # every row brings the comma before it, the first one too
            self.rows += count
            yield data
            self._heed()
        yield self.format.tail()

    def _typed(self) -> Iterator[bytes]:
        names = [name for name, _, _ in self._columns]
        kinds = [kind for _, _, kind in self._columns]
        with closing(self._values()) as values:
            if self.format.name == "parquet":
                types = [stored_type(column, self._connection.dialect) for _, column, _ in self._columns]
                scales = [getattr(type_, "scale", None) for type_ in types]
                yield from self.format.writer().row_chunks(names, kinds, values, scales)
            else:
                yield from self.format.writer().row_chunks(names, kinds, values, self._title)

    def _values(self) -> Generator[Row, None, None]:
        for batch in self._database.values(self._connection, self._subquery, self._columns):
            yield from batch
            self.rows += len(batch)
            self._heed()

    def _heed(self) -> None:
        self._check()
        if self.rows - max(self._reported, 0) >= self._every:
            self._reported = self.rows
            self._on_rows(self.rows)


def _database(dialect: str) -> Any:
    if dialect == "sqlite":
        return sqlite
    if dialect == "postgresql" and postgres is not None:
        return postgres
    if dialect == "postgresql":
        raise UnsupportedExport("This needs psycopg: pip install 'flask-understudy[postgres]'.")
    raise UnsupportedExport(f"{dialect!r} cannot be exported from; postgresql and sqlite can.")
