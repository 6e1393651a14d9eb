"""Whether the tables are there, and whether what stands in them can be."""

from __future__ import annotations

import pytest

from tests.flask_understudy.cli.conftest import Typist
from tests.flask_understudy.conftest import MakeSite


@pytest.mark.requirement("S06")
def test_missing_tables_and_columns_are_named(cli: Typist) -> None:
    assert cli("db", "check", "--json").json == {"ok": True, "missing": []}

    cli.site.execute("ALTER TABLE understudy_bulks RENAME COLUMN most TO fewest")
    try:
        assert "the column understudy_bulks.most is missing" in cli.fails("db", "check", code=1)
        assert "Not ready" in cli.fails("health", "--ready", code=1)
    finally:
        cli.site.execute("ALTER TABLE understudy_bulks RENAME COLUMN fewest TO most")


def test_empty_database_is_not_ready_but_the_process_is_alive(make_site: MakeSite, database_url: str) -> None:
    cli = Typist(make_site(database_url))

    assert "is missing" in cli.fails("db", "check", code=1)
    assert "live" in cli("health", "--live").out


def test_upgrade_without_migrations_says_how_the_tables_are_made(sqlite_cli: Typist) -> None:
    assert "jobs.metadata.create_all(db.engine)" in sqlite_cli.fails("db", "upgrade", code=1)


def test_ledger_that_was_used_holds_the_invariants(cli: Typist) -> None:
    cli.send()
    cli("cancel", cli.send())
    again = cli.fail()
    cli("retry", again)
    cli.site.worker.run(again)
    cli("retry", cli.fail())

    assert cli("verify", "--json").json["violations"] == []


@pytest.mark.parametrize(
    ("invariant", "sql"),
    [
        ("I1", {"state": "'asleep'"}),
        ("I1", {"state": "'active'", "worker_id": "NULL", "finished_at": "NULL"}),
        ("I2", {"attempt": "9", "max_attempts": "3"}),
        ("I2", {"fence": "7"}),
        ("I3", {"finished_at": "NULL"}),
        ("I3", {"state": "'waiting'"}),
        ("I4", {"state": "'cancelled'", "finished_at": "created_at", "started_at": "'2099-01-01 00:00:00.000000'"}),
        ("I5", {"state": "'completed'"}),
    ],
)
def test_broken_invariant_is_found(cli: Typist, invariant: str, sql: dict[str, str]) -> None:
    id = cli.fail()
    cli.site.change(id, **sql)

    said = cli("verify", "--json", expect=1)

    found = [violation for violation in said.json["violations"] if violation["invariant"] == invariant]
    assert found
    assert id in found[0]["what"]


def test_more_running_jobs_than_the_limit_allows_are_found(cli: Typist) -> None:
    worker = cli.site.process()
    for id in (cli.send(), cli.send()):
        cli.site.claim(worker, id)
    cli.site.execute("INSERT INTO understudy_queues (name, concurrency) VALUES ('email', 1)")

    said = cli("verify", expect=1)

    assert "I10: queue email may run 1 jobs at a time and runs 2" in said.out


def test_more_running_jobs_than_a_key_s_limit_allows_are_found(cli: Typist) -> None:
    worker = cli.site.process()
    ids = [cli.send(), cli.send()]
    for id in ids:
        cli.site.claim(worker, id)
        cli.site.change(id, limit_key="'printer'", gate="'printer'")
    cli.site.execute(
        "INSERT INTO understudy_limits (tenant, key, concurrency, changed_at) "
        f"VALUES ('', 'printer', 1, {cli.site.moment(-60_000)})"
    )

    said = cli("verify", expect=1)

    assert "I10: of tenant '' the key 'printer' may run 1 jobs at a time and runs 2" in said.out
    assert f"I10: job {ids[0]} is active and was never let through its gate" in said.out
