"""Running jobs in an application's tests."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

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


def _workers(site: Site) -> list[str]:
    with site.state.database.statement() as connection:
        return list(connection.exec_driver_sql("SELECT kind FROM understudy_workers").scalars())
