"""How long the latest jobs of a queue waited and ran, one by one: what sums cannot tell."""

from __future__ import annotations

from .database import Database
from .statements import run

#: Jobs that are looked at, and ended jobs of all queues among which they are looked for where tenants are not told
#: apart: no index leads to the latest ones of a queue then.
MOST = 1_000
SCAN = 10_000

_SPANS = "<waited>, <ms since:started_at> - <ms since:finished_at>"

OF_TENANT = f"""
SELECT {_SPANS} FROM understudy_jobs
WHERE tenant = :tenant AND queue = :queue AND state = 'completed' AND finished_at IS NOT NULL
    AND finished_at > <after::age_ms> AND started_at IS NOT NULL
ORDER BY finished_at DESC LIMIT :n"""  # noqa: S608 - constants of this module

OF_ALL = f"""
SELECT {_SPANS} FROM (
    SELECT queue, state, started_at, finished_at, run_at, created_at FROM understudy_jobs
    WHERE finished_at IS NOT NULL AND finished_at > <after::age_ms> ORDER BY finished_at DESC LIMIT :scan) AS latest
WHERE queue = :queue AND state = 'completed' AND started_at IS NOT NULL
ORDER BY finished_at DESC LIMIT :n"""  # noqa: S608


def latest(database: Database, queue: str, tenant: str | None, age_ms: int) -> list[tuple[int, int]]:
    """Return for how many ms each of the latest completed jobs of a queue was due, and for how many it then ran.

    Args:
        database: The ledger's database.
        queue: The queue.
        tenant: Whose jobs; None = every tenant's.
        age_ms: How long ago they ended at the most.
    """
    given = {"queue": queue, "age_ms": -age_ms, "n": MOST}
    with database.engine.connect() as connection:
        if tenant is None:
            rows = run(connection, OF_ALL, scan=SCAN, **given).all()
        else:
            rows = run(connection, OF_TENANT, tenant=tenant, **given).all()
    return [(max(0, int(waited)), max(0, int(ran))) for waited, ran in rows]
