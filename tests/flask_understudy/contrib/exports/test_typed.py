"""A SELECT as a workbook, as Parquet and as PDF: the same values from both databases, a batch at a time."""

from __future__ import annotations

import datetime as dt
import gc
import io
import json
import sys
import tempfile
import tracemalloc
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pypdf
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from flask_understudy.contrib.exports import ExportTooLarge, RowStream, UnsupportedExport, parquet, pdf, xlsx

FORMATS = ["xlsx", "parquet", "pdf"]
UTC = dt.UTC
KEY = uuid.UUID("0123abcd-0123-4567-89ab-0123456789ab")

metadata = sa.MetaData()
typed = sa.Table(
    "typed",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("big", sa.BigInteger),
    sa.Column("price", sa.Numeric(14, 2)),
    sa.Column("exact", sa.Numeric),
    sa.Column("ratio", sa.Double),
    sa.Column("is_on", sa.Boolean),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("day", sa.Date),
    sa.Column("hour", sa.Time),
    sa.Column("body", sa.Text),
    sa.Column("key", sa.Uuid),
    sa.Column("extra", sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")),
    sa.Column("blob", sa.LargeBinary),
)
ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "big": -(2**62),
        "price": Decimal("-7.50"),
        "exact": Decimal("7.250"),
        "ratio": 0.1,
        "is_on": True,
        "at": dt.datetime(2026, 1, 31, 23, 59, 59, 250_000, UTC),
        "day": dt.date(2026, 1, 31),
        "hour": dt.time(12, 30),
        "body": '=HYPERLINK("http://example.com") <b>&\x01',
        "key": KEY,
        "extra": {"bb": [1, None], "a": "ü"},
        "blob": b"\x00\xff",
    },
    {column.name: None for column in typed.columns} | {"id": 2},
    {column.name: None for column in typed.columns}
    | {"id": 3, "ratio": float("inf"), "at": dt.datetime(1, 1, 1, tzinfo=UTC), "body": "", "is_on": False},
]


@pytest.fixture(scope="module")
def filled(connection: sa.Connection) -> Iterator[sa.Connection]:
    metadata.create_all(connection)
    connection.execute(sa.insert(typed), ROWS)
    connection.commit()
    yield connection
    connection.rollback()
    metadata.drop_all(connection)
    connection.commit()


def written(connection: sa.Connection, query: Any, format: str, **options: Any) -> bytes:
    return b"".join(RowStream(connection, query, format, **options))


def everything() -> sa.Select[Any]:
    return sa.select(typed).order_by(typed.c.id)


def numbers(count: int) -> sa.Select[Any]:
    """The numbers up to `count` and a text for each, made by the database while they are read."""
    first = sa.select(sa.literal(1).label("n")).cte("numbers", recursive=True)
    n = first.union_all(sa.select(first.c.n + 1).where(first.c.n < count))
    return sa.select(n.c.n, sa.cast(n.c.n, sa.Text).concat(" is a number of this table").label("text"))


@pytest.mark.requirement("A40")
def test_workbook_has_typed_cells_and_no_formula(filled: sa.Connection) -> None:
    sheet = openpyxl.load_workbook(io.BytesIO(written(filled, everything(), "xlsx", title="People/all"))).active

    head, first, empty, last = sheet.iter_rows()
    assert sheet.title == "People all"
    assert [cell.value for cell in head] == [column.name for column in typed.columns]
    assert [cell.value for cell in first] == [
        1,
        str(-(2**62)),
        -7.5,
        7.25,
        0.1,
        True,
        dt.datetime(2026, 1, 31, 23, 59, 59, 250_000),
        dt.datetime(2026, 1, 31),
        dt.time(12, 30),
        '=HYPERLINK("http://example.com") <b>&_x0001_',  # as ECMA-376 writes what XML has no character for
        str(KEY),
        '{"a": "ü", "bb": [1, null]}',
        "00ff",
    ]
    assert [cell.data_type for cell in first] == list("nsnnnbdddssss")
    assert [cell.value for cell in empty] == [2] + [None] * 12
    there = [cell.value for cell in last if cell.value is not None]
    assert there == [3, "Infinity", False, "0001-01-01T00:00:00Z", ""]
    assert not any(cell.hyperlink for row in sheet.iter_rows() for cell in row)


@pytest.mark.requirement("A40")
def test_parquet_has_a_typed_schema_and_exact_values(filled: sa.Connection) -> None:
    table = pq.read_table(io.BytesIO(written(filled, everything(), "parquet")))

    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "int64",
        "big": "int64",
        "price": "decimal128(38, 2)",
        "exact": "string",
        "ratio": "double",
        "is_on": "bool",
        "at": "timestamp[us, tz=UTC]",
        "day": "date32[day]",
        "hour": "time64[us]",
        "body": "string",
        "key": "string",
        "extra": "string",
        "blob": "binary",
    }
    assert table.to_pylist() == [
        ROWS[0] | {"key": str(KEY), "exact": "7.25", "extra": '{"a": "ü", "bb": [1, null]}'},
        *ROWS[1:],
    ]


@pytest.mark.requirement("A40")
def test_pdf_shows_the_rows_below_their_title(filled: sa.Connection) -> None:
    pages = pypdf.PdfReader(io.BytesIO(written(filled, everything(), "pdf", title="People"))).pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())

    assert text.startswith("People Times are in UTC.")
    for word in ("-7.50", "yes", "2026-01-31", "23:59:59", "<b>&"):
        assert word in text
    assert len(pages) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_no_rows_make_a_valid_file(filled: sa.Connection, format: str) -> None:
    data = written(filled, everything().where(sa.false()), format)

    match format:
        case "xlsx":
            assert [row[0].value for row in openpyxl.load_workbook(io.BytesIO(data)).active.iter_rows()] == ["id"]
        case "parquet":
            assert pq.read_table(io.BytesIO(data)).num_rows == 0
        case _:
            assert "There are no rows." in pypdf.PdfReader(io.BytesIO(data)).pages[0].extract_text()


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_text_comes_through_as_it_is(connection: sa.Connection, text: str) -> None:
    query = sa.select(sa.literal(text, sa.Text).label("text"))

    assert pq.read_table(io.BytesIO(written(connection, query, "parquet"))).to_pylist() == [{"text": text}]
    sheet = openpyxl.load_workbook(io.BytesIO(written(connection, query, "xlsx"))).active
    assert sheet["A2"].data_type == "s"
    assert written(connection, query, "pdf").startswith(b"%PDF")


@pytest.mark.parametrize("format", FORMATS)
def test_rows_are_counted_and_reported(connection: sa.Connection, format: str) -> None:
    reports: list[int] = []
    checks: list[None] = []
    stream = RowStream(
        connection, numbers(2500), format, on_rows=reports.append, every=1000, check=lambda: checks.append(None)
    )

    for _ in stream:
        pass

    assert stream.rows == 2500
    assert reports == [1000, 2000, 2500]
    assert len(checks) >= 5


@pytest.mark.parametrize("format", FORMATS)
def test_rows_stay_on_the_server_until_they_are_wanted(postgres: sa.Connection, format: str) -> None:
    cursors: list[int] = []

    def check() -> None:
        cursors.append(postgres.scalar(sa.text("SELECT count(*) FROM pg_cursors WHERE name <> ''")) or 0)

    for _ in RowStream(postgres, numbers(1200), format, check=check):
        pass

    assert cursors[1:3] == [1, 1]


@pytest.mark.parametrize("format", FORMATS)
def test_check_ends_the_export_and_nothing_is_left(
    connection: sa.Connection, format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stream: RowStream

    def check() -> None:
        if stream.rows >= 1000:
            raise KeyError("enough")

    stream = RowStream(connection, numbers(1_000_000), format, check=check)
    with pytest.raises(KeyError, match="enough"):
        for _ in stream:
            pass

    gc.collect()
    assert list(tmp_path.iterdir()) == []
    assert stream.rows < 3000
    assert connection.scalar(sa.select(sa.literal(1))) == 1


def test_file_handed_on_half_leaves_nothing_in_the_temporary_folder(
    sqlite: sa.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(xlsx, "_PIECE", 100)
    pieces = iter(RowStream(sqlite, numbers(100), "xlsx"))

    next(pieces)
    during = len(list(tmp_path.iterdir()))
    pieces.close()  # type: ignore[attr-defined]

    assert during == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("format", "few", "many"), [("xlsx", 10_000, 25_000), ("parquet", 40_000, 100_000)])
def test_memory_does_not_grow_with_the_rows(sqlite: sa.Connection, format: str, few: int, many: int) -> None:
    def peak(rows: int) -> int:
        tracemalloc.start()
        try:
            arrow = pa.total_allocated_bytes()
            for _ in RowStream(sqlite, numbers(rows), format):
                assert pa.total_allocated_bytes() - arrow < 16 * 1024 * 1024
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(few)  # what is imported and kept

    assert peak(many) - peak(few) < 10 * (many - few)  # bytes: nothing is kept of each row


def test_wide_rows_make_smaller_groups(sqlite: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 1000)
    query = numbers(100).add_columns(sa.literal("x" * 300, sa.Text).label("wide"))

    data = written(sqlite, query, "parquet")

    assert pq.ParquetFile(io.BytesIO(data)).num_row_groups >= 25
    assert pq.read_table(io.BytesIO(data)).column("n").to_pylist() == list(range(1, 101))


def test_more_than_a_format_holds_is_refused(sqlite: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "MOST_ROWS", 100)
    monkeypatch.setattr(pdf, "MOST_ROWS", 100)

    assert written(sqlite, numbers(99), "xlsx")
    with pytest.raises(ExportTooLarge, match="A sheet of xlsx has 100 rows"):
        written(sqlite, numbers(100), "xlsx")
    assert written(sqlite, numbers(100), "pdf")
    with pytest.raises(ExportTooLarge, match="A PDF has up to 100 rows"):
        written(sqlite, numbers(101), "pdf")


def test_columns_beyond_a_page_are_refused(sqlite: sa.Connection) -> None:
    columns = [sa.literal(number).label(f"c{number}") for number in range(21)]

    with pytest.raises(UnsupportedExport, match="room for 20 columns, and there are 21"):
        written(sqlite, sa.select(*columns), "pdf")


def test_time_out_of_reach_is_a_text_or_refused(postgres: sa.Connection) -> None:
    query = sa.select(sa.cast(sa.literal("infinity"), sa.DateTime(timezone=True)).label("at"))

    sheet = openpyxl.load_workbook(io.BytesIO(written(postgres, query, "xlsx"))).active
    assert sheet["A2"].value == "infinityZ"
    with pytest.raises(UnsupportedExport, match="The column 'at' has a value that is no timestamp"):
        written(postgres, query, "parquet")


def test_sum_wider_than_its_column_keeps_its_scale(filled: sa.Connection) -> None:
    query = sa.select(sa.func.sum(typed.c.price).label("sum"))

    assert pq.read_table(io.BytesIO(written(filled, query, "parquet"))).to_pylist() == [{"sum": Decimal("-7.50")}]


@pytest.mark.requirement("C21")
@pytest.mark.parametrize(("format", "package"), [("pdf", "reportlab"), ("xlsx", "xlsxwriter"), ("parquet", "pyarrow")])
def test_format_without_its_package_is_refused_with_the_command(
    sqlite: sa.Connection, monkeypatch: pytest.MonkeyPatch, format: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(UnsupportedExport, match=rf"pip install 'flask-understudy\[{format}\]'"):
        RowStream(sqlite, numbers(1), format)
    assert json.loads(written(sqlite, numbers(1), "json"))[0]["n"] == 1
