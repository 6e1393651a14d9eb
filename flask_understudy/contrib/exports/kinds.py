"""What a column holds, as far as its text in a file is concerned."""

from __future__ import annotations

import enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.type_api import TypeEngine

from .errors import UnsupportedExport


class Kind(enum.Enum):
    """A family of column types that is written alike.

    Numbers, booleans and times are written bare, the others in quotes (in CSV).
    """

    INTEGER = enum.auto()
    DECIMAL = enum.auto()
    FLOAT = enum.auto()
    BOOLEAN = enum.auto()
    DATETIME = enum.auto()
    DATE = enum.auto()
    TIME = enum.auto()
    TEXT = enum.auto()
    UUID = enum.auto()
    JSON = enum.auto()
    BINARY = enum.auto()

    @property
    def is_quoted(self) -> bool:
        """Whether CSV puts the cell in quotes."""
        return self in {Kind.TEXT, Kind.UUID, Kind.JSON, Kind.BINARY}

    @property
    def is_free(self) -> bool:
        """Whether the cell may start with any character, so that it has to be disarmed in CSV."""
        return self in {Kind.TEXT, Kind.JSON}

    @property
    def is_string(self) -> bool:
        """Whether JSON writes the cell as a string."""
        return self.is_quoted and self is not Kind.JSON or self in _TIMES


_TIMES = {Kind.DATETIME, Kind.DATE, Kind.TIME}

# Order counts: an Interval is stored as a DateTime on SQLite, and is none.
_KINDS: tuple[tuple[type[TypeEngine[Any]], Kind], ...] = (
    (sa.Boolean, Kind.BOOLEAN),
    (sa.Integer, Kind.INTEGER),
    (sa.Float, Kind.FLOAT),
    (sa.Numeric, Kind.DECIMAL),
    (sa.DateTime, Kind.DATETIME),
    (sa.Date, Kind.DATE),
    (sa.Time, Kind.TIME),
    (sa.Uuid, Kind.UUID),
    (sa.JSON, Kind.JSON),
    (sa.String, Kind.TEXT),
    (sa.LargeBinary, Kind.BINARY),
)


def stored_type(column: sa.ColumnElement[Any], dialect: sa.Dialect) -> TypeEngine[Any]:
    """Return the type under which the database stores `column`: decorators and variants undone."""
    type_ = column.type
    while isinstance(type_, sa.types.TypeDecorator) and not isinstance(type_, sa.Interval):
        type_ = type_.load_dialect_impl(dialect)
    return type_.dialect_impl(dialect)


def kind_of(column: sa.ColumnElement[Any], dialect: sa.Dialect) -> Kind:
    """Return the kind of `column`.

    Raises:
        UnsupportedExport: Its type is none that can be written alike on every database.
    """
    type_ = stored_type(column, dialect)
    if not isinstance(type_, sa.Interval):
        for base, kind in _KINDS:
            if isinstance(type_, base):
                return kind
    raise UnsupportedExport(
        f"The column {column.key!r} is of the type {column.type!r}, which has no agreed text. "
        "Select it as a text or a number, such as sqlalchemy.cast(column, sqlalchemy.Text)."
    )
