"""One cell as SQL: the same bytes out of PostgreSQL and out of SQLite.

    integer, decimal, float   as PostgreSQL prints them: 7, 7.50, 1e+20
    boolean                   true, false
    datetime                  2026-01-31T23:59:59Z or …59.25Z, in UTC (RFC 3339)
    date, time                2026-01-31, 23:59:59
    uuid, binary              with hyphens; hexadecimal
    JSON                      as PostgreSQL prints jsonb
    NULL                      nothing in CSV (an empty text is ""), null in JSON

The database writes the text, not Python: that is what keeps an export near the speed of COPY. What
the database stores is what is written; the Python side of a TypeDecorator has no part in it.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import sqlalchemy as sa

from . import formulas
from .kinds import Kind

Column = sa.ColumnElement[Any]
Text = sa.ColumnElement[str]

#: The column's name in the file, the column, and what it holds.
Named = tuple[str, Column, Kind]

_TRIGGERS: list[sa.ColumnElement[int]] = [sa.literal_column(str(ord(character))) for character in formulas.TRIGGERS]
_LEADERS: list[sa.ColumnElement[int]] = [sa.literal_column(str(ord(character))) for character in formulas.LEADERS]


class Cells(Protocol):
    """How one database writes cells."""

    def plain(self, column: Column, kind: Kind) -> Text:
        """Return the text of `column`, without quotes; NULL stays NULL."""

    def first_code(self, text: Text) -> sa.ColumnElement[int]:
        """Return the code point of the first character."""

    def json_string(self, text: Text) -> Text:
        """Return `text` as a JSON string, quotes included."""

    def json_number(self, column: Column, kind: Kind) -> Text:
        """Return `column` as a JSON number; NaN and infinities as strings, for JSON has none."""


def raw(text: str) -> Text:
    """Return a constant that is part of the statement; for texts of this module's own only."""
    return sa.literal_column(f"'{text}'", sa.Text)


def as_text(column: Column) -> Text:
    """Return `column` taken as a text, without a conversion in the database."""
    return sa.type_coerce(column, sa.Text)


def joined(*parts: Text) -> Text:
    """Return the texts one after the other."""
    first, *rest = parts
    for part in rest:
        first = first.concat(part)
    return first


def disarmed(text: Text, cells: Cells) -> Text:
    """Return `text` with an apostrophe in front where `formulas.is_formula` says so.

    Nearly every text is let through by its first character alone.
    """
    stripped = sa.func.ltrim(text, sa.literal(formulas.LEADERS, sa.Text), type_=sa.Text)
    may_be_formula = cells.first_code(text).in_(_TRIGGERS + _LEADERS)
    is_formula = cells.first_code(stripped).in_(_TRIGGERS)
    prefix = sa.case((is_formula, raw("''")), else_=raw(""))
    return sa.case((may_be_formula, joined(prefix, text)), else_=text)


def csv_value(column: Column, kind: Kind, cells: Cells) -> Text:
    """Return the value of a CSV cell, before quotes are put around it."""
    text = cells.plain(column, kind)
    return disarmed(text, cells) if kind.is_free else text


def json_value(column: Column, kind: Kind, cells: Cells) -> Text:
    """Return the value of a JSON member; NULL is `null`."""
    if kind is Kind.TEXT:
        text = cells.json_string(cells.plain(column, kind))
    elif kind.is_string:
        text = joined(raw('"'), cells.plain(column, kind), raw('"'))
    elif kind in {Kind.FLOAT, Kind.DECIMAL}:
        text = cells.json_number(column, kind)
    else:
        text = cells.plain(column, kind)
    return sa.func.coalesce(text, raw("null"), type_=sa.Text)


def json_line(columns: list[Named], cells: Cells, *, start: str) -> Text:
    """Return one row as a JSON object, `start` before it."""
    parts: list[Text] = []
    for number, (name, column, kind) in enumerate(columns):
        opening = "," if number else start + "{"
        parts.append(sa.literal(f"{opening}{json.dumps(name, ensure_ascii=False)}:", sa.Text))
        parts.append(json_value(column, kind, cells))
    return joined(*parts, raw("}"))
