"""A report: a few figures, charts and tables that a person reads, as a file of several formats.

report = Report(
    title="Sales", subtitle="Acme, October 2026", made_at=now,
    figures=(Figure("Turnover", 1250, "EUR"),),
    charts=(Chart("By week", ("40", "41"), {"EUR": (500.0, 750.0)}),),
    tables=(Table("Orders", ("id", "EUR"), rows),),
)
LocalStorage("/var/lib/app/reports").save(LocalStorage.new_key(), report.chunks("pdf"))
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from .formats import REPORT_FORMATS, format_named
from .values import Value, csv_line, encoded, json_value


@dataclass(frozen=True, slots=True)
class Figure:
    """One number or word that counts.

    Attributes:
        label: What it is: `New members`.
        value: Numbers are written with groups of thousands where people read them; None where there is none.
        note: A few words more, such as a unit or a comparison.
    """

    label: str
    value: str | int | float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Numbers as bars side by side or as lines.

    Attributes:
        title: What is seen.
        labels: The places on the horizontal axis, from left to right.
        series: Each name with its numbers, one for each label; NaN leaves a gap.
        kind: `bar` or `line`.

    Raises:
        ValueError: A series has more or fewer numbers than there are labels, or the kind is unknown.
    """

    title: str
    labels: tuple[str, ...]
    series: Mapping[str, tuple[float, ...]]
    kind: Literal["bar", "line"] = "bar"

    def __post_init__(self) -> None:
        if self.kind not in ("bar", "line"):
            raise ValueError(f"{self.kind!r} is no kind of chart; there are bar and line.")
        for name, numbers in self.series.items():
            if len(numbers) != len(self.labels):
                raise ValueError(f"The series {name!r} has {len(numbers)} numbers for {len(self.labels)} labels.")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(math.isfinite(number) for numbers in self.series.values() for number in numbers)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a title.

    Attributes:
        title: What is in it.
        columns: The names of the columns, each another one.
        rows: Read once, one row after the other, when the file is written: a generator can be written once.

    Raises:
        ValueError: There is no column, or two have one name.
    """

    title: str
    columns: tuple[str, ...]
    rows: Iterable[Sequence[object]]

    def __post_init__(self) -> None:
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise ValueError(f"The table {self.title!r} needs columns of different names, not {self.columns!r}.")

    def checked_rows(self) -> Iterator[Sequence[object]]:
        """Yield the rows.

        Raises:
            ValueError: A row has more or fewer cells than there are columns.
        """
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Row {number} of the table {self.title!r} has {len(row)} cells for {len(self.columns)} columns."
                )
            yield row


@dataclass(frozen=True, slots=True)
class Report:
    """What a person reads: figures first, then charts, then tables.

    Attributes:
        title: What it is about.
        subtitle: Whose it is and of which time; may be empty.
        made_at: When the numbers were true; without a zone it is taken as UTC.
        figures: Shown as tiles in a PDF.
        charts: Drawn in a PDF and in a workbook, numbers elsewhere.
        tables: A sheet of its own for each one in a workbook.
    """

    title: str
    subtitle: str
    made_at: datetime
    figures: tuple[Figure, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()

    def chunks(self, format: str) -> Iterator[bytes]:
        """Return the file in pieces, as a storage's `save` takes them.

        Args:
            format: A name in `REPORT_FORMATS`: `json`, `csv`, `pdf` or `xlsx`.

        Raises:
            UnsupportedExport: There is no such format, or its package is missing; at once, not at the first piece.
            ExportTooLarge: The format cannot hold so many rows or so long a text; while the pieces are read.
        """
        found = format_named(format, REPORT_FORMATS)
        if found.name == "json":
            return map(encoded, _json(self))
        if found.name == "csv":
            return map(encoded, _csv(self))
        pieces: Iterator[bytes] = found.writer().report_chunks(self)
        return pieces


def _json(report: Report) -> Iterator[str]:
    yield "{" + _members(title=report.title, subtitle=report.subtitle, madeAt=report.made_at) + ',\n"figures": ['
    yield from _separated("{" + _members(label=f.label, value=f.value, note=f.note) + "}" for f in report.figures)
    yield '],\n"charts": ['
    yield from _separated(map(_json_chart, report.charts))
    yield '],\n"tables": ['
    for number, table in enumerate(report.tables):
        opening = "{" + _members(title=table.title, columns=table.columns) + ', "rows": ['
        yield ("," if number else "") + "\n" + opening
        yield from _separated(
            "{" + _members(**dict(zip(table.columns, row, strict=True))) + "}" for row in table.checked_rows()
        )
        yield "]}"
    yield "]}\n"


def _json_chart(chart: Chart) -> str:
    series = ", ".join(
        "{" + _members(name=name) + ', "values": [' + ", ".join(map(json_value, numbers)) + "]}"
        for name, numbers in chart.series.items()
    )
    return "{" + _members(title=chart.title, kind=chart.kind, labels=chart.labels) + f', "series": [{series}]}}'


def _members(**values: Value) -> str:
    return ", ".join(f"{json_value(name)}: {json_value(value)}" for name, value in values.items())


def _separated(parts: Iterable[str]) -> Iterator[str]:
    for number, part in enumerate(parts):
        yield (",\n" if number else "\n") + part


def _csv(report: Report) -> Iterator[str]:
    yield csv_line([report.title])
    if report.subtitle:
        yield csv_line([report.subtitle])
    yield csv_line(["Made at", report.made_at])
    if report.figures:
        yield "\n" + csv_line(["Figures"]) + csv_line(["Label", "Value", "Note"])
        for figure in report.figures:
            yield csv_line([figure.label, figure.value, figure.note])
    for chart in report.charts:
        yield "\n" + csv_line([chart.title]) + csv_line(["Label", *chart.series])
        for label, *numbers in zip(chart.labels, *chart.series.values(), strict=True):
            yield csv_line([label, *numbers])
    for table in report.tables:
        yield "\n" + csv_line([table.title]) + csv_line(table.columns)
        for row in table.checked_rows():
            yield csv_line(tuple(row))
