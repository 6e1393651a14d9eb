"""A44: a report for people, as JSON, CSV, PDF and a workbook; any text is a text in each of them."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import subprocess
import sys
from decimal import Decimal
from typing import Any

import openpyxl
import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_understudy.contrib.exports import (
    REPORT_FORMATS,
    Chart,
    ExportTooLarge,
    Figure,
    Report,
    Table,
    UnsupportedExport,
)
from flask_understudy.contrib.exports import pdf as pages
from flask_understudy.contrib.exports import xlsx as workbook

pytestmark = pytest.mark.requirement("A44")

MADE_AT = dt.datetime(2026, 11, 1, 1, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
HOSTILE = "<b>bold</b> & </para> =1+1 \x00\x1b\u202e\ud800 " + "W" * 500


def report(**changes: Any) -> Report:
    values: dict[str, Any] = {
        "title": "Sales",
        "subtitle": "Acme, October 2026",
        "made_at": MADE_AT,
        "figures": (Figure("Turnover", 1234567.5, "EUR"), Figure("Orders", 1250), Figure("Best", "=1+1")),
        "charts": (
            Chart("By week", ("40", "41"), {"this year": (500.0, 750.5), "last year": (1.0, float("nan"))}),
            Chart("By day", ("Mon", "Tue"), {"EUR": (5.0, -7.0)}, "line"),
        ),
        "tables": (Table("Orders", ("id", "name", "paid", "at"), [(1, "Ann", True, MADE_AT), (2, "@x", None, None)]),),
    }
    return Report(**values | changes)


def written(made: Report, format: str) -> bytes:
    return b"".join(made.chunks(format))


def text_of(data: bytes) -> list[str]:
    """The words of each page, with single blanks between them."""
    return [" ".join(page.extract_text().split()) for page in pypdf.PdfReader(io.BytesIO(data)).pages]


def rows_of(data: bytes, sheet: str) -> list[tuple[Any, ...]]:
    return list(openpyxl.load_workbook(io.BytesIO(data))[sheet].iter_rows(values_only=True))


def test_json_is_one_object_of_figures_charts_and_tables() -> None:
    found = json.loads(written(report(), "json"))

    assert (found["title"], found["subtitle"], found["madeAt"]) == (
        "Sales",
        "Acme, October 2026",
        "2026-10-31T23:30:00Z",
    )
    assert found["figures"][0] == {"label": "Turnover", "value": 1234567.5, "note": "EUR"}
    assert found["charts"][0]["series"][1] == {"name": "last year", "values": [1, "NaN"]}
    assert found["charts"][1]["labels"] == ["Mon", "Tue"]
    assert found["tables"][0]["columns"] == ["id", "name", "paid", "at"]
    assert found["tables"][0]["rows"][0] == {"id": 1, "name": "Ann", "paid": True, "at": "2026-10-31T23:30:00Z"}
    assert found["tables"][0]["rows"][1] == {"id": 2, "name": "@x", "paid": None, "at": None}


def test_csv_has_each_part_below_its_title_and_no_formula() -> None:
    lines = list(csv.reader(io.StringIO(written(report(), "csv").decode())))

    assert lines[:3] == [["Sales"], ["Acme, October 2026"], ["Made at", "2026-10-31T23:30:00Z"]]
    assert ["Best", "'=1+1", ""] in lines
    start = lines.index(["Orders"])
    assert lines[start + 1 :] == [
        ["id", "name", "paid", "at"],
        ["1", "Ann", "true", "2026-10-31T23:30:00Z"],
        ["2", "'@x", "", ""],
    ]


def test_pdf_shows_every_part_and_counts_its_pages() -> None:
    rows = ((number, f"Person {number}") for number in range(100))
    data = written(report(tables=(Table("People", ("id", "Full name"), rows),)), "pdf")
    texts = text_of(data)

    assert len(texts) > 2
    for word in ("Sales", "Acme, October 2026", "2026-10-31 23:30:00 UTC", "1,234,567.50", "By week", "this year"):
        assert word in texts[0]
    for number, text in enumerate(texts, 1):
        assert f"Page {number} of {len(texts)}" in text
    on_pages = [text for text in texts if "Person" in text]
    assert len(on_pages) > 1
    assert all("Full name" in text for text in on_pages)
    whole = " ".join(texts)
    assert all(f"Person {number} " in whole + " " for number in range(100))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234567, "1,234,567"), (1234.5, "1,234.50"), (-0.0, "0"), (0.0123456, "0.0123"), (1e20, "1e+20"), ("7", "7")],
)
def test_figures_are_written_for_people(value: Any, shown: str) -> None:
    [text] = text_of(written(report(figures=(Figure("First", value),), charts=(), tables=()), "pdf"))

    assert f"First {shown} Page" in text.replace("Sales Page", "Page")


def test_pdf_is_upright_or_wide_by_its_columns() -> None:
    def size(columns: int) -> tuple[float, float]:
        names = tuple(f"c{number}" for number in range(columns))
        data = written(report(tables=(Table("t", names, [names]),)), "pdf")
        box = pypdf.PdfReader(io.BytesIO(data)).pages[0].mediabox
        return float(box.width), float(box.height)

    assert [round(side) for side in size(3)] == [595, 842]
    assert [round(side) for side in size(15)] == [842, 595]


def test_pdf_has_its_fonts_inside_and_shows_more_than_latin_1() -> None:
    data = written(report(subtitle="Łódka Straße Žižka €"), "pdf")

    assert "Łódka Straße Žižka €" in text_of(data)[0]
    for page in pypdf.PdfReader(io.BytesIO(data)).pages:
        for font in page["/Resources"]["/Font"].values():
            name = font.get_object()
            assert "/FontFile2" in name.get("/FontDescriptor", {}) or name["/BaseFont"] == "/Helvetica"


def test_pdf_without_the_font_of_the_system_is_poorer_and_no_error() -> None:
    code = """
import os, sys
import reportlab, reportlab.rl_config
reportlab.rl_config.TTFSearchPath = [os.path.join(os.path.dirname(reportlab.__file__), "fonts")]
from datetime import datetime
from flask_understudy.contrib.exports import Report
sys.stdout.buffer.write(b"".join(Report("Źródła €", "Жук 甲", datetime(2026, 1, 1)).chunks("pdf")))
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    assert "Zródła € ??? ? As of" in text_of(ran.stdout)[0]


@pytest.mark.parametrize("format", REPORT_FORMATS)
def test_hostile_text_is_a_text_like_any_other(format: str) -> None:
    hostile = report(
        title=HOSTILE,
        subtitle=HOSTILE,
        figures=(Figure(HOSTILE, HOSTILE, HOSTILE),),
        charts=(Chart(HOSTILE, (HOSTILE, "b"), {HOSTILE: (1.0, 2.0)}),),
        tables=(Table(HOSTILE, (HOSTILE,), [(HOSTILE,)] * 3),),
    )

    data = written(hostile, format)

    if format == "pdf":
        assert "<b>bold</b> & </para> =1+1" in text_of(data)[0]
    if format == "xlsx":
        book = openpyxl.load_workbook(io.BytesIO(data))
        cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
        assert all(cell.data_type == "s" or cell.is_date or cell.data_type == "n" for cell in cells)
        assert not any(cell.hyperlink for cell in cells)


@settings(max_examples=30, deadline=None)
@given(
    text=st.text(max_size=200),
    numbers=st.lists(st.floats(), min_size=1, max_size=6),
    value=st.one_of(st.text(max_size=50), st.integers(), st.floats()),
    kind=st.sampled_from(["bar", "line"]),
)
@pytest.mark.parametrize("format", REPORT_FORMATS)
def test_no_text_and_no_number_is_too_much(format: str, text: str, numbers: list[float], value: Any, kind: Any) -> None:
    chart = Chart(text, tuple(text for _ in numbers), {text: tuple(numbers), text + "2": tuple(numbers)}, kind)
    made = report(
        title=text,
        subtitle=text,
        figures=(Figure(text, value, text),),
        charts=(chart,),
        tables=(Table(text, (text, text + "2"), [(text, value)]),),
    )

    data = written(made, format)

    if format == "json":
        assert json.loads(data)["tables"][0]["rows"][0][text] == text
    if format == "pdf":
        assert len(pypdf.PdfReader(io.BytesIO(data)).pages) >= 1
    if format == "xlsx":
        openpyxl.load_workbook(io.BytesIO(data))


def test_workbook_has_typed_cells_a_sheet_for_each_table_and_charts() -> None:
    tables = (
        Table("A/B: [all]", ("n", "text"), [(Decimal("7.50"), "=1+1"), (10**17, "http://example.com")]),
        Table("a b   all ", ("day",), [(dt.date(2026, 1, 31),)]),
    )
    data = written(report(tables=tables), "xlsx")
    book = openpyxl.load_workbook(io.BytesIO(data))

    assert len(book.sheetnames) == 3
    assert rows_of(data, book.sheetnames[1]) == [("n", "text"), (7.5, "=1+1"), (str(10**17), "http://example.com")]
    assert rows_of(data, book.sheetnames[2])[1] == (dt.datetime(2026, 1, 31),)
    assert book[book.sheetnames[1]]["B2"].data_type == "s"
    assert len(book["Summary"]._charts) == 2


def test_empty_report_is_a_file_all_the_same() -> None:
    empty = report(subtitle="", figures=(), charts=(Chart("Nothing", (), {}),), tables=(Table("None", ("a",), ()),))

    texts = text_of(written(empty, "pdf"))

    assert "There are no numbers to show." in texts[0]
    assert "There are no rows." in texts[0]
    for format in REPORT_FORMATS:
        assert written(empty, format)


def test_table_is_read_row_by_row() -> None:
    read: list[int] = []

    def rows() -> Any:
        for number in range(1000):
            read.append(number)
            yield (number,)

    pieces = report(tables=(Table("t", ("n",), rows()),)).chunks("csv")
    while not read:
        next(pieces)

    assert len(read) < 5


def test_more_rows_or_columns_than_a_format_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_ROWS", 10)
    monkeypatch.setattr(workbook, "MOST_ROWS", 10)
    long = Table("t", ("n",), [(number,) for number in range(11)])
    wide = Table("t", tuple(map(str, range(21))), [])

    with pytest.raises(ExportTooLarge, match="up to 10 rows; csv, json and xlsx"):
        written(report(tables=(long,)), "pdf")
    with pytest.raises(ExportTooLarge, match="has 10 rows; csv and json take"):
        written(report(tables=(long,)), "xlsx")
    with pytest.raises(UnsupportedExport, match="room for 20 columns, and there are 21"):
        written(report(tables=(wide,)), "pdf")


def test_text_that_a_cell_cannot_hold_is_refused_and_not_cut() -> None:
    with pytest.raises(ExportTooLarge, match="holds 32,767 characters, and row 2 has a text of 40,000"):
        written(report(tables=(Table("t", ("n",), [("x" * 40_000,)]),)), "xlsx")


def test_parts_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="'EUR' has 1 numbers for 2 labels"):
        Chart("c", ("a", "b"), {"EUR": (1.0,)})
    with pytest.raises(ValueError, match="'pie' is no kind"):
        Chart("c", (), {}, "pie")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="columns of different names"):
        Table("t", ("a", "a"), [])
    with pytest.raises(ValueError, match="Row 2 of the table 't' has 2 cells for 1 columns"):
        written(report(tables=(Table("t", ("a",), [(1,), (1, 2)]),)), "json")


def test_unknown_format_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(UnsupportedExport, match=r"'pfd' is no format; there are json, csv, pdf, xlsx. .*'pdf'\?"):
        report().chunks("pfd")


@pytest.mark.requirement("C21")
@pytest.mark.parametrize(("format", "package"), [("pdf", "reportlab"), ("xlsx", "xlsxwriter")])
def test_format_without_its_package_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, format: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(UnsupportedExport, match=rf"pip install 'flask-understudy\[{format}\]'"):
        report().chunks(format)
    assert written(report(), "csv")


@pytest.mark.requirement("C21")
def test_exports_do_without_any_extra() -> None:
    code = """
import sys
for package in ("reportlab", "xlsxwriter", "pyarrow", "obstore"):
    sys.modules[package] = None
from flask_understudy.contrib.exports import FORMATS
print(*FORMATS)
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert ran.stdout.split() == ["csv", "json", "jsonl"]


@pytest.mark.parametrize(
    ("format", "shown"), [("json", '"value": null'), ("csv", '"Average",,"no score"'), ("pdf", "Average none no score")]
)
def test_figure_of_nothing_has_no_value(format: str, shown: str) -> None:
    data = written(report(figures=(Figure("Average", None, "no score"),), charts=(), tables=()), format)

    assert shown in (" ".join(text_of(data)) if format == "pdf" else data.decode())
