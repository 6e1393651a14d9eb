"""The doctor names what is wrong and what to do, and never hangs."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flask_understudy.cli.conftest import Typist
from tests.flask_understudy.conftest import MakeSite
from tools.servers import RedisServer
from tools.servers.process import free_port
from tools.smtp import SmtpCatcher


def findings(cli: Typist, check: str, *, expect: int | None = None) -> list[dict[str, Any]]:
    """What the doctor finds about one thing."""
    result = cli.site.app.test_cli_runner().invoke(args=["jobs", "doctor", "--json"])
    assert expect is None or result.exit_code == expect, result.output
    return [each for each in json.loads(result.stdout)["findings"] if each["check"] == check]


def finding(cli: Typist, check: str, *, expect: int | None = None) -> dict[str, Any]:
    """The one thing that it finds."""
    [found] = findings(cli, check, expect=expect)
    return found


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield int(listening.getsockname()[1])


@pytest.mark.requirement("S01", "S04", "S07")
def test_sound_system_has_no_error(cli: Typist) -> None:
    cli.site.app.config["SECRET_KEY"] = "long enough for a key"
    cli.site.process()

    said = cli("doctor")

    assert "0 errors" in said.out
    assert "ok       database: " in said.out
    assert "ok       tables: " in said.out


@pytest.mark.requirement("S07", "S10")
def test_waiting_jobs_without_a_worker_are_an_error(cli: Typist) -> None:
    id = cli.send()
    cli.site.change(id, run_at=cli.site.moment(-300))

    assert finding(cli, "workers", expect=1)["remedy"] == "Start one: flask jobs worker"
    assert "wait in email, the first for 5m" in finding(cli, "waiting")["found"]


@pytest.mark.requirement("S04", "S10")
def test_queue_that_no_worker_consumes_is_named(cli: Typist) -> None:
    cli.send()
    cli.site.process()

    found = finding(cli, "consumers", expect=1)

    assert "1 job wait in email, which no worker consumes" in found["found"]
    assert "flask jobs worker --queues email" in found["remedy"]


@pytest.mark.requirement("S04", "S10")
def test_queue_whose_workers_are_all_drained_is_named_with_the_way_back(cli: Typist) -> None:
    cli.send()
    worker = cli.site.process()
    cli.site.execute("UPDATE understudy_workers SET queues = '[\"email\"]'")
    assert finding(cli, "consumers")["status"] == "ok"

    cli("workers", "drain", worker.id)

    found = finding(cli, "consumers")
    assert (found["status"], found["remedy"].count("flask jobs workers resume")) == ("warning", 1)
    assert "1 job wait in email, and no worker takes them: all that consume it are drained" in found["found"]
    cli("workers", "resume", worker.id)
    assert finding(cli, "consumers")["status"] == "ok"


@pytest.mark.requirement("S06")
def test_clock_that_does_not_lead_and_late_jobs_are_told(cli: Typist) -> None:
    id = cli.send(delay=60_000)
    cli.site.change(id, run_at=cli.site.moment(-90))

    found = findings(cli, "clock")

    assert [each["status"] for each in found] == ["warning", "warning"]
    assert "1 delayed job should have been due for up to 1m" in found[1]["found"]


@pytest.mark.requirement("S12")
def test_jobs_of_dead_workers_are_told(cli: Typist) -> None:
    worker = cli.site.process()
    cli.site.claim(worker, cli.send())
    cli.site.kill(worker)

    assert "1 job belong to workers that are gone" in finding(cli, "stalled")["found"]


@pytest.mark.requirement("S02", "S08", "S11")
def test_failures_are_grouped_with_an_example_and_the_way_to_retry(cli: Typist) -> None:
    for _ in range(3):
        example = cli.fail("disk is full")
    for kind in ("key", "value"):
        cli.fail("other", kind)

    found = findings(cli, "failures")

    assert len(found) == 3
    assert "3 jobs of report:make failed" in found[0]["found"]
    assert example in found[0]["remedy"]
    assert f"flask jobs retry --fingerprint {cli.site.job(example).fingerprint}" in found[0]["remedy"]


def test_poison_alerts_pauses_and_large_arguments_are_told(cli: Typist) -> None:
    cli.site.change(cli.fail(), reason="'poison'")
    cli.send("x" * 150_000)
    cli("queues", "pause", "email")
    cli.site.execute(
        "INSERT INTO understudy_alerts (rule, subject, began_at, value, threshold, message) "
        f"VALUES ('depth', 'email', {cli.site.moment(-90)}, 9, 5, 'email is long')"
    )

    assert finding(cli, "poison")["status"] == "error"
    assert "depth email, since 1m ago: email is long" in finding(cli, "alerts")["found"]
    assert "flask jobs queues resume email" in finding(cli, "paused")["remedy"]
    assert "262,144 bytes" in finding(cli, "payloads")["found"]


@pytest.mark.requirement("S04", "S06", "S13")
def test_settings_that_keep_jobs_from_running_are_told(
    make_site: MakeSite, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    cli = Typist(make_site(sqlite_ledger, UNDERSTUDY_ENABLED=False, UNDERSTUDY_WORKER="in-process"))
    cli.site.jobs.schedule("0 3 * * *")(cli.report)

    assert "UNDERSTUDY_ENABLED is off" in finding(cli, "enabled", expect=1)["found"]
    assert "SCHEDULER_ENABLED is off" in finding(cli, "schedules")["found"]
    assert "4 web processes each run a worker" in finding(cli, "web processes")["found"]


def test_missing_secret_is_an_error_for_an_application_that_wants_the_rest_api_alone(sqlite_cli: Typist) -> None:
    without = finding(sqlite_cli, "secrets")
    sqlite_cli.site.jobs.authorizer(lambda request: None)
    wanted = finding(sqlite_cli, "secrets", expect=1)

    assert (without["status"], wanted["status"]) == ("note", "error")
    assert "SECRET_KEY" in without["remedy"] and "SECRET_KEY" in wanted["remedy"]


@pytest.mark.requirement("S06")
def test_missing_tables_leave_out_what_needs_them(make_site: MakeSite, database_url: str) -> None:
    cli = Typist(make_site(database_url))

    missing, left_out = findings(cli, "tables", expect=1)

    assert "is missing, and " in missing["found"]
    assert "not checked because of it: workers, consumers" in left_out["found"]


@pytest.mark.requirement("R09", "C18", "S09", "S12", "S13")
@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_eviction_is_refused_with_the_command_that_ends_it(
    make_site: MakeSite, sqlite_ledger: str, policy: str
) -> None:
    options = {"maxmemory": "2gb", "maxmemory-policy": policy}
    with RedisServer(options=options) as server:
        cli = Typist(make_site(sqlite_ledger, server.url))

        found = finding(cli, "redis eviction", expect=1)

        assert found["status"] == "error"
        assert "redis-cli CONFIG SET maxmemory-policy noeviction" in found["remedy"]
        assert "of 2048.0 MiB used" in finding(cli, "redis memory")["found"]


@pytest.mark.requirement("R09", "S07", "S09", "S10")
def test_redis_that_is_well_is_told_with_its_latency(make_site: MakeSite, sqlite_ledger: str, redis_url: str) -> None:
    cli = Typist(make_site(sqlite_ledger, redis_url))

    assert "answers PING in" in finding(cli, "redis")["found"]
    assert finding(cli, "redis eviction")["status"] == "ok"
    assert finding(cli, "redis clock")["status"] == "ok"


def test_redis_that_is_nearly_full_is_told(make_site: MakeSite, sqlite_ledger: str) -> None:
    with RedisServer(options={"maxmemory": "1mb", "maxmemory-policy": "noeviction"}) as server:
        cli = Typist(make_site(sqlite_ledger, server.url))

        assert finding(cli, "redis memory")["status"] == "warning"


@pytest.mark.requirement("S07", "S09")
def test_refused_redis_is_an_error_without_its_password(make_site: MakeSite, sqlite_ledger: str) -> None:
    cli = Typist(make_site(sqlite_ledger, f"redis://:secret@127.0.0.1:{free_port()}/0"))

    found = findings(cli, "redis", expect=1)

    assert "does not answer" in found[0]["found"]
    assert "redis eviction" in found[1]["found"]
    assert "secret" not in str(found)


@pytest.mark.requirement("S11")
def test_mail_server_is_greeted(make_site: MakeSite, sqlite_ledger: str, smtp_server: SmtpCatcher) -> None:
    cli = Typist(make_site(sqlite_ledger, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp_server.port))

    assert finding(cli, "mail") == {
        "check": "mail",
        "status": "ok",
        "found": f"127.0.0.1:{smtp_server.port} answers",
        "remedy": None,
    }


@pytest.mark.requirement("S07", "S09", "S11")
def test_servers_that_say_nothing_do_not_hold_the_doctor(
    make_site: MakeSite, sqlite_ledger: str, silent_port: int
) -> None:
    cli = Typist(
        make_site(
            sqlite_ledger,
            f"redis://127.0.0.1:{silent_port}/0",
            MAIL_SERVER="127.0.0.1",
            MAIL_PORT=silent_port,
        )
    )
    began = time.monotonic()

    for check, status in (("redis", "error"), ("mail", "warning")):
        assert findings(cli, check)[0]["status"] == status

    assert time.monotonic() - began < 14


@pytest.mark.requirement("S06", "S09")
def test_database_that_says_nothing_does_not_hold_the_doctor(make_site: MakeSite, silent_port: int) -> None:
    cli = Typist(make_site(f"postgresql+psycopg://anna:secret@127.0.0.1:{silent_port}/shop"))
    began = time.monotonic()

    hangs, left_out = findings(cli, "database", expect=1)

    assert time.monotonic() - began < 6
    assert hangs["found"] == "no answer within 3 s"
    assert "tables" in left_out["found"]


def test_locked_sqlite_file_is_told(sqlite_cli: Typist) -> None:
    with sqlite_cli.site.state.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE understudy_jobs SET priority = 1")

        assert "nobody can write" in finding(sqlite_cli, "sqlite file")["found"]


def test_strict_counts_warnings_and_only_chooses(sqlite_cli: Typist) -> None:
    assert "no worker is alive" in sqlite_cli("doctor", "--only", "workers").out

    said = sqlite_cli("doctor", "--only", "workers", "--strict", expect=1)

    assert "0 errors, 1 warning." in said.out
