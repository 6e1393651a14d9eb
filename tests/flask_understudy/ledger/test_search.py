"""Finding jobs: the roads that are taken, and that none of them is long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from flask_understudy.ledger.filter import Filter, Known
from flask_understudy.ledger.scope import EVERYTHING, Scope
from flask_understudy.ledger.search import Search
from tests.flask_understudy.conftest import MakeSite, Site

ROWS = 6_000
HISTORY = """
INSERT INTO understudy_jobs (id, tenant, queue, actor, state, priority, args, kwargs, run_at, created_at, started_at,
    finished_at, attempt, fence, progress, error, batch_id, fingerprint)
SELECT 'past-' || n, 't' || (n % 5), 'q' || (n % 3), 'noop', CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'completed' END, 3,
    '[]', '{"n": ' || n || '}', AT, AT, AT, AT, 1, 1, 100, CASE WHEN n % 10 = 0 THEN 'E: ' || n END,
    'b' || (n % 7), CASE WHEN n % 10 = 0 THEN 'print' END
FROM """
SERIES = {
    "sqlite": "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ROWS) SELECT n FROM c)",
    "postgresql": "generate_series(1, ROWS) AS n",
}
AT = {
    "sqlite": "(strftime('%Y-%m-%d %H:%M:%f', 'now', (n - 90000) || ' seconds') || '000')",
    "postgresql": "now() + (n - 90000) * interval '1 second'",
}
KNOWN = Known(("q0", "q1", "q2"))


def fill(site: Site) -> None:
    dialect = site.state.database.engine.dialect.name
    sql = (HISTORY + SERIES[dialect]).replace("ROWS", str(ROWS)).replace("AT,", AT[dialect] + ",")
    if dialect == "postgresql":
        sql = sql.replace("'[]'", "CAST('[]' AS json)").replace(
            """'{"n": ' || n || '}'""", """json_build_object('n', n)"""
        )
    with site.state.database.transaction() as connection:
        connection.execute(text(sql))
    with site.state.database.statement() as connection:
        connection.execute(text("VACUUM" if dialect == "sqlite" else "VACUUM ANALYZE understudy_jobs"))
        connection.execute(text("ANALYZE understudy_jobs"))


def walk(site: Site, scope: Scope, wanted: Filter, limit: int = 500, known: Known = KNOWN, **options: Any) -> list[str]:
    search, found, after = Search(site.state.database, scope, wanted, known, **options), [], None
    for _ in range(100):
        page = search.page(limit, after)
        found += [job.id for job in page.jobs]
        after = page.after
        if after is None:
            return found
    raise AssertionError("the pages do not end")


def expected(condition: Any) -> list[str]:
    return [f"past-{n}" for n in range(ROWS, 0, -1) if condition(n)]


@pytest.mark.parametrize(
    ("scope", "wanted", "condition"),
    [
        (Scope("t1"), Filter(), lambda n: n % 5 == 1),
        (EVERYTHING, Filter(), lambda n: True),
        (Scope("t1"), Filter(states=("failed", "completed")), lambda n: n % 5 == 1),
        (Scope("t0"), Filter(states=("failed",), queues=("q1",)), lambda n: n % 10 == 0 and n % 3 == 1),
        (EVERYTHING, Filter(states=("failed",)), lambda n: n % 10 == 0),
        (Scope("t0"), Filter(queues=("q1", "q2")), lambda n: n % 5 == 0 and n % 3 != 0),
        (Scope("t0"), Filter(error="e: 10"), lambda n: n % 10 == 0 and str(n).startswith("10")),
        (Scope("t3"), Filter(payload=((("n",), "1003"),)), lambda n: n == 1003),
        (EVERYTHING, Filter(fingerprint="print"), lambda n: n % 10 == 0),
        (Scope("t0"), Filter(states=("failed", "waiting")), lambda n: n % 10 == 0),
        (EVERYTHING, Filter(batch_id="b4"), lambda n: n % 7 == 4),
        (Scope("t1"), Filter(batch_id="b4", states=("failed", "completed")), lambda n: n % 7 == 4 and n % 5 == 1),
        (EVERYTHING, Filter(batch_id="b4", states=("failed",), queues=("q1",)), lambda n: n % 210 == 130),
        (EVERYTHING, Filter(batch_id="b4", fingerprint="print"), lambda n: n % 70 == 60),
        (EVERYTHING, Filter(ids=("past-4", "past-5"), batch_id="b4"), lambda n: n == 4),
        (EVERYTHING, Filter(ids=("past-10", "past-11"), fingerprint="print"), lambda n: n == 10),
        (EVERYTHING, Filter(ids=("past-4",), states=("waiting",)), lambda n: False),
        (Scope("t0"), Filter(fingerprint="print", states=("completed",)), lambda n: False),
        (EVERYTHING, Filter(batch_id="b4", states=("waiting",)), lambda n: False),
        (Scope("t1"), Filter(priority_from=3, attempt_to=1), lambda n: n % 5 == 1),
        (EVERYTHING, Filter(attempt_from=2), lambda n: False),
        (Scope("none"), Filter(), lambda n: False),
    ],
)
def test_all_pages_together_are_all_jobs_in_order(
    site: Site, scope: Scope, wanted: Filter, condition: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_understudy.ledger.search.SCAN", 700)
    fill(site)

    assert walk(site, scope, wanted) == expected(condition)
    assert walk(site, scope, wanted, newest_first=False) == expected(condition)[::-1]
    assert walk(site, scope, wanted, known=Known()) == expected(condition)


@pytest.mark.parametrize("scope", [EVERYTHING, Scope("acme")], ids=["all", "tenant"])
def test_all_that_waits_is_found_once_wherever_it_is_kept(site: Site, scope: Scope) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    with site.app.app_context():
        sent = [str(work.send_with_options(tenant="acme").message_id) for _ in range(6)]
    kept = [
        "gate = NULL",
        "parked = true",
        "gate = 'key'",
        "parked = true, gate = 'key'",
        "state = 'active'",
        "gate = NULL",
    ]
    for n, (id, how) in enumerate(zip(sent, kept, strict=True)):
        site.execute(f"UPDATE understudy_jobs SET {how}, created_at = {site.moment(-n)} WHERE id = '{id}'")
    wanted = Filter(states=("waiting",))

    assert walk(site, scope, wanted, 2) == [id for id in sent if id != sent[4]]
    assert walk(site, scope, wanted, 2, newest_first=False) == [id for id in sent[::-1] if id != sent[4]]
    assert Search(site.state.database, scope, wanted).count() == (5, True)


def test_counts_are_exact_until_there_are_many(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(site)
    search = Search(site.state.database, Scope("t0"), Filter(states=("failed",)), KNOWN)

    assert search.count() == (ROWS // 10, True)
    monkeypatch.setattr("flask_understudy.ledger.search.EXACT", 100)
    n, is_exact = search.count()
    assert n > 100
    assert not is_exact


@pytest.mark.parametrize(
    ("scope", "wanted", "index"),
    [
        (Scope("t1"), Filter(), "ix_understudy_jobs_created"),
        (EVERYTHING, Filter(), "ix_understudy_jobs_created"),
        (Scope("t1"), Filter(states=("completed",)), "ix_understudy_jobs_ended_by"),
        (Scope("t1"), Filter(states=("failed",), queues=("q1",)), "ix_understudy_jobs_ended_by"),
        (Scope("t1"), Filter(fingerprint="print"), "ix_understudy_jobs_failures"),
        (Scope("t1"), Filter(batch_id="b4"), "ix_understudy_jobs_batch"),
        (Scope("t1"), Filter(id_starts=("6b52f84c",), ids=("past-7",)), "pk_understudy_jobs"),
        (Scope("t1"), Filter(error="nothing"), "ix_understudy_jobs_created"),
        (EVERYTHING, Filter(states=("waiting",)), "ix_understudy_jobs_next"),
        (Scope("t1"), Filter(states=("waiting",)), "ix_understudy_jobs_turns"),
    ],
)
def test_no_list_reads_the_whole_table(
    make_site: MakeSite, postgres_ledger: str, scope: Scope, wanted: Filter, index: str
) -> None:
    site = make_site(postgres_ledger)
    fill(site)
    search = Search(site.state.database, scope, wanted, KNOWN)
    with site.state.database.statement() as connection:
        compiled = search._rows(51, None).compile(connection, compile_kwargs={"literal_binds": True})
        plan = json.dumps(
            connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {compiled}".replace("%", "%%")).scalar_one()
        )

    assert index in plan
    assert "Seq Scan" not in plan.replace(
        '"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Parallel Aware"', ""
    )
