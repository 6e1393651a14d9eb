"""The dialect of hot statements: one text for both databases, rendered once and sent with plain parameters.

SQLAlchemy's expression language would cost as much as the statement itself here, so the hot statements are SQL with
a handful of macros in `<angle brackets>` and `:named` parameters:

- `<now>`: the database's clock, the only one that is ever compared;
- `<after:x>`: the database's clock plus the parameter or column `x` in ms;
- `<later:column by x>`: a point in time plus `x` ms;
- `<after epoch:x>`: the beginning of 1970 plus `x` in ms;
- `<ms:column>`: a point in time as whole milliseconds since 1970;
- `<ms since:column>`: how many ms ago it was, by the database's clock;
- `<waited>`: for how many ms a job was due before it was started;
- `<rows:id text, n integer>`: the rows of the JSON parameter `:rows` as a table named `r`;
- `<any:ids>`: a test for membership in the list parameter `ids`;
- `<apart:column>`: a text column that no index is to be used for;
- `<json:x>`: a text as a JSON value; `<text:x>`: a JSON value as text; `<time:x>`: a text as a point in time;
- `<skip locked>`: lock the chosen rows and pass over those that others hold;
- `<unsynced>`: a condition that is true, and lets this transaction commit without waiting for the disk;
- `<in order>`: the order in which waiting jobs are claimed; `<sequence>`: what breaks ties between rows of one moment;
- `<arrival>`: the order in which rows were stored; `<stored:x>`: what breaks ties between rows of the table `x`;
- `<turn:n>`: the n-th turn after `latest_at` (see `turns`); `<recent>`: a latest turn before that holds nobody up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection

_SQLITE_NOW = "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"
_QUOTED_NOW = "'now'"

#: What lies between two turns of a tenant, and the farthest that a turn may lie ahead; see `turns`.
SPACING_SECONDS = 10
HORIZON_SECONDS = 86_400

_POSTGRESQL: dict[str, Callable[[str], str]] = {
    "now": lambda _: "clock_timestamp()",
    "after": lambda x: f"(clock_timestamp() + {x} * interval '1 millisecond')",
    "later": lambda x: "({} + {} * interval '1 millisecond')".format(*x.split(" by ")),
    "after epoch": lambda x: f"to_timestamp({x} / 1000.0)",
    "ms": lambda column: f"CAST(extract(epoch FROM {column}) * 1000 AS bigint)",
    "ms since": lambda column: f"CAST(extract(epoch FROM clock_timestamp() - {column}) * 1000 AS bigint)",
    "waited": lambda _: "CAST(extract(epoch FROM started_at - greatest(run_at, created_at)) * 1000 AS bigint)",
    "rows": lambda spec: f"json_to_recordset(CAST(:rows AS json)) AS r({spec})",
    "any": lambda name: f"= ANY(:{name})",
    "apart": lambda column: f"({column} || '')",
    "json": lambda x: f"CAST({x} AS json)",
    "text": lambda x: f"CAST({x} AS text)",
    "time": lambda x: f"(CAST({x} AS timestamp) AT TIME ZONE 'UTC')",
    "skip locked": lambda _: "FOR UPDATE SKIP LOCKED",
    "unsynced": lambda _: "(SELECT set_config('synchronous_commit', 'off', true)) = 'off'",
    "in order": lambda _: "priority, coalesce(turn_at, run_at)",
    "sequence": lambda _: "CAST(extract(epoch FROM coalesce(turn_at, run_at)) * 1000000 AS bigint)",
    "arrival": lambda _: "created_at",
    "stored": lambda table: f"{table}.id",
    "turn": lambda n: (
        f"least(greatest(clock_timestamp(), latest_at + interval '{SPACING_SECONDS} s')"
        f" + ({n} - 1) * interval '{SPACING_SECONDS} s',"
        f" clock_timestamp() + interval '{HORIZON_SECONDS} s' + {n} * interval '1 microsecond')"
    ),
    "recent": lambda _: f"(statement_timestamp() - interval '{SPACING_SECONDS} s')",  # stable: an index can be asked
}


def _sqlite_rows(spec: str) -> str:
    names = [column.split()[0] for column in spec.split(",")]
    columns = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in names)
    return f"(SELECT {columns} FROM json_each(:rows)) AS r"  # noqa: S608 - built from the statements in this package


def _sqlite_plus(time: str, seconds: object) -> str:
    return f"(strftime('%Y-%m-%d %H:%M:%f', {time}, {seconds} || ' seconds') || '000')"


def _sqlite_turn(n: str) -> str:
    next_one = f"max({_SQLITE_NOW}, coalesce({_sqlite_plus('latest_at', SPACING_SECONDS)}, {_SQLITE_NOW}))"
    nth = _sqlite_plus(next_one, f"(({n} - 1) * {SPACING_SECONDS})")
    return f"min({nth}, {_sqlite_plus(_QUOTED_NOW, HORIZON_SECONDS)})"


_SQLITE: dict[str, Callable[[str], str]] = {
    "now": lambda _: _SQLITE_NOW,
    "after": lambda x: f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({x} / 1000.0) || ' seconds') || '000')",
    "later": lambda x: "(strftime('%Y-%m-%d %H:%M:%f', {}, ({} / 1000.0) || ' seconds') || '000')".format(
        *x.split(" by ")
    ),
    "after epoch": lambda x: f"(strftime('%Y-%m-%d %H:%M:%f', {x} / 1000.0, 'unixepoch') || '000')",
    "ms": lambda column: f"CAST(round((julianday({column}) - 2440587.5) * 86400000) AS INTEGER)",
    "ms since": lambda column: f"CAST(round((julianday('now') - julianday({column})) * 86400000) AS INTEGER)",
    "waited": lambda _: (
        "CAST(round((julianday(started_at) - julianday(max(run_at, created_at))) * 86400000) AS INTEGER)"
    ),
    "rows": _sqlite_rows,
    "any": lambda name: f"IN (SELECT value FROM json_each(:{name}))",  # noqa: S608 - likewise
    "apart": lambda column: f"(+{column})",
    "json": lambda x: x,
    "text": lambda x: x,
    "time": lambda x: x,
    "skip locked": lambda _: "",
    "unsynced": lambda _: "true",
    "in order": lambda _: "priority, coalesce(turn_at, run_at), rowid",
    "sequence": lambda _: "rowid",
    "arrival": lambda _: "rowid",
    "stored": lambda table: f"{table}.rowid",
    "turn": _sqlite_turn,
    "recent": lambda _: _sqlite_plus(_QUOTED_NOW, -SPACING_SECONDS),
}

_MACRO = re.compile(r"<([a-z]+(?: [a-z]+)?)(?::([^<>]+))?>")
#: A write that does not begin with its verb, by which SQLite's driver knows that it is one.
_WRITE = re.compile(r"\s*WITH\b.*\b(?:INSERT|UPDATE|DELETE)\b", re.DOTALL)
_PARAMETER = re.compile(r"(?<![:\w'%]):([a-z_]+)\b")


@cache
def render(template: str, dialect: str) -> str:
    """Return the statement for `postgresql` or `sqlite`, parameters in the driver's own style."""
    macros = _POSTGRESQL if dialect == "postgresql" else _SQLITE
    text = _MACRO.sub(lambda m: macros[m[1]](m[2] or ""), template)
    return _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%")) if dialect == "postgresql" else text


def _begin(connection: Connection) -> None:
    """Open the transaction that a connection is in: SQLite's driver would let such a write commit by itself."""
    driver: Any = connection.connection.dbapi_connection
    if driver.isolation_level is not None and not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")


def run(connection: Connection, template: str, **parameters: Any) -> Any:
    """Execute a statement of the ledger on a connection, in whatever transaction that has; return the result."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        if _WRITE.match(template):
            _begin(connection)
        parameters = {k: json.dumps(v) if isinstance(v, list) else v for k, v in parameters.items()}
    return connection.exec_driver_sql(render(template, dialect), parameters)


def now(connection: Connection) -> datetime:
    """Return the database's time, to the ms."""
    ms = run(connection, "SELECT <ms:now> FROM (SELECT <now> AS now) AS clock").scalar_one()
    return datetime.fromtimestamp(ms / 1000, UTC)


def moment(value: datetime | None) -> str | None:
    """Return an aware time as the text that both databases understand, in UTC with six decimals."""
    return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def moment_at(ms: int) -> str:
    """Return the moment that many ms after the beginning of 1970 as such a text."""
    return str(moment(datetime.fromtimestamp(ms / 1000, UTC)))
