"""Workbooks: cells of their own types, none of them a formula or a link, in constant memory.

A row is on the disk as soon as the next one begins, in a temporary folder (`TMPDIR`) that is gone when
the file has been handed on. What a cell cannot hold exactly is a text: numbers of more than 15 digits,
NaN, times before 1900. Times are in UTC.
"""

from __future__ import annotations

import datetime as dt
import math
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import xlsxwriter

from .errors import ExportTooLarge, UnsupportedExport
from .kinds import Kind
from .report import Chart, Report
from .values import in_utc, plain

#: Rows of a sheet, with the one that names the columns; columns; characters of a cell.
MOST_ROWS = 1_048_576
MOST_COLUMNS = 16_384
LONGEST_TEXT = 32_767

_PIECE = 256 * 1024
_EXACT_DIGITS = 15
_LONGEST_NAME = 31
_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
_WIDTHS = {Kind.DATETIME: 19, Kind.UUID: 36, Kind.TEXT: 24, Kind.JSON: 30}


class Book:
    """A workbook that is being written."""

    def __init__(self, path: Path) -> None:
        self._book = xlsxwriter.Workbook(str(path), {**_OPTIONS, "tmpdir": str(path.parent)})
        self._names: set[str] = set()
        self._kinds: list[tuple[type, Any]] = [
            (kind, self._book.add_format({"num_format": shape}))
            for kind, shape in (
                (dt.datetime, "yyyy-mm-dd hh:mm:ss"),
                (dt.date, "yyyy-mm-dd"),
                (dt.time, "hh:mm:ss"),
            )
        ]
        self.bold = self._book.add_format({"bold": True})
        self.title = self._book.add_format({"bold": True, "font_size": 16})

    def sheet(self, name: str) -> Any:
        """Return a new sheet of this name, or of one like it that a sheet may have."""
        return self._book.add_worksheet(self._free(name))

    def put(self, sheet: Any, row: int, values: Sequence[object], form: Any = None) -> None:
        """Write the cells of a row, which lies below all that were written.

        Raises:
            ExportTooLarge: The sheet is full, or a text is longer than a cell may be.
        """
        if row >= MOST_ROWS:
            raise ExportTooLarge(f"A sheet of xlsx has {MOST_ROWS:,} rows; csv and json take more.")
        for column, value in enumerate(values):
            self._cell(sheet, row, column, value, form)

    def chart(self, sheet: Any, row: int, chart: Chart, first: int) -> None:
        """Draw a chart beside its numbers, which begin in the row `first`."""
        drawn = self._book.add_chart({"type": "column" if chart.kind == "bar" else "line"})
        last = first + len(chart.labels) - 1
        for column, _ in enumerate(chart.series, 1):
            drawn.add_series(
                {
                    "name": [sheet.name, first - 1, column],
                    "categories": [sheet.name, first, 0, last, 0],
                    "values": [sheet.name, first, column, last, column],
                }
            )
        sheet.insert_chart(row, len(chart.series) + 2, drawn)

    def close(self) -> None:
        """Write the file."""
        self._book.close()

    def _cell(self, sheet: Any, row: int, column: int, value: object, form: Any) -> None:
        if value is None:
            return
        if isinstance(value, bool):
            sheet.write_boolean(row, column, value, form)
            return
        if isinstance(value, (int, float, Decimal)) and _is_exact(value):
            sheet.write_number(row, column, value, form)
            return
        moment = in_utc(value) if isinstance(value, dt.datetime) else value
        for kind, shape in self._kinds:
            if isinstance(moment, kind) and getattr(moment, "year", 1900) >= 1900:
                sheet.write_datetime(row, column, moment, form or shape)
                return
        text = plain(value)
        if len(text) > LONGEST_TEXT:
            raise ExportTooLarge(
                f"A cell of xlsx holds {LONGEST_TEXT:,} characters, and row {row + 1} has a text of {len(text):,}; "
                "csv and json take it."
            )
        sheet.write_string(row, column, text.encode("utf-8", "replace").decode(), form)

    def _free(self, name: str) -> str:
        shown = (character for character in name if unicodedata.category(character)[0] != "C")
        kept = "".join(" " if character in "[]:*?/\\" else character for character in shown)
        while len(kept.encode("utf-16-le")) > 2 * _LONGEST_NAME:
            kept = kept[:-1]
        kept = kept.strip("' ") or "Sheet"
        kept = "Sheet" if kept.lower() == "history" else kept
        found, number = kept, 1
        while found.lower() in self._names:
            number += 1
            found = f"{kept[: _LONGEST_NAME - 5]} {number}"
        self._names.add(found.lower())
        return found


def row_chunks(
    names: Sequence[str], kinds: Sequence[Kind], rows: Iterable[Sequence[object]], title: str
) -> Iterator[bytes]:
    """Yield a workbook of one sheet, the names of its columns in the first row."""
    if len(names) > MOST_COLUMNS:
        raise UnsupportedExport(f"A sheet of xlsx has {MOST_COLUMNS:,} columns, and there are {len(names):,}.")

    def write(book: Book) -> None:
        sheet = book.sheet(title)
        sheet.freeze_panes(1, 0)
        for column, kind in enumerate(kinds):
            sheet.set_column(column, column, _WIDTHS.get(kind, 12))
        book.put(sheet, 0, names, book.bold)
        for number, row in enumerate(rows, 1):
            book.put(sheet, number, row)

    return _written(write)


def report_chunks(report: Report) -> Iterator[bytes]:
    """Yield a workbook: a sheet with figures and charts, then one for each table."""

    def write(book: Book) -> None:
        _summary(book, report)
        for table in report.tables:
            sheet = book.sheet(table.title)
            sheet.freeze_panes(1, 0)
            sheet.set_column(0, len(table.columns) - 1, 18)
            book.put(sheet, 0, table.columns, book.bold)
            for number, row in enumerate(table.checked_rows(), 1):
                book.put(sheet, number, row)

    return _written(write)


def _summary(book: Book, report: Report) -> None:
    sheet = book.sheet("Summary")
    sheet.set_column(0, 2, 24)
    book.put(sheet, 0, [report.title], book.title)
    book.put(sheet, 1, [report.subtitle])
    book.put(sheet, 2, ["Made at (UTC)", report.made_at])
    row = 4
    for figure in report.figures:
        book.put(sheet, row, [figure.label, figure.value, figure.note])
        row += 1
    for chart in report.charts:
        top = row = row + 1
        book.put(sheet, row, [chart.title], book.bold)
        book.put(sheet, row + 1, ["", *chart.series], book.bold)
        for number, label in enumerate(chart.labels):
            book.put(sheet, row + 2 + number, [label, *(numbers[number] for numbers in chart.series.values())])
        if not chart.is_empty:
            book.chart(sheet, top, chart, row + 2)
        row = max(row + 3 + len(chart.labels), top + 16)


def _written(write: Callable[[Book], None]) -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        path = Path(folder, "book.xlsx")
        book = Book(path)
        write(book)
        book.close()
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece


def _is_exact(number: int | float | Decimal) -> bool:
    if isinstance(number, float):
        return math.isfinite(number)
    if isinstance(number, Decimal) and not number.is_finite():
        return False
    is_short = isinstance(number, int) or len(number.normalize().as_tuple().digits) <= _EXACT_DIGITS
    return is_short and abs(number) < 10**_EXACT_DIGITS
