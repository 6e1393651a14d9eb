"""Pages of A4: reports, and the rows of a SELECT.

Texts are drawn letter by letter; nothing in them is markup. What does not fit on its line goes on in the
next one, words that are wider than their column are broken, and after `CELL_LINES` lines a cell ends
with an ellipsis. reportlab keeps all pages in memory until the end: so there is a limit of rows.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, islice

from reportlab.graphics import renderPDF
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4, landscape
from reportlab.pdfgen.canvas import Canvas

from .errors import ExportTooLarge, UnsupportedExport
from .kinds import Kind
from .pdf_chart import HEIGHT, colour, drawing
from .pdf_text import BOLD, REGULAR, Font, grouped, shown
from .report import Chart, Figure, Report, Table

#: Rows in one file, and columns beside each other.
MOST_ROWS = 10_000
MOST_COLUMNS = 20

#: Lines of one cell; the rest of its text is left out.
CELL_LINES = 30

#: Columns beside each other on a page that stands upright.
UPRIGHT_COLUMNS = 7

_PIECE = 256 * 1024
_SAMPLE = 100
_MARGIN = 48.0
_SIZE, _LINE, _PAD = 7.5, 9.6, 4.0
_INK, _GREY, _PALE, _RULE = map(HexColor, ("#1d2733", "#5f6b78", "#eef2f6", "#d5d9de"))


def report_chunks(report: Report) -> Iterator[bytes]:
    """Yield the pages of a report: title, tiles with the figures, charts, tables."""
    widest = max((len(table.columns) for table in report.tables), default=0)
    pages = Pages(report.title, is_wide=widest > UPRIGHT_COLUMNS)
    pages.paragraph(report.title, BOLD, 20, _INK)
    if report.subtitle:
        pages.paragraph(report.subtitle, REGULAR, 11, _GREY)
    pages.paragraph(f"As of {shown(report.made_at)} UTC", REGULAR, 8.5, _GREY)
    pages.y -= 10
    pages.tiles(report.figures)
    for chart in report.charts:
        pages.chart(chart)
    for table in report.tables:
        pages.table(table)
    yield from pages.pieces()


def row_chunks(
    names: Sequence[str], kinds: Sequence[Kind], rows: Iterable[Sequence[object]], title: str
) -> Iterator[bytes]:
    """Yield the pages of a table; times are shown in UTC."""
    pages = Pages(title, is_wide=len(names) > UPRIGHT_COLUMNS)
    pages.paragraph(title, BOLD, 16, _INK)
    if Kind.DATETIME in kinds:
        pages.paragraph("Times are in UTC.", REGULAR, 8.5, _GREY)
    pages.rows(names, rows)
    yield from pages.pieces()


class Pages:
    """A document that grows from above to below."""

    def __init__(self, title: str, *, is_wide: bool) -> None:
        self.page_width, self.page_height = landscape(A4) if is_wide else A4
        self.width = self.page_width - 2 * _MARGIN
        self._file = io.BytesIO()
        self._canvas = Canvas(self._file, pagesize=(self.page_width, self.page_height), pageCompression=1)
        self._title = REGULAR.line(title)
        self._canvas.setTitle(self._title)
        self._canvas.setCreator("Flask-Understudy")
        self._rows = 0
        #: Where the next thing begins.
        self.y = self.page_height - _MARGIN

    def pieces(self) -> Iterator[bytes]:
        """End the document and yield it."""
        self._foot()
        self._canvas.showPage()
        # Every page shows this form; only now it is known what stands in it.
        self._canvas.beginForm("pages", 0, -4, 60, 12)
        self._write(0, 0, str(self._canvas.getPageNumber() - 1), REGULAR, 8, _GREY)
        self._canvas.endForm()
        self._canvas.save()
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece

    def paragraph(self, text: str, font: Font, size: float, ink: Color) -> None:
        """Write a text over the whole width."""
        for line in font.wrapped(text, self.width, size, 6):
            self._room(size * 1.35)
            self.y -= size
            self._write(_MARGIN, self.y, line, font, size, ink)
            self.y -= size * 0.35

    def tiles(self, figures: Sequence[Figure]) -> None:
        """Show figures in boxes, four beside each other."""
        gap, height, beside = 8.0, 62.0, 4
        width = (self.width - gap * (beside - 1)) / beside
        for start in range(0, len(figures), beside):
            self._room(height + gap)
            for place, figure in enumerate(figures[start : start + beside]):
                self._tile(figure, _MARGIN + place * (width + gap), self.y - height, width, height)
            self.y -= height + gap
        self.y -= 6

    def chart(self, chart: Chart) -> None:
        """Draw a chart below its title, and what its colours mean."""
        self._room(HEIGHT + 60)
        self.paragraph(chart.title, BOLD, 11, _INK)
        if chart.is_empty:
            self.paragraph("There are no numbers to show.", REGULAR, 8.5, _GREY)
        else:
            self._legend(list(chart.series))
            self._room(HEIGHT)
            renderPDF.draw(drawing(chart, self.width), self._canvas, _MARGIN, self.y - HEIGHT)
            self.y -= HEIGHT
        self.y -= 14

    def table(self, table: Table) -> None:
        """Show a table below its title."""
        self._room(80)
        self.paragraph(table.title, BOLD, 11, _INK)
        self.rows(table.columns, table.checked_rows())
        self.y -= 14

    def rows(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show rows, the names of their columns above them on every page.

        Raises:
            UnsupportedExport: There are more columns than a page has room for.
            ExportTooLarge: There are more rows than a file may have.
        """
        if len(columns) > MOST_COLUMNS:
            raise UnsupportedExport(
                f"A page of PDF has room for {MOST_COLUMNS} columns, and there are {len(columns)}; "
                "csv, json and xlsx take them."
            )
        rest = iter(rows)
        sample = list(islice(rest, _SAMPLE))
        numeric = [_is_numeric(row[place] for row in sample) for place in range(len(columns))]
        widths = _column_widths(columns, sample, self.width)
        self.y -= 4
        self._row(columns, widths, numeric, BOLD)
        for row in chain(sample, rest):
            self._rows += 1
            if self._rows > MOST_ROWS:
                raise ExportTooLarge(f"A PDF has up to {MOST_ROWS:,} rows; csv, json and xlsx take more.")
            self._row(row, widths, numeric, REGULAR, columns)
        if not sample:
            self.paragraph("There are no rows.", REGULAR, 8.5, _GREY)

    def _row(
        self,
        values: Sequence[object],
        widths: Sequence[float],
        numeric: Sequence[bool],
        font: Font,
        again: Sequence[str] = (),
    ) -> None:
        most = CELL_LINES if font is REGULAR else 3
        cells = [
            font.wrapped(shown(value), width - 2 * _PAD, _SIZE, most)
            for value, width in zip(values, widths, strict=True)
        ]
        height = max(map(len, cells)) * _LINE + 3.5
        if self.y - height < _MARGIN:
            self._turn()
            if again:
                self._row(again, widths, numeric, BOLD)
        if font is BOLD:
            self._box(_MARGIN, self.y - height, sum(widths), height, _PALE)
        left = _MARGIN
        text = self._canvas.beginText()
        text.setFont(font.name, _SIZE)
        text.setFillColor(_INK)
        for lines, width, is_number in zip(cells, widths, numeric, strict=True):
            for number, line in enumerate(lines, 1):
                if line:
                    shift = width - 2 * _PAD - font.width(line, _SIZE) if is_number else 0
                    text.setTextOrigin(left + _PAD + shift, self.y - number * _LINE)
                    text.textOut(line)
            left += width
        self._canvas.drawText(text)
        self.y -= height
        self._canvas.setStrokeColor(_RULE)
        self._canvas.setLineWidth(0.4)
        self._canvas.line(_MARGIN, self.y, left, self.y)

    def _tile(self, figure: Figure, x: float, y: float, width: float, height: float) -> None:
        self._box(x, y, width, height, _PALE)
        self._box(x, y, 2.5, height, colour(0))
        inner = width - 18
        value = BOLD.line("none" if figure.value is None else grouped(figure.value))
        size = next((s for s in (17, 15, 13, 11, 9) if BOLD.width(value, s) <= inner), 9)
        self._write(x + 10, y + 46, REGULAR.cut(REGULAR.line(figure.label), inner, 8), REGULAR, 8, _GREY)
        self._write(x + 10, y + 24, BOLD.cut(value, inner, size), BOLD, size, _INK)
        self._write(x + 10, y + 9, REGULAR.cut(REGULAR.line(figure.note), inner, 7), REGULAR, 7, _GREY)

    def _legend(self, names: Sequence[str]) -> None:
        x, size = _MARGIN, 8.0
        self.y -= 14
        for number, name in enumerate(names):
            text = REGULAR.cut(REGULAR.line(name), 180, size)
            width = REGULAR.width(text, size) + 26
            if x + width > _MARGIN + self.width and x > _MARGIN:
                self._room(12)
                x, self.y = _MARGIN, self.y - 12
            self._box(x, self.y, 8, 8, colour(number))
            self._write(x + 12, self.y + 1, text, REGULAR, size, _INK)
            x += width
        self.y -= 4

    def _room(self, height: float) -> None:
        if self.y - height < _MARGIN:
            self._turn()

    def _turn(self) -> None:
        self._foot()
        self._canvas.showPage()
        self.y = self.page_height - _MARGIN

    def _foot(self) -> None:
        text = f"Page {self._canvas.getPageNumber()} of "
        x, y = self.page_width - _MARGIN - 58, _MARGIN - 22
        self._write(_MARGIN, y, REGULAR.cut(self._title, self.width - 90, 8), REGULAR, 8, _GREY)
        self._write(x, y, text, REGULAR, 8, _GREY)
        self._canvas.saveState()
        self._canvas.translate(x + REGULAR.width(text, 8), y)
        self._canvas.doForm("pages")
        self._canvas.restoreState()

    def _write(self, x: float, y: float, text: str, font: Font, size: float, ink: Color) -> None:
        self._canvas.setFillColor(ink)
        self._canvas.setFont(font.name, size)
        self._canvas.drawString(x, y, text)

    def _box(self, x: float, y: float, width: float, height: float, fill: Color) -> None:
        self._canvas.setFillColor(fill)
        self._canvas.rect(x, y, width, height, stroke=0, fill=1)


def _is_numeric(values: Iterable[object]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(
        isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) for value in present
    )


def _column_widths(columns: Sequence[str], sample: Sequence[Sequence[object]], room: float) -> list[float]:
    """Return widths that fill `room`: narrow columns get what they need, wide ones share the rest."""
    wanted = [BOLD.width(BOLD.line(name)[:60], _SIZE) for name in columns]
    for row in sample:
        for place, value in enumerate(row):
            needs = max(REGULAR.width(line[:120], _SIZE) for line in REGULAR.lines(shown(value)[:2000]))
            wanted[place] = max(wanted[place], needs)
    wanted = [width + 2 * _PAD + 1 for width in wanted]
    if sum(wanted) <= room:
        extra = (room - sum(wanted)) / len(wanted)
        return [width + extra for width in wanted]
    left, widths = room, [0.0] * len(wanted)
    for done, place in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        widths[place] = min(wanted[place], left / (len(wanted) - done))
        left -= widths[place]
    return widths
