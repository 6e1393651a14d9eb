"""PostgreSQL: rows by COPY.

psycopg's own `Copy` object costs as much per row as the server does; libpq's calls under it, which
psycopg publishes as `psycopg.pq`, halve the time of an export. COPY knows no parameters: psycopg
quotes the values into the statement, with libpq's functions.
"""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Iterator
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from sqlalchemy.dialects.postgresql import JSONB

from .cells import Column, Named, Text, as_text, csv_value, joined, json_line, raw
from .formats import Format
from .kinds import Kind, stored_type
from .rows import Row, batches

#: Bytes handed on at a time.
CHUNK_BYTES = 256 * 1024

# Rows between two looks at the size of what has come.
_BURST = range(64)

#: Seconds to wait for the server before looking up: a time limit can interrupt between two waits.
WAIT_SECONDS = 1.0

# Control characters never occur in JSON text, so with these COPY quotes and escapes nothing.
_JSON_OPTIONS = "FORMAT csv, QUOTE E'\\x01', ESCAPE E'\\x01', DELIMITER E'\\x02'"

# Kinds that COPY itself writes as we do.
_AS_COPY_WRITES = {Kind.INTEGER, Kind.FLOAT, Kind.DATE, Kind.TIME}


class PostgresCells:
    """Cells as PostgreSQL writes them."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self.dialect = dialect

    def plain(self, column: Column, kind: Kind) -> Text:
        """Return the text of `column`."""
        type_: Any = stored_type(column, self.dialect)
        match kind:
            case Kind.DATETIME:
                local = column.op("AT TIME ZONE")(raw("UTC")) if type_.timezone else column
                with_t = sa.func.replace(_cast(local, "TEXT"), raw(" "), raw("T"), type_=sa.Text)
                return joined(with_t, raw("Z"))
            case Kind.DECIMAL:
                return sa.cast(_decimal(column, type_), sa.Text)
            case Kind.UUID:
                return _cast(_cast(column, "UUID"), "TEXT")
            case Kind.JSON:
                return _cast(_cast(column, "JSONB"), "TEXT")
            case Kind.BINARY:
                return sa.func.encode(column, raw("hex"), type_=sa.Text)
            case Kind.TEXT if not isinstance(type_, sa.Enum):
                return as_text(column)
        return _cast(column, "TEXT")

    def first_code(self, text: Text) -> sa.ColumnElement[int]:
        """Return the code point of the first character, 0 for an empty text."""
        return sa.func.ascii(text, type_=sa.Integer)

    def json_string(self, text: Text) -> Text:
        """Return `text` as a JSON string."""
        return _cast(sa.func.to_json(text), "TEXT")

    def json_number(self, column: Column, kind: Kind) -> Text:
        """Return `column` as a JSON number."""
        if kind is Kind.DECIMAL:
            column = _decimal(column, stored_type(column, self.dialect))
        return _cast(sa.func.to_json(column), "TEXT")


def chunks(
    connection: sa.Connection, rows: sa.Subquery, columns: list[Named], as_: Format
) -> Iterator[tuple[int, bytes]]:
    """Yield (number of rows, their bytes), some `CHUNK_BYTES` at a time.

    Abandoned before its end, it cancels the statement and gives the connection up.
    """
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    pgconn = driver.pgconn
    is_finished = False
    _set_dates(connection)
    try:
        pgconn.send_query(_statement(connection, driver, rows, columns, as_))
        yield from _received(pgconn)
        is_finished = True
    finally:
        if not is_finished:
            with contextlib.suppress(Exception):
                driver.cancel_safe(timeout=2.0)
            connection.invalidate()


def values(connection: sa.Connection, rows: sa.Subquery, columns: list[Named]) -> Iterator[list[Row]]:
    """Yield the rows as values, a batch at a time."""
    _set_dates(connection)
    return batches(connection, rows, columns, PostgresCells(connection.dialect))


def _set_dates(connection: sa.Connection) -> None:
    # Times are cast to text, which is quicker than to_char() but depends on this setting.
    connection.execute(sa.select(sa.func.set_config("datestyle", "ISO, YMD", True)))


def _statement(
    connection: sa.Connection,
    driver: psycopg.Connection[Any],
    rows: sa.Subquery,
    columns: list[Named],
    as_: Format,
) -> bytes:
    cells = PostgresCells(connection.dialect)
    if as_.name == "csv":
        values = [column if kind in _AS_COPY_WRITES else csv_value(column, kind, cells) for _, column, kind in columns]
        quoted = [f"c{i}" for i, (_, _, kind) in enumerate(columns) if kind.is_quoted]
        options = "FORMAT csv" + (f", FORCE_QUOTE ({', '.join(quoted)})" if quoted else "")
    else:
        values = [json_line(columns, cells, start="," if as_.name == "json" else "")]
        options = _JSON_OPTIONS
    labelled = [value.label(f"c{number}") for number, value in enumerate(values)]
    query = _with_values(sa.select(*labelled).select_from(rows), connection, driver)
    return f"COPY ({query}) TO STDOUT WITH ({options})".encode()


def _with_values(query: sa.Select[Any], connection: sa.Connection, driver: Any) -> str:
    compiled = query.compile(dialect=connection.dialect)
    state = compiled.construct_expanded_state()
    values = {
        name: state.processors[name](value) if name in state.processors else value
        for name, value in state.parameters.items()
    }
    return psycopg.ClientCursor(driver).mogrify(state.statement, values)


def _received(pgconn: PGconn) -> Iterator[tuple[int, bytes]]:
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_READ)

        def wait() -> None:
            while not selector.select(WAIT_SECONDS):
                pass
            pgconn.consume_input()

        _begin(pgconn, wait)
        pieces: list[memoryview] = []
        size, is_over = 0, False
        while not is_over:
            # The inner loop runs once for every row of the file: nothing is in it that can be done outside.
            for _ in _BURST:
                length, data = pgconn.get_copy_data(1)
                if length > 0:
                    pieces.append(data)
                elif length == 0:
                    wait()
                else:
                    is_over = True
                    break
            size += sum(map(len, pieces[-len(_BURST) :]))
            if size >= CHUNK_BYTES or is_over:
                yield len(pieces), b"".join(pieces)
                pieces, size = [], 0
        _end(pgconn, wait)


def _begin(pgconn: PGconn, wait: Any) -> None:
    while pgconn.flush():
        wait()
    while pgconn.is_busy():
        wait()
    result = pgconn.get_result()
    if result is None or result.status != ExecStatus.COPY_OUT:
        raise _error(result)


def _end(pgconn: PGconn, wait: Any) -> None:
    while True:
        while pgconn.is_busy():
            wait()
        if (result := pgconn.get_result()) is None:
            return
        if result.status == ExecStatus.FATAL_ERROR:
            raise _error(result)


def _error(result: PGresult | None) -> psycopg.Error:
    if result is None:
        return psycopg.OperationalError("PostgreSQL gave no answer to COPY.")
    return psycopg.errors.error_from_result(result)


def _decimal(column: Column, type_: Any) -> Column:
    if type_.scale is None:
        return sa.func.trim_scale(column)
    if all(isinstance(base, sa.Column) for base in column.base_columns):
        return column  # a column of a table has its scale already, a sum or a quotient may not
    return sa.func.round(column, sa.literal_column(str(int(type_.scale))))


def _cast(column: Column, name: str) -> Text:
    # Not sqlalchemy.cast(): the column's own type would answer for the value instead of the text.
    return sa.cast(sa.type_coerce(column, sa.types.NullType), _TARGETS[name])


_TARGETS: dict[str, Any] = {
    "TEXT": sa.Text(),
    "UUID": sa.Uuid(),
    "JSONB": JSONB(),
}
