"""A SELECT as a file: the same from both databases, whole, bounded in memory, and interruptible."""

from __future__ import annotations

import csv
import datetime as dt
import enum
import io
import json
import subprocess
import sys
import textwrap
import types
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql

from flask_understudy.contrib.exports import RowStream, UnsupportedExport

FORMATS = ["csv", "json", "jsonl"]
UTC = dt.UTC


class Colour(enum.Enum):
    red = "=1"
    green = "green"


class Zoned(sa.types.TypeDecorator[dt.datetime]):
    """A decorated type, as applications have them."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True


metadata = sa.MetaData()
things = sa.Table(
    "things",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("big", sa.BigInteger),
    sa.Column("price", sa.Numeric(14, 2)),
    sa.Column("exact", sa.Numeric),
    sa.Column("ratio", sa.Double),
    sa.Column("is_on", sa.Boolean),
    sa.Column("at", Zoned),
    sa.Column("naive", sa.DateTime),
    sa.Column("day", sa.Date),
    sa.Column("hour", sa.Time),
    sa.Column("name", sa.String(200)),
    sa.Column("body", sa.Text),
    sa.Column("colour", sa.Enum(Colour)),
    sa.Column("key", sa.Uuid),
    sa.Column("plain_key", sa.Uuid(native_uuid=False)),
    sa.Column("extra", sa.JSON().with_variant(postgresql.JSONB(), "postgresql")),
    sa.Column("plain_extra", sa.JSON),
    sa.Column("blob", sa.LargeBinary),
)

KEY = uuid.UUID("0123abcd-0123-4567-89ab-0123456789ab")
ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "big": -(2**53),
        "price": Decimal("-7.50"),
        "exact": Decimal("7.250"),
        "ratio": 0.1,
        "is_on": True,
        "at": dt.datetime(2026, 1, 31, 23, 59, 59, 250_000, UTC),
        "naive": dt.datetime(2026, 1, 31, 23, 59, 59),
        "day": dt.date(2026, 1, 31),
        "hour": dt.time(12, 30),
        "name": "=1+1",
        "body": 'Quotes ", commas, and\nline\r\nends; naïve €',
        "colour": Colour.red,
        "key": KEY,
        "plain_key": KEY,
        "extra": {"bb": [1, 2.50, None], "a": "ü\n"},
        "plain_extra": [True, {"b": "x", "aa": "y"}],
        "blob": b"\x00\xff=",
    },
    {
        "id": 2,
        "big": 0,
        "price": Decimal("123456789012.34"),
        "exact": Decimal("100"),
        "ratio": 1e20,
        "is_on": False,
        # 00:30 in Kolkata is the day before in UTC.
        "at": dt.datetime(2026, 2, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
        "naive": dt.datetime(1, 1, 1),
        "day": dt.date(9999, 12, 31),
        "hour": dt.time(23, 59, 59, 999_999),
        "name": "",
        "body": "\\N \\. \t back\\slash \x01\x7f",
        "colour": Colour.green,
        "key": uuid.UUID(int=0),
        "plain_key": uuid.UUID(int=0),
        "extra": "=text",
        "plain_extra": -1,
        "blob": b"",
    },
    {column.name: None for column in things.columns} | {"id": 3},
    {column.name: None for column in things.columns}
    | {"id": 4, "ratio": float("inf"), "price": Decimal("0"), "name": "\\."},
]


@pytest.fixture(scope="module")
def filled(connection: sa.Connection) -> Iterator[sa.Connection]:
    rows = ROWS
    if connection.dialect.name == "sqlite":
        # SQLite keeps no zone: the application's own type stores UTC there.
        rows = [row | {"at": row["at"] and row["at"].astimezone(UTC)} for row in ROWS]
    metadata.create_all(connection)
    connection.execute(sa.insert(things), rows)
    connection.commit()
    yield connection
    connection.rollback()
    metadata.drop_all(connection)
    connection.commit()


def written(connection: sa.Connection, query: Any, format: str = "csv", **options: Any) -> bytes:
    return b"".join(RowStream(connection, query, format, **options))


def everything() -> sa.Select[Any]:
    return sa.select(things).order_by(things.c.id)


CSV = (
    "1,-9007199254740992,-7.50,7.25,0.1,true,2026-01-31T23:59:59.25Z,2026-01-31T23:59:59Z,"
    '2026-01-31,12:30:00,"\'=1+1","Quotes "", commas, and\nline\r\nends; naïve €","red",'
    f'"{KEY}","{KEY}","{{""a"": ""ü\\n"", ""bb"": [1, 2.5, null]}}",'
    '"[true, {""b"": ""x"", ""aa"": ""y""}]","00ff3d"\n'
    "2,0,123456789012.34,100,1e+20,false,2026-01-31T19:00:00Z,0001-01-01T00:00:00Z,"
    '9999-12-31,23:59:59.999999,"","\\N \\. \t back\\slash \x01\x7f","green",'
    '"00000000-0000-0000-0000-000000000000","00000000-0000-0000-0000-000000000000",'
    '"""=text""","\'-1",""\n'
    '3,,,,,,,,,,,,,,,"null","null",\n'
    '4,,0.00,,Infinity,,,,,,"\\.",,,,,"null","null",\n'
)


@pytest.mark.requirement("A40")
def test_csv_is_the_same_from_every_database(filled: sa.Connection) -> None:
    file = written(filled, everything()).decode()

    head, _, rest = file.partition("\n")
    assert head == ",".join(f'"{column.name}"' for column in things.columns)
    # '"=text"' is a JSON text; its quote is passed over and the '=' behind it found.
    assert rest == CSV.replace('"""=text"""', '"\'""=text"""')


@pytest.mark.requirement("A40")
def test_json_is_the_same_from_every_database(filled: sa.Connection) -> None:
    lines = written(filled, everything(), "jsonl").decode().splitlines(keepends=True)

    assert lines[0] == (
        '{"id":1,"big":-9007199254740992,"price":-7.50,"exact":7.25,"ratio":0.1,"is_on":true,'
        '"at":"2026-01-31T23:59:59.25Z","naive":"2026-01-31T23:59:59Z","day":"2026-01-31",'
        '"hour":"12:30:00","name":"=1+1",'
        '"body":"Quotes \\", commas, and\\nline\\r\\nends; naïve €","colour":"red",'
        f'"key":"{KEY}","plain_key":"{KEY}","extra":{{"a": "ü\\n", "bb": [1, 2.5, null]}},'
        '"plain_extra":[true, {"b": "x", "aa": "y"}],"blob":"00ff3d"}\n'
    )
    assert '"body":"\\\\N \\\\. \\t back\\\\slash \\u0001\x7f"' in lines[1]
    assert json.loads(lines[2]) == dict.fromkeys(things.columns.keys()) | {"id": 3}
    assert '"price":0.00,"exact":null,"ratio":"Infinity"' in lines[3]


def test_json_is_one_array(filled: sa.Connection) -> None:
    array = written(filled, everything(), "json")
    lines = written(filled, everything(), "jsonl")

    assert json.loads(array) == [json.loads(line) for line in lines.splitlines()]


@pytest.mark.parametrize(
    ("stored", "written_as"),
    [
        ("2026-01-31 15:04:05", b"2026-01-31T15:04:05Z"),  # CURRENT_TIMESTAMP
        ("2026-01-31 15:04:05.000000", b"2026-01-31T15:04:05Z"),  # SQLAlchemy
        ("2026-01-31 15:04:05.120", b"2026-01-31T15:04:05.12Z"),  # strftime()
        ("2026-01-31 15:04:50.100000", b"2026-01-31T15:04:50.1Z"),
        ("2026-01-31 10:00:00", b"2026-01-31T10:00:00Z"),
    ],
)
def test_times_that_sqlite_stored_otherwise_look_alike(sqlite: sa.Connection, stored: str, written_as: bytes) -> None:
    query = sa.select(sa.literal_column(f"'{stored}'", sa.DateTime).label("at"))

    assert written(sqlite, query).splitlines()[1] == written_as


@pytest.mark.parametrize(("format", "expected"), [("csv", b'"id"\n'), ("json", b"[\n]\n"), ("jsonl", b"")])
def test_no_rows_make_a_valid_file(filled: sa.Connection, format: str, expected: bytes) -> None:
    assert written(filled, sa.select(things.c.id).where(sa.false()), format) == expected


def test_null_and_empty_text_differ(filled: sa.Connection) -> None:
    query = sa.select(things.c.name, things.c.id).where(things.c.id.in_([2, 3])).order_by("id")

    assert written(filled, query) == b'"name","id"\n"",2\n,3\n'


@pytest.mark.parametrize("value", ["it's", "100% of %s", "%(x)s", "\\' OR 1=1 --", "💥 ${x}"])
def test_values_of_the_query_are_data(filled: sa.Connection, value: str) -> None:
    query = sa.select(sa.literal(value).label("v")).where(sa.literal(value) != "nothing")

    assert json.loads(written(filled, query, "json")) == [{"v": value}]


def test_filters_of_every_type_work(filled: sa.Connection) -> None:
    query = sa.select(things.c.id).where(
        things.c.at > dt.datetime(2026, 1, 1, tzinfo=UTC),
        things.c.key.in_([KEY, uuid.uuid4()]),
        things.c.is_on.is_(True),
        things.c.price < Decimal("0"),
        things.c.colour == Colour.red,
    )

    assert written(filled, query) == b'"id"\n1\n'


def test_order_of_the_query_is_kept(filled: sa.Connection) -> None:
    query = sa.select(things.c.id).order_by(things.c.id.desc())

    assert written(filled, query) == b'"id"\n4\n3\n2\n1\n'


def test_sum_of_decimals_keeps_the_scale(filled: sa.Connection) -> None:
    query = sa.select(sa.func.avg(things.c.price, type_=sa.Numeric(14, 2)).label("mean"))

    assert written(filled, query) == b'"mean"\n41152263001.61\n'


def test_two_columns_of_one_name_both_come(filled: sa.Connection) -> None:
    left, right = things.alias(), things.alias()
    query = sa.select(left.c.id, right.c.id).join(right, right.c.id == left.c.id + 1).limit(1)

    assert written(filled, query).splitlines()[1] in {b"1,2", b"2,3", b"3,4"}


def test_hundred_columns_are_no_trouble(connection: sa.Connection) -> None:
    query = sa.select(*(sa.literal(f"text {n}").label(f"c{n}") for n in range(100)))

    row = json.loads(written(connection, query, "jsonl"))
    assert row == {f"c{n}": f"text {n}" for n in range(100)}
    assert len(next(csv.reader(io.StringIO(written(connection, query).decode())))) == 100


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None, max_examples=50)
@given(some=st.lists(texts, min_size=1, max_size=20))
def test_any_text_comes_through_both_databases_alike(
    sqlite: sa.Connection, postgres: sa.Connection, some: list[str]
) -> None:
    rows = (sa.select(sa.literal(n).label("n"), sa.literal(t).label("t")) for n, t in enumerate(some))
    query = sa.union_all(*rows).order_by("n")

    for format in FORMATS:
        file = written(sqlite, query, format)
        assert file == written(postgres, query, format)
        if format == "json":
            assert [row["t"] for row in json.loads(file)] == some


@pytest.mark.parametrize("format", FORMATS)
def test_rows_are_counted_and_reported(connection: sa.Connection, format: str) -> None:
    reported: list[int] = []
    stream = RowStream(connection, numbers(25_000), format, on_rows=reported.append, every=5_000)

    for _ in stream:
        pass

    assert stream.rows == 25_000
    assert reported == sorted(set(reported) | {25_000})
    assert 2 <= len(reported) <= 6


def numbers(count: int) -> sa.Select[Any]:
    series = sa.select(sa.literal(1).label("n")).cte("series", recursive=True)
    following = sa.select(series.c.n + 1).where(series.c.n < count)
    series = series.union_all(following)
    return sa.select(series.c.n, sa.literal("some\ntext").label("text"))


class Stopped(Exception):
    pass


def test_check_ends_the_export_and_the_database_stops(postgres_url: str) -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 3:
            raise Stopped

    engine = sa.create_engine(postgres_url)
    with engine.connect() as watcher:
        # A few hundred megabytes: the server could not have sent them all unnoticed.
        query = sa.select(sa.func.repeat("x", 1_000, type_=sa.Text).label("x")).select_from(
            sa.func.generate_series(1, 500_000)
        )
        with engine.connect() as connection, pytest.raises(Stopped):
            written(connection, query, check=check)
        busy = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND state = 'active' AND pid <> pg_backend_pid()"
        )
        deadline = dt.datetime.now() + dt.timedelta(seconds=10)
        while watcher.scalar(busy) and dt.datetime.now() < deadline:
            watcher.rollback()
        assert watcher.scalar(busy) == 0
    engine.dispose()


def test_pool_is_usable_after_an_abandoned_export(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url, pool_size=1, max_overflow=0)
    with engine.connect() as connection:
        next(iter(stream := RowStream(connection, numbers(100_000))))
        for _ in stream:
            break

    with engine.connect() as connection:
        assert connection.scalar(sa.select(1)) == 1
    engine.dispose()


def test_connection_goes_on_after_an_export(connection: sa.Connection) -> None:
    written(connection, numbers(10))

    assert connection.scalar(sa.select(1)) == 1


def test_error_of_the_database_is_raised(connection: sa.Connection) -> None:
    broken = sa.select(sa.Table("absent", sa.MetaData(), sa.Column("id", sa.Integer)))

    with pytest.raises((psycopg.errors.UndefinedTable, sa.exc.OperationalError), match="absent"):
        written(connection, broken)
    connection.rollback()


def test_error_half_way_is_raised(postgres: sa.Connection) -> None:
    n = sa.func.generate_series(1, 50_000).column_valued("n")
    query = sa.select((sa.literal(1) / (n - 40_000)).label("x"))

    with pytest.raises(psycopg.errors.DivisionByZero):
        written(postgres, query)
    postgres.rollback()


def test_type_without_a_text_is_refused(connection: sa.Connection) -> None:
    query = sa.select(sa.literal(dt.timedelta(1), sa.Interval).label("length"))

    with pytest.raises(UnsupportedExport, match="'length'.*Interval.*cast"):
        RowStream(connection, query)


def test_unknown_format_is_refused_with_the_valid_ones(connection: sa.Connection) -> None:
    with pytest.raises(UnsupportedExport, match=r"'jsn'.*csv, json, jsonl.*mean 'json"):
        RowStream(connection, sa.select(sa.literal(1).label("a")), "jsn")


def test_other_databases_are_refused_by_name() -> None:
    elsewhere: Any = types.SimpleNamespace(dialect=mysql.dialect())

    with pytest.raises(UnsupportedExport, match="'mysql'.*postgresql and sqlite"):
        RowStream(elsewhere, sa.select(sa.literal(1).label("a")))


MEMORY = """
    import sys
    from pathlib import Path

    import sqlalchemy as sa
    from flask_understudy.contrib.exports import RowStream

    def export(rows):
        n = sa.literal_column("n", sa.Integer)
        with engine.connect() as connection:
            query = sa.text(SERIES).bindparams(rows=rows).columns(n=sa.Integer, text=sa.Text)
            written = 0
            for piece in RowStream(connection, query, FORMAT):
                written += len(piece)
            return written

    def resident(which):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(which))

    url, FORMAT = sys.argv[1:]
    engine = sa.create_engine(url)
    SERIES = {
        "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :rows)"
        " SELECT n, printf('%0200d', n) AS text FROM s",
        "postgresql": "SELECT n, lpad(n::text, 200, '0') AS text FROM generate_series(1, :rows) n",
    }[engine.dialect.name]
    export(5_000)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    written = export(300_000)
    print(written, resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("format", ["csv", "json"])
def test_memory_does_not_grow_with_the_rows(database_url: str, format: str) -> None:
    program = textwrap.dedent(MEMORY)
    root = Path(__file__).parents[4]

    ran = subprocess.run(
        [sys.executable, "-c", program, database_url, format],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    written_bytes, grown_kilobytes = map(int, ran.stdout.split())
    assert written_bytes > 60_000_000
    assert grown_kilobytes < 16_000
