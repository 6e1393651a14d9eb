"""A million rows of eight columns as a file, beside the database's own way of writing one."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import sqlalchemy as sa

from benchmarks.arena import ROOT, Arena
from benchmarks.harness import Row, Scale, compare, limit, paired
from flask_understudy.contrib.exports import LocalStorage, RowStream

BATCH = 10_000

#: A PDF has no more.
PDF_ROWS = 10_000

metadata = sa.MetaData()
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.Integer),
    sa.Column("name", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("is_active", sa.Boolean),
    sa.Column("amount", sa.Numeric(12, 2)),
    sa.Column("created_at", sa.DateTime(timezone=True)),
    sa.Column("note", sa.Text),
)

FILL = {
    "postgresql": """
        INSERT INTO events SELECT n, n % 50, 'User number ' || n, 'user' || n || '@example.com', n % 3 = 0,
               (n * 7 % 100000)::numeric / 100, '2026-01-01'::timestamptz + n * interval '1001 ms',
               'A note with a "quote" and ' || md5(n::text)
        FROM generate_series(1, :rows) n""",
    "sqlite": """
        WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :rows)
        INSERT INTO events SELECT n, n % 50, 'User number ' || n, 'user' || n || '@example.com', n % 3 = 0,
               (n * 7 % 100000) / 100.0, strftime('%Y-%m-%d %H:%M:%f000', 1767225600 + n * 1.001, 'unixepoch'),
               'A note with a "quote" and ' || printf('%032x', n * 7919)
        FROM s""",
}


def postgres(arena: Arena, scale: Scale) -> Iterator[Row]:
    """CSV and JSON Lines from PostgreSQL, beside COPY without a guard against formulas."""
    engine = _filled(arena.new_database(), scale.history)
    rows, folder = scale.history, arena.folder / "exports"
    for format_, copied, at_least in (
        ("csv", "COPY events TO STDOUT WITH (FORMAT csv, HEADER)", 350_000),
        ("jsonl", "COPY (SELECT row_to_json(events) FROM events) TO STDOUT", 150_000),
    ):
        pairs = paired(
            scale.rounds,
            _rate(rows, lambda format_=format_: _export(engine, folder, format_)),  # type: ignore[misc]
            _rate(rows, lambda copied=copied: _copy(engine, folder, copied)),  # type: ignore[misc]
        )
        name = f"export {rows:,} × 8, PostgreSQL {format_}"
        row = compare(name, "rows/s", pairs, "COPY alone", at_least=0.8)
        yield row
        yield limit(name, "rows/s", row.ours, at_least=at_least)
        yield _memory(name, engine.url, folder, format_)
    engine.dispose()


def sqlite(arena: Arena, scale: Scale) -> Iterator[Row]:
    """CSV and JSON Lines from SQLite, beside Python's own writers without a guard against formulas."""
    engine = _filled(arena.new_sqlite(), scale.history)
    rows, folder = scale.history, arena.folder / "exports"
    database, target = Path(str(engine.url.database)), folder / "peer"
    peers: tuple[tuple[str, Callable[[Path, Path], object]], ...] = (("csv", _write_csv), ("jsonl", _write_jsonl))
    for format_, peer in peers:
        pairs = paired(
            scale.rounds,
            _rate(rows, lambda format_=format_: _export(engine, folder, format_)),  # type: ignore[misc]
            _rate(rows, lambda peer=peer: peer(database, target)),  # type: ignore[misc]
        )
        name = f"export {rows:,} × 8, SQLite {format_}"
        row = compare(name, "rows/s", pairs, f"cursor + {'csv' if format_ == 'csv' else 'json'}")
        yield row
        if format_ == "csv":
            yield limit(name, "rows/s", row.ours, at_least=140_000)
        yield _memory(name, engine.url, folder, format_)
    engine.dispose()


def typed(arena: Arena, scale: Scale) -> Iterator[Row]:
    """Workbooks, Parquet and PDF from PostgreSQL, beside CSV of the same rows; a tenth of the rows."""
    most = scale.history // 10
    engine = _filled(arena.new_database(), most)
    folder = arena.folder / "exports"
    for format_, rows in (("parquet", most), ("xlsx", most), ("pdf", min(most, PDF_ROWS))):
        pairs = paired(
            scale.rounds,
            _rate(rows, lambda format_=format_, rows=rows: _export(engine, folder, format_, rows)),  # type: ignore[misc]
            _rate(rows, lambda rows=rows: _export(engine, folder, "csv", rows)),  # type: ignore[misc]
        )
        name = f"export {rows:,} × 8, PostgreSQL {format_}"
        yield compare(name, "rows/s", pairs, "csv")
        yield _memory(name, engine.url, folder, format_, rows)
    engine.dispose()


def _filled(url: str, rows: int) -> sa.Engine:
    engine = sa.create_engine(url)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(FILL[engine.dialect.name]), {"rows": rows})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE events")
    return engine


def _export(engine: sa.Engine, folder: Path, format_: str, rows: int | None = None) -> None:
    """Everything a job does: stream, guard, checksum, sync to the disk."""
    storage, key = LocalStorage(folder), LocalStorage.new_key()
    with engine.connect() as connection:
        storage.save(key, RowStream(connection, sa.select(events).limit(rows), format_))
    storage.delete(key)


def _copy(engine: sa.Engine, folder: Path, statement: str) -> None:
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with (
        psycopg.connect(url) as connection,
        (folder / "peer").open("wb") as file,
        connection.cursor().copy(statement) as rows,
    ):
        for row in rows:
            file.write(row)


def _write_csv(database: Path, target: Path) -> None:
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        for rows in _batches(database):
            writer.writerows(rows)


def _write_jsonl(database: Path, target: Path) -> None:
    names = [column.name for column in events.columns]
    with target.open("w") as file:
        for rows in _batches(database):
            file.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)


def _batches(database: Path) -> Iterator[list[tuple[object, ...]]]:
    connection = sqlite3.connect(database)
    cursor = connection.execute("SELECT * FROM events")
    while rows := cursor.fetchmany(BATCH):
        yield rows
    connection.close()


def _rate(rows: int, act: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        begun = time.perf_counter()
        act()
        return rows / (time.perf_counter() - begun)

    return measure


def _memory(name: str, url: sa.URL, folder: Path, format_: str, rows: int | None = None) -> Row:
    """Return by how much a fresh process grows with an export, over what it has after a small one."""
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.exports"),
            *(url.render_as_string(hide_password=False), str(folder), format_, str(rows or "")),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    grown, whole = (int(figure) / 1024 for figure in ran.stdout.split())
    return limit(f"{name}: peak memory", "MiB", grown, at_most=64, note=f"the whole process {whole:.0f} MiB")


def _main() -> None:
    url, folder, format_, rows = sys.argv[1:]
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        for _ in RowStream(connection, sa.select(events).limit(100), format_):
            pass
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _resident("VmRSS")
    _export(engine, Path(folder), format_, int(rows) if rows else None)
    whole = _resident("VmHWM")
    print(whole - before, whole)


def _resident(which: str) -> int:
    """Return kB of memory: `VmRSS` for now, `VmHWM` for the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which))


if __name__ == "__main__":
    _main()
