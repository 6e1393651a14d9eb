"""The helpers that applications test their jobs with."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from flask_understudy import current_job, testing
from flask_understudy.errors import JobConflict, JobNotFound, NotInitialised
from flask_understudy.testing import TestWorker, UncommittedWrites
from tests.flask_understudy.conftest import MakeSite, Site


def test_run_executes_one_job_in_this_thread_and_returns_its_row(site: Site) -> None:
    threads = []

    @site.jobs.actor()
    def double(n: int) -> int:
        threads.append(threading.current_thread())
        return 2 * n

    message = double.send(21)
    double.send(1)

    job = site.worker.run(message)

    assert (job.id, job.state, job.result, job.attempt) == (message.message_id, "completed", 42, 1)
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize("named", ["message", "id", "row"])
def test_run_takes_a_message_an_id_or_a_row(sqlite_site: Site, named: str) -> None:
    site = sqlite_site

    @site.jobs.actor()
    def work() -> None: ...

    message = work.send()
    job = {"message": message, "id": message.message_id, "row": site.job(message)}[named]
    assert site.worker.run(job).state == "completed"


def test_run_does_not_wait_for_a_job_s_time(site: Site) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    message = work.send_with_options(run_at=datetime.now(UTC) + timedelta(days=365))
    assert site.worker.run(message).state == "completed"


def test_run_leaves_a_failed_attempt_recorded_and_raises_only_when_asked(site: Site) -> None:
    @site.jobs.actor(max_retries=1, min_backoff=60_000)
    def explode() -> None:
        raise KeyError("gone")

    message = explode.send()

    first = site.worker.run(message)
    with pytest.raises(KeyError, match="gone"):
        site.worker.run(message, raise_errors=True)

    assert (first.state, first.attempt, first.error) == ("delayed", 1, "KeyError: 'gone'")
    assert (site.job(message).state, site.job(message).reason) == ("failed", "exhausted")


def test_run_keeps_what_the_job_logged_and_its_progress(site: Site) -> None:
    @site.jobs.actor(max_retries=0)
    def work() -> None:
        current_job.log("at %d", 30)
        current_job.progress(30, "a third")
        raise RuntimeError

    job = site.worker.run(work.send())

    assert (job.progress, job.progress_message) == (30, "a third")


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled", "active"])
def test_run_says_why_a_job_cannot_run(site: Site, state: str) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    message = work.send()
    site.change(message, state=f"'{state}'")
    with pytest.raises(JobConflict, match=f"is {state}; only waiting and delayed jobs can be run"):
        site.worker.run(message)


def test_run_says_that_the_queue_is_paused(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor(queue_name="slow")
    def work() -> None: ...

    message = work.send()
    sqlite_site.jobs.pause("slow")
    with pytest.raises(JobConflict, match="'slow', which is paused"):
        sqlite_site.worker.run(message)


def test_run_says_that_the_job_expired(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor()
    def work() -> None: ...

    message = work.send()
    sqlite_site.change(message, expires_at=sqlite_site.moment(-1))
    with pytest.raises(JobConflict, match="expired at"):
        sqlite_site.worker.run(message)


def test_run_of_an_unknown_id_says_so(sqlite_site: Site) -> None:
    with pytest.raises(JobNotFound, match="'nothing'.*not committed"):
        sqlite_site.worker.run("nothing")


def test_jobs_are_not_run_while_the_session_holds_writes(site: Site) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    with site.app.app_context():
        message = work.send()
        site.db.session.add(site.Note(text="not yet"))
        for run in (lambda: site.worker.run(message), site.worker.drain):
            with pytest.raises(UncommittedWrites, match="Commit before you run jobs"):
                run()
        site.db.session.commit()
        assert site.worker.run(message).state == "completed"


def test_the_test_s_session_sees_what_a_job_did(site: Site) -> None:
    with site.app.app_context():
        note = site.Note(text="before")
        site.db.session.add(note)
        site.db.session.commit()
        id = note.id
        assert note.text == "before"

        @site.jobs.actor()
        def rewrite() -> None:
            site.db.session.get(site.Note, id).text = "after"
            site.db.session.commit()

        site.worker.run(rewrite.send())

        assert note.text == "after"


def test_drain_runs_follow_ups_and_returns_what_ended_in_order(site: Site) -> None:
    @site.jobs.actor()
    def second() -> str:
        return "second"

    @site.jobs.actor()
    def first() -> str:
        second.send()
        return "first"

    first.send()
    assert [job.result for job in site.worker.drain()] == ["first", "second"]
    assert site.worker.drain() == []


def test_drain_leaves_delayed_jobs_alone_unless_told(site: Site) -> None:
    attempts = []

    @site.jobs.actor(max_retries=2, min_backoff=60_000)
    def explode() -> None:
        attempts.append(current_job.attempt)
        raise RuntimeError

    explode.send()
    explode.send_with_options(delay=3_600_000)

    assert site.worker.drain() == []
    assert attempts == [1]
    assert [job.state for job in site.worker.drain(include_delayed=True)] == ["failed", "failed"]
    assert sorted(attempts) == [1, 1, 2, 2, 3, 3]


def test_drain_runs_one_queue_alone(site: Site) -> None:
    @site.jobs.actor(queue_name="here")
    def wanted() -> None: ...

    @site.jobs.actor(queue_name="there")
    def unwanted() -> None: ...

    wanted.send_with_options(delay=1000)
    wanted.send()
    later = unwanted.send_with_options(delay=1000)
    unwanted.send()

    assert [job.actor for job in site.worker.drain("here", include_delayed=True)] == ["wanted", "wanted"]
    assert site.jobs.stats()["there"]["waiting"] == 1
    assert site.job(later).state == "delayed"


def test_drain_goes_by_priority(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor()
    def work(name: str) -> str:
        return name

    for name, priority in (("low", 5), ("high", 1), ("middle", 3)):
        work.send_with_options(args=(name,), priority=priority)
    assert [job.result for job in sqlite_site.worker.drain()] == ["high", "middle", "low"]


def test_drain_notices_jobs_that_send_themselves_for_ever(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor()
    def again() -> None:
        again.send()

    again.send()
    with pytest.raises(AssertionError, match="still work after 7 attempts; the next job is 'again'"):
        sqlite_site.worker.drain(limit=7)
    assert sqlite_site.jobs.stats()["default"] | {"total": 0} == {
        "waiting": 1,
        "active": 0,
        "completed": 7,
        "failed": 0,
        "delayed": 0,
        "paused": 0,
        "total": 0,
    }


def test_drain_raises_what_an_actor_raised_when_asked(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor(max_retries=0)
    def explode() -> None:
        raise ZeroDivisionError("by nought")

    message = explode.send()
    with pytest.raises(ZeroDivisionError, match="by nought"):
        sqlite_site.worker.drain(raise_errors=True)
    assert sqlite_site.job(message).state == "failed"


def test_sent_lists_accepted_jobs_first_come_first(site: Site) -> None:
    @site.jobs.actor(queue_name="a")
    def one(n: int) -> None: ...

    @site.jobs.actor(queue_name="b")
    def two() -> None: ...

    for n in range(20):
        one.send(n)
    two.send()
    site.worker.drain("a")

    assert [job.args for job in site.worker.sent(one)] == [[n] for n in range(20)]
    assert [job.actor for job in site.worker.sent(queue="b")] == ["two"]
    assert len(site.worker.sent()) == 21


def test_sent_lists_jobs_of_the_open_transaction_too(site: Site) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    with site.app.app_context():
        site.db.session.add(site.Note(text="open"))
        work.send()
        assert len(site.worker.sent(work)) == 1
        site.db.session.rollback()
        assert site.worker.sent(work) == []


def test_assert_sent_finds_by_arguments(site: Site) -> None:
    @site.jobs.actor(actor_name="mail:send", queue_name="mail")
    def send_mail(to: str, *, copies: int = 1) -> None: ...

    send_mail.send("a@example.com", copies=2)
    send_mail.send("b@example.com")

    [job] = site.worker.assert_sent(send_mail, args=("a@example.com",), kwargs={"copies": 2}, times=1)
    assert job.kwargs == {"copies": 2}
    assert len(site.worker.assert_sent("mail:send")) == 2
    site.worker.assert_sent(send_mail, args=("c@example.com",), times=0)
    site.worker.assert_sent(send_mail, queue="mail", times=2)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"args": ("x",)}, r"mail:send was never sent with args=\('x',\); expected was once or more"),
        ({"times": 2}, "mail:send was sent once; expected was 2 times"),
        ({"times": 0}, "mail:send was sent once; expected was never"),
        ({"kwargs": {"a": 1}}, r"was never sent with kwargs=\{'a': 1\}"),
        ({"queue": "other"}, "was never sent with queue='other'"),
    ],
)
def test_assert_sent_says_what_was_sent_instead(sqlite_site: Site, terms: dict, message: str) -> None:
    @sqlite_site.jobs.actor(actor_name="mail:send")
    def send_mail(to: str) -> None: ...

    send_mail.send("a@example.com")

    with pytest.raises(AssertionError, match=message) as failure:
        sqlite_site.worker.assert_sent(send_mail, **terms)
    assert "mail:send args=['a@example.com'] kwargs={} (waiting in queue default)" in str(failure.value)


def test_assert_sent_says_that_nothing_was_sent(sqlite_site: Site) -> None:
    with pytest.raises(AssertionError, match="Sent were: no jobs at all"):
        sqlite_site.worker.assert_sent("mail:send")


def test_functions_do_the_same_with_the_extension_itself(site: Site) -> None:
    @site.jobs.actor()
    def work(n: int) -> int:
        return n

    message = work.send(1)
    work.send(2)

    assert testing.run_job(site.jobs, message).result == 1
    assert [job.result for job in testing.drain(site.jobs)] == [2]
    assert [job.args for job in testing.sent(site.jobs, work)] == [[1], [2]]
    testing.assert_sent(site.jobs, work, args=[2], times=1)
    assert site.state.database.is_sqlite or not _workers(site)


def test_a_stopped_worker_leaves_no_row_and_no_thread_behind(site: Site) -> None:
    @site.jobs.actor(time_limit=None)
    def work() -> None: ...

    before = threading.active_count()
    with TestWorker(site.jobs) as worker:
        worker.run(work.send())
        assert _workers(site) == ["test"]
    assert _workers(site) == []
    assert threading.active_count() <= before + 1  # the watch of time limits ends by itself


def test_everything_works_on_sqlite_in_memory(make_site: MakeSite) -> None:
    site = make_site("sqlite://")
    with site.app.app_context():
        site.jobs.metadata.create_all(site.db.engine)
        site.db.create_all()

    @site.jobs.actor()
    def second() -> None:
        site.db.session.add(site.Note(text="second"))
        site.db.session.commit()

    @site.jobs.actor()
    def first() -> None:
        site.db.session.add(site.Note(text="first"))
        second.send()
        current_job.progress(50)
        current_job.log("half")
        site.db.session.commit()

    @site.jobs.actor(max_retries=1)
    def explode() -> None:
        site.db.session.add(site.Note(text="never"))
        site.db.session.flush()
        raise RuntimeError

    with site.app.app_context():
        site.db.session.add(site.Note(text="outside"))
        first.send()
        site.db.session.commit()
        explode.send()
        ended = site.worker.drain(include_delayed=True)
        texts = site.db.session.scalars(site.db.select(site.Note.text)).all()

    assert sorted((job.actor, job.state) for job in ended) == [
        ("explode", "failed"),
        ("first", "completed"),
        ("second", "completed"),
    ]
    assert texts == ["outside", "first", "second"]
    site.worker.assert_sent(second, times=1)


@pytest.mark.parametrize("act", [lambda w: w.run("x"), lambda w: w.drain(), lambda w: w.sent()])
def test_missing_tables_are_named_with_the_remedy(make_site: MakeSite, database_url: str, act) -> None:
    site = make_site(database_url)
    with pytest.raises(NotInitialised, match="flask db upgrade"):
        act(site.worker)


PROJECT = """
import pytest
from tests.flask_understudy.conftest import build

site = build({url!r})

@site.jobs.actor()
def double(n: int) -> int:
    return 2 * n

@pytest.fixture
def app():
    return site.app

def test_a(understudy):
    assert understudy.run(double.send(21)).result == 42
    double.send(1)
    understudy.assert_sent(double, times=2)
    assert [job.result for job in understudy.drain()] == [2]
    assert len(understudy.sent(double)) == 2

def test_b():
    with site.state.database.statement() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM understudy_workers").scalar_one() == 0
"""


def pytest_of(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_project.py").write_text(source)
    installed = any(point.value == "flask_understudy.pytest_plugin" for point in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "flask_understudy.pytest_plugin"]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-pno:randomly",
            "-pno:cacheprovider",
            "-pno:valkey",
            *plugin,
            f"--rootdir={folder}",
            folder,
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_pytest_fixture_works_in_a_project_of_its_own(sqlite_ledger: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    done = pytest_of(folder, PROJECT.format(url=sqlite_ledger))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_pytest_fixture_says_when_the_app_has_no_jobs(tmp_path: Path) -> None:
    source = """
import flask, pytest

@pytest.fixture
def app():
    return flask.Flask("plain")

def test_a(understudy): ...
"""
    done = pytest_of(tmp_path, source)
    assert "no application that jobs.init_app(app) was called for" in done.stdout


def _workers(site: Site) -> list[str]:
    with site.state.database.statement() as connection:
        return list(connection.exec_driver_sql("SELECT kind FROM understudy_workers").scalars())
