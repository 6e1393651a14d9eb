"""Debounce and throttle: of many sends with one key few become jobs, and senders agree on which by their rows.

*Debounce.* The job is delayed, and a unique index knows one delayed job of the key: a further send replaces its
arguments and moves its time, in the INSERT itself. Once its time has come, or it has run and waits for a retry, it is
out of the index and the next send is a new job.

*Throttle.* The key has a row that says until when its window lasts. Who finds it over takes it for its own job; who
finds it open is answered with the job of the window, or, to keep the last, sends a job for the end of the window, which
is debounced as above and begins a window of its own. The row is locked by the attempt to take it, so sends of one key
come one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from .statements import run

TAKE = """
INSERT INTO understudy_windows (tenant, key, job_id, until) VALUES (:tenant, :key, :id, <after::ms>)
ON CONFLICT (tenant, key) DO UPDATE SET job_id = excluded.job_id, until = excluded.until
WHERE understudy_windows.until <= <now>
RETURNING job_id"""

LOOK = "SELECT job_id, -<ms since:until> FROM understudy_windows WHERE tenant = :tenant AND key = :key"

PROLONG = """
UPDATE understudy_windows SET job_id = :id, until = <later:until by :ms> WHERE tenant = :tenant AND key = :key"""


@dataclass(frozen=True, slots=True)
class Thinning:
    """How a job makes way for others of its key.

    Attributes:
        key: What the sends share.
        ms: For how long.
        most_ms: Debounce: how long after the first send it runs at the latest. None = it is a throttle.
        keeps_last: Throttle: whether the last send of a window runs at its end.
    """

    key: str
    ms: int
    most_ms: int | None = None
    keeps_last: bool = False


def take(connection: Connection, tenant: str, thinning: Thinning, id: str) -> str | None:
    """Begin a window with a job; return None, or the job of the window that is open."""
    names = {"tenant": tenant, "key": thinning.key}
    if run(connection, TAKE, id=id, ms=thinning.ms, **names).first():
        return None
    job: str = run(connection, LOOK, **names).one()[0]
    return job


def left_ms(connection: Connection, tenant: str, thinning: Thinning) -> int:
    """Return for how many ms the window is open."""
    return max(0, int(run(connection, LOOK, tenant=tenant, key=thinning.key).one()[1])) + 1


def prolong(connection: Connection, tenant: str, thinning: Thinning, id: str) -> None:
    """Let another window follow the open one, with a job at its beginning."""
    run(connection, PROLONG, tenant=tenant, key=thinning.key, id=id, ms=thinning.ms)
