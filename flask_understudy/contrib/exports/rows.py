"""Rows as values of Python, read a batch at a time: for formats whose cells have types.

Both databases write a value as the text of `cells.py`, and it is read from there: so the values are
the same wherever they come from, and exact. What Python's types cannot hold (PostgreSQL's `infinity`
and years before 1) stays a text.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from .cells import Cells, Named, as_text
from .kinds import Kind

#: Rows fetched at a time.
BATCH_ROWS = 500

Row = list[Any]


def _boolean(text: str) -> bool:
    return text == "true"


_READERS: dict[Kind, Callable[[str], Any]] = {
    Kind.INTEGER: int,
    Kind.DECIMAL: Decimal,
    Kind.FLOAT: float,
    Kind.BOOLEAN: _boolean,
    Kind.DATETIME: dt.datetime.fromisoformat,
    Kind.DATE: dt.date.fromisoformat,
    Kind.TIME: dt.time.fromisoformat,
    Kind.BINARY: bytes.fromhex,
}


def batches(connection: sa.Connection, rows: sa.Subquery, columns: list[Named], cells: Cells) -> Iterator[list[Row]]:
    """Yield the rows, `BATCH_ROWS` at a time, from a cursor on the server."""
    texts = [
        sa.type_coerce(as_text(cells.plain(column, kind)), sa.types.NullType).label(f"c{number}")
        for number, (_, column, kind) in enumerate(columns)
    ]
    readers = [_READERS.get(kind) for _, _, kind in columns]
    query = sa.select(*texts).select_from(rows)
    with connection.execute(query, execution_options={"yield_per": BATCH_ROWS}) as result:
        for batch in result.partitions():
            yield [[_value(text, reader) for text, reader in zip(row, readers, strict=True)] for row in batch]


def _value(text: str | None, reader: Callable[[str], Any] | None) -> Any:
    if text is None or reader is None:
        return text
    try:
        return reader(text)
    except ValueError:
        return text
