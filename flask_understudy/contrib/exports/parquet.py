"""Parquet: columns of types, compressed, one group of rows after the other.

integer, float, boolean    int64, double, boolean
decimal                    decimal128(38, scale); without a scale, a text
datetime                   timestamp in UTC, microseconds
date, time                 date32, time64
text, uuid, JSON           string
binary                     binary
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UnsupportedExport
from .kinds import Kind
from .values import plain

#: A group is written when it has so many rows, or so many characters.
GROUP_ROWS = 20_000
GROUP_BYTES = 8 * 1024 * 1024

_DIGITS = 38
_TYPES = {
    Kind.INTEGER: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.DATETIME: pa.timestamp("us", tz="UTC"),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.time64("us"),
    Kind.BINARY: pa.binary(),
}


class Drain:
    """A file for pyarrow, out of which comes what was written meanwhile."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: Any) -> int:
        """Take what comes next."""
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def flush(self) -> None:
        """Do nothing: there is no file."""

    def close(self) -> None:
        """Do nothing: what is left is still to be taken out."""

    def emptied(self) -> Iterator[bytes]:
        """Yield what was written since the last call."""
        pieces, self._pieces = self._pieces, []
        if any(pieces):
            yield b"".join(pieces)


def row_chunks(
    names: Sequence[str], kinds: Sequence[Kind], rows: Iterable[Sequence[Any]], scales: Sequence[int | None]
) -> Iterator[bytes]:
    """Yield a file, a group of rows at a time.

    Args:
        names: Of the columns.
        kinds: What each holds.
        rows: Their values.
        scales: The digits after the point of a decimal; None where there is no such number.
    """
    types = [_type(kind, scale) for kind, scale in zip(kinds, scales, strict=True)]
    schema = pa.schema(list(zip(names, types, strict=True)))
    drain = Drain()
    with pq.ParquetWriter(drain, schema, compression="zstd") as writer:
        for group in _groups(rows):
            columns = [_column(*each) for each in zip(names, types, zip(*group, strict=True), strict=True)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            yield from drain.emptied()
    yield from drain.emptied()


def _type(kind: Kind, scale: int | None) -> pa.DataType:
    if kind is Kind.DECIMAL and scale is not None and 0 <= scale <= _DIGITS:
        return pa.decimal128(_DIGITS, scale)
    return _TYPES.get(kind, pa.string())


def _column(name: str, type_: pa.DataType, values: Sequence[Any]) -> pa.Array:
    if pa.types.is_string(type_):
        values = [plain(value) if isinstance(value, Decimal) else value for value in values]
    try:
        return pa.array(values, type_)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise UnsupportedExport(f"The column {name!r} has a value that is no {type_} of Parquet: {error}") from None


def _groups(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    group: list[Sequence[Any]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum(len(value) for value in row if isinstance(value, (str, bytes)))
        if len(group) == GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
