"""The worker inside the web process: there when it is wanted, once, and gone with the server."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from typing import Any

import pytest

from tests.flask_understudy.conftest import MakeSite, Site
from tools.waiting import wait_for

pytestmark = pytest.mark.requirement("G06", "V06")


@pytest.mark.requirement("V08", "J06")
def test_the_smallest_configuration_runs_jobs_from_the_first_request_on(
    make_site: MakeSite, sqlite_ledger: str, tmp_path: Any
) -> None:
    site = make_site(sqlite_ledger, UNDERSTUDY_WORKER="auto", TESTING=False)
    site.app.instance_path = str(tmp_path / "instance")

    @site.jobs.actor()
    def work() -> str:
        return "done"

    @site.app.get("/")
    def index() -> str:
        return work.send().message_id

    assert site.jobs.broker.worker is None
    id = site.app.test_client().get("/").text
    assert site.eventually("completed", id).result == "done"
    assert site.jobs.broker.worker.kind == "in-process"


@pytest.mark.requirement("G10", "C29", "H16")
@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"UNDERSTUDY_WORKER": "auto", "TESTING": False}, True),
        ({"UNDERSTUDY_WORKER": "auto", "TESTING": True}, False),
        ({"UNDERSTUDY_WORKER": "auto", "TESTING": False, "REDIS_URL": "redis://127.0.0.1:1"}, False),
        ({"UNDERSTUDY_WORKER": "off", "TESTING": False}, False),
        ({"UNDERSTUDY_WORKER": "in-process", "TESTING": True}, True),
        ({"UNDERSTUDY_WORKER": "in-process", "REDIS_URL": "redis://127.0.0.1:1"}, True),
        ({"UNDERSTUDY_WORKER": "in-process", "UNDERSTUDY_ENABLED": False}, False),
        ({"UNDERSTUDY_WORKER": "auto", "TESTING": False, "UNDERSTUDY_ENABLED": False}, False),
    ],
)
def test_whether_it_is_wanted(make_site: MakeSite, sqlite_ledger: str, config: dict[str, Any], wanted: bool) -> None:
    assert make_site(sqlite_ledger, **config).state.embedded.is_wanted is wanted


@pytest.mark.requirement("G10")
def test_with_the_switch_off_jobs_are_stored_and_nothing_runs(make_site: MakeSite, ledger_url: str) -> None:
    site = make_site(ledger_url, UNDERSTUDY_ENABLED=False, UNDERSTUDY_WORKER="in-process")

    @site.jobs.actor()
    def work() -> None: ...

    message = work.send()
    site.jobs.start_worker()
    assert site.jobs.broker.worker is None
    assert site.job(message).state == "waiting"


def test_it_starts_once_however_often_it_is_asked(carried_site: Site) -> None:
    @carried_site.jobs.actor()
    def work() -> None: ...

    first = carried_site.start_worker()
    before = threading.active_count()
    for _ in range(5):
        carried_site.jobs.start_worker()
    assert carried_site.jobs.broker.worker is first
    assert threading.active_count() <= before


def test_of_two_web_processes_on_one_machine_one_runs_it(
    make_site: MakeSite, sqlite_ledger: str, tmp_path: Any
) -> None:
    sites = [make_site(sqlite_ledger, UNDERSTUDY_WORKER="auto", TESTING=False) for _ in range(2)]
    for site in sites:
        site.app.instance_path = str(tmp_path / "instance")
        site.jobs.start_worker()
    wait_for(lambda: any(site.jobs.broker.worker for site in sites), "one of them to start")
    assert sum(site.jobs.broker.worker is not None for site in sites) == 1


def test_in_memory_databases_have_no_worker_and_say_so(make_site: MakeSite, caplog: pytest.LogCaptureFixture) -> None:
    site = make_site("sqlite://", UNDERSTUDY_WORKER="in-process")
    with caplog.at_level(logging.ERROR):
        site.jobs.start_worker()
    assert "The database is SQLite in memory, which threads cannot share: no worker runs. Use a file." in caplog.text
    assert site.jobs.broker.worker is None


@pytest.mark.requirement("K07")
def test_missing_tables_are_said_and_waited_for(
    make_site: MakeSite, sqlite_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_understudy.embedded.TRY_AGAIN_SECONDS", 0.1)
    site = make_site(sqlite_url, UNDERSTUDY_WORKER="in-process")

    @site.jobs.actor()
    def work() -> None: ...

    site.jobs.start_worker()
    wait_for(lambda: "Run `flask db upgrade`" in caplog.text, "the message")
    with site.app.app_context():
        site.jobs.metadata.create_all(site.db.engine)
    site.eventually("completed", work.send())


@pytest.mark.requirement("G09", "H06", "promise-G11")
def test_stopping_lets_running_jobs_end_and_hands_back_the_rest(carried_site: Site) -> None:
    site = carried_site
    go = threading.Event()

    @site.jobs.actor()
    def work() -> str:
        go.wait(10)
        return "ran to its end"

    site.start_worker()
    messages = site.jobs.send_many([work.message() for _ in range(8)])
    wait_for(lambda: site.jobs.stats()["default"]["active"] >= 5, "the threads to be busy")
    running = [m for m in messages if site.job(m).state == "active"][:5]
    threading.Timer(0.2, go.set).start()
    site.jobs.stop_worker()

    assert [site.job(message).result for message in running] == ["ran to its end"] * 5
    rest = [site.job(message) for message in messages if message not in running]
    assert {(job.state, job.attempt) for job in rest} == {("waiting", 0)}
    assert site.jobs.broker.worker is None
    site.jobs.stop_worker()


@pytest.mark.requirement("G09", "promise-G11", "I2")
def test_a_job_that_does_not_end_in_time_is_interrupted_and_handed_back(make_site: MakeSite, ledger_url: str) -> None:
    site = make_site(ledger_url, QUEUE_SHUTDOWN_TIMEOUT=5200)

    @site.jobs.actor(time_limit=60_000)
    def endless() -> None:
        threading.Event().wait(0.01)
        while True:
            threading.Event().wait(0.01)

    site.start_worker()
    message = endless.send()
    site.eventually("active", message)
    site.jobs.stop_worker()
    job = site.job(message)
    assert (job.state, job.attempt, job.hand_backs) == ("waiting", 0, 1)


def test_nothing_is_sent_to_a_worker_that_stopped(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor()
    def work() -> None: ...

    site.start_worker()
    site.eventually("completed", work.send())
    site.jobs.stop_worker()

    @site.jobs.actor(queue_name="later")
    def later() -> None: ...

    threads = threading.active_count()
    message = later.send()
    assert threading.active_count() <= threads
    assert site.job(message).state == "waiting"


ENDING = """
import logging, sys, time
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_understudy import Understudy

logging.basicConfig()
app = Flask("ending")
app.config.update(SQLALCHEMY_DATABASE_URI=sys.argv[1], UNDERSTUDY_WORKER="in-process")
db = SQLAlchemy(app)
jobs = Understudy(db)
jobs.init_app(app)
embedded = app.extensions["understudy"].embedded
embedded.ensure()
while embedded._worker is None:
    time.sleep(0.01)
with embedded._lock:
    pass  # it has booted
"""


def test_interpreter_that_ends_stops_the_worker_in_good_order(sqlite_ledger: str) -> None:
    said = subprocess.run([sys.executable, "-c", ENDING, sqlite_ledger], capture_output=True, text=True, timeout=60)

    assert said.returncode == 0
    assert "Unexpected failure" not in said.stderr
    assert "Traceback" not in said.stderr
