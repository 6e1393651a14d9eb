"""SQLite: rows from a cursor, each one written whole by SQLite itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from .cells import Column, Named, Text, as_text, csv_value, joined, json_line, raw
from .formats import Format
from .kinds import Kind, stored_type
from .numbers import decimal_text, float_text, json_text
from .rows import Row, batches

#: Rows fetched at a time.
BATCH_ROWS = 1000

# So many digits SQLite's printf gets right; for longer numbers Python answers.
_EXACT_DIGITS = 15


class SqliteCells:
    """Cells as SQLite writes them, in the words of PostgreSQL."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self.dialect = dialect

    def plain(self, column: Column, kind: Kind) -> Text:
        """Return the text of `column`."""
        text = as_text(column)
        match kind:
            case Kind.INTEGER:
                return sa.cast(sa.cast(text, sa.Integer), sa.Text)
            case Kind.DECIMAL:
                return _decimal(column, stored_type(column, self.dialect))
            case Kind.FLOAT:
                return sa.func.understudy_float(text, type_=sa.Text)
            case Kind.BOOLEAN:
                number = sa.type_coerce(column, sa.Integer)
                return sa.case(
                    (number == sa.literal_column("0"), raw("false")),
                    (number.is_not(None), raw("true")),
                )
            case Kind.DATETIME:
                instant = sa.func.replace(_trimmed(text, 19), raw(" "), raw("T"), type_=sa.Text)
                return joined(instant, raw("Z"))
            case Kind.DATE:
                return sa.func.substr(text, _n(1), _n(10), type_=sa.Text)
            case Kind.TIME:
                return _trimmed(text, 8)
            case Kind.UUID:
                return _hyphenated(text)
            case Kind.JSON:
                return sa.func.understudy_json(text, type_=sa.Text)
            case Kind.BINARY:
                is_null = text.is_(None)  # hex(NULL) is an empty text
                return sa.case((is_null, sa.null()), else_=sa.func.lower(sa.func.hex(text), type_=sa.Text))
        return text

    def first_code(self, text: Text) -> sa.ColumnElement[int]:
        """Return the code point of the first character, NULL for an empty text."""
        return sa.func.unicode(text, type_=sa.Integer)

    def json_string(self, text: Text) -> Text:
        """Return `text` as a JSON string; SQLite would write NULL as a text of its own."""
        return sa.case((text.is_not(None), sa.func.json_quote(text, type_=sa.Text)))

    def json_number(self, column: Column, kind: Kind) -> Text:
        """Return `column` as a JSON number."""
        text = self.plain(column, kind)
        is_number = sa.func.abs(as_text(column)) < sa.literal_column("1.8e308")
        return sa.case((is_number, text), else_=joined(raw('"'), text, raw('"')))


def chunks(
    connection: sa.Connection, rows: sa.Subquery, columns: list[Named], as_: Format
) -> Iterator[tuple[int, bytes]]:
    """Yield (number of rows, their bytes), `BATCH_ROWS` at a time."""
    cells = SqliteCells(connection.dialect)
    if as_.name == "csv":
        line = _csv_line(columns, cells)
    else:
        line = json_line(columns, cells, start="," if as_.name == "json" else "")
    whole = sa.cast(joined(line, sa.func.char(_n(10), type_=sa.Text)), sa.LargeBinary)
    _teach(connection)
    # The cast gives bytes; the type is taken off again, for SQLAlchemy would copy each value.
    lines: sa.ColumnElement[Any] = sa.type_coerce(whole, sa.types.NullType)
    with connection.execute(sa.select(lines).select_from(rows)).scalars() as result:
        for batch in result.partitions(BATCH_ROWS):
            yield len(batch), b"".join(batch)


def values(connection: sa.Connection, rows: sa.Subquery, columns: list[Named]) -> Iterator[list[Row]]:
    """Yield the rows as values, a batch at a time."""
    _teach(connection)
    return batches(connection, rows, columns, SqliteCells(connection.dialect))


def _csv_line(columns: list[Named], cells: SqliteCells) -> Text:
    parts: list[Text] = []
    for _, column, kind in columns:
        value = csv_value(column, kind, cells)
        if kind.is_quoted:
            doubled = sa.func.replace(value, raw('"'), raw('""'), type_=sa.Text)
            value = joined(raw('"'), doubled, raw('"'))
        parts += [raw(","), sa.func.coalesce(value, raw(""), type_=sa.Text)]
    return joined(*parts[1:])


def _n(number: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(number), sa.Integer)


def _trimmed(text: Text, length: int) -> Text:
    # 15:04:05.250000 becomes 15:04:05.25, and 15:04:05.000000 becomes 15:04:05; to whole seconds it has this length.
    has_fraction = sa.func.length(text, type_=sa.Integer) > _n(length)
    shorter = sa.func.rtrim(sa.func.rtrim(text, raw("0")), raw("."), type_=sa.Text)
    return sa.case((has_fraction, shorter), else_=text)


def _hyphenated(text: Text) -> Text:
    low = sa.func.lower(text, type_=sa.Text)
    bounds = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    parts = [sa.func.substr(low, _n(start), _n(length), type_=sa.Text) for start, length in bounds]
    first, *rest = parts
    with_hyphens = joined(first, *(piece for part in rest for piece in (raw("-"), part)))
    return sa.case((sa.func.length(text, type_=sa.Integer) == _n(32), with_hyphens), else_=low)


def _decimal(column: Column, type_: Any) -> Text:
    number = sa.type_coerce(column, sa.Float)
    if type_.scale is None:
        return sa.func.understudy_decimal(number, sa.null(), type_=sa.Text)
    scale = int(type_.scale)
    # Adding zero makes zero out of minus zero, which PostgreSQL's numeric does not know.
    rounded = sa.func.round(number, _n(scale), type_=sa.Float) + sa.literal_column("0.0")
    printed = sa.func.printf(raw(f"%.{scale}f"), rounded, type_=sa.Text)
    is_exact = sa.func.abs(number) < sa.literal_column(f"1e{_EXACT_DIGITS - scale}")
    return sa.case((is_exact, printed), else_=sa.func.understudy_decimal(number, _n(scale), type_=sa.Text))


def _teach(connection: sa.Connection) -> None:
    """Give the connection the three functions that SQLite does not have, once."""
    if connection.info.setdefault("understudy_exports", False):
        return
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    driver.create_function("understudy_float", 1, float_text, deterministic=True)
    driver.create_function("understudy_decimal", 2, decimal_text, deterministic=True)
    driver.create_function("understudy_json", 1, json_text, deterministic=True)
    connection.info["understudy_exports"] = True
