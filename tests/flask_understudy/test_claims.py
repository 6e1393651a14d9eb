"""What a running job is given, and how its end reaches the ledger."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import sqlalchemy as sa
from flask import current_app, g

from flask_understudy import current_job
from flask_understudy.errors import LeaseLost
from flask_understudy.ledger import queries
from tests.flask_understudy.conftest import Site
from tests.flask_understudy.test_redaction import JWT
from tools.waiting import wait_for


@pytest.mark.requirement("B03", "B04")
def test_a_job_knows_what_it_is(site: Site) -> None:
    seen: list[dict[str, Any]] = []

    @site.jobs.actor(queue_name="q", max_retries=1, min_backoff=0)
    def look(*args: Any, **kwargs: Any) -> None:
        names = ("id", "actor", "queue", "attempt", "max_attempts", "fence", "tenant", "owner", "idempotency_key")
        seen.append({name: getattr(current_job, name) for name in names} | {"args": args, "kwargs": kwargs})
        raise RuntimeError

    message = look.send_with_options(args=(1,), kwargs={"a": 2}, tenant="aster", owner="user-7")
    site.worker.drain(include_delayed=True)

    assert seen == [
        {
            "id": message.message_id,
            "actor": "look",
            "queue": "q",
            "attempt": attempt,
            "max_attempts": 2,
            "fence": attempt,
            "tenant": "aster",
            "owner": "user-7",
            "idempotency_key": message.message_id,
            "args": (1,),
            "kwargs": {"a": 2},
        }
        for attempt in (1, 2)
    ]


def test_outside_of_a_job_current_job_says_so() -> None:
    with pytest.raises(RuntimeError, match="current_job is only there while an actor runs"):
        _ = current_job.id


@pytest.mark.requirement("B05", "L08")
def test_what_a_job_logs_is_kept_with_its_attempt(site: Site) -> None:
    @site.jobs.actor(max_retries=1, min_backoff=0)
    def talk() -> None:
        current_job.log("attempt %d of %s", current_job.attempt, "two")
        current_job.log("100%")
        current_job.log("too few %s %s", "x")
        current_job.log("nul \x00 half \ud800")
        raise RuntimeError

    message = talk.send()
    site.worker.drain(include_delayed=True)

    lines = [(line.attempt, line.message) for line in queries.timeline(site.state.database, message.message_id)]
    assert lines == [
        (attempt, text)
        for attempt in (1, 2)
        for text in (f"attempt {attempt} of two", "100%", "too few %s %s x", "nul \\x00 half \\ud800")
    ]


def test_a_job_that_logs_without_end_keeps_its_first_thousand_lines(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor()
    def talk() -> None:
        for n in range(1100):
            current_job.log("%d " + "x" * 5000, n)

    message = talk.send()
    sqlite_site.worker.run(message)

    lines = queries.timeline(sqlite_site.state.database, message.message_id)
    assert len(lines) == 1000
    assert lines[-1].message.startswith("999 ")
    assert {len(line.message) for line in lines} == {4000}


@pytest.mark.requirement("B06", "L07", "Q04", "C36")
def test_progress_can_be_seen_while_the_job_runs(carried_site: Site) -> None:
    site = carried_site
    site.start_worker()
    release = []

    @site.jobs.actor()
    def work() -> None:
        current_job.progress(50, "half")
        while not release:
            current_job.check_cancelled()

    message = work.send()
    wait_for(lambda: site.job(message).progress == 50, "the progress")
    assert (site.job(message).state, site.job(message).progress_message) == ("active", "half")
    release.append(1)
    assert site.eventually("completed", message).progress == 100


@pytest.mark.requirement("B06", "L07")
@pytest.mark.parametrize("percent", [-1, 101, float("nan")])
def test_progress_out_of_range_is_refused(sqlite_site: Site, percent: float) -> None:
    @sqlite_site.jobs.actor(max_retries=0)
    def work() -> None:
        current_job.progress(percent)

    job = sqlite_site.worker.run(work.send())
    assert job.error.startswith(f"ValueError: progress is {percent!r}; it takes a number from 0 to 100")


@pytest.mark.requirement("B09", "Q05")
@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, "text", 2.5, [1, {"a": None}], {"status": "ok"}])
def test_what_an_actor_returns_is_the_job_s_result(site: Site, value: Any) -> None:
    @site.jobs.actor()
    def work() -> Any:
        return value

    job = site.worker.run(work.send())
    assert (job.state, job.result, job.progress, job.error) == ("completed", value, 100, None)
    assert job.started_at <= job.finished_at


@pytest.mark.parametrize(("value", "kept"), [(object, "<class 'object'>"), ({1, 2}, "{1, 2}"), (float("nan"), "nan")])
def test_a_result_that_is_no_json_is_kept_as_its_repr(
    site: Site, caplog: pytest.LogCaptureFixture, value: Any, kept: str
) -> None:
    @site.jobs.actor()
    def work() -> Any:
        return value

    job = site.worker.run(work.send())
    assert (job.state, job.result) == ("completed", kept)
    assert "The result of work cannot be stored as JSON" in caplog.text


@pytest.mark.requirement("C12")
def test_a_result_that_is_too_large_is_cut(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    @site.jobs.actor()
    def work() -> str:
        return "x" * 300_000

    job = site.worker.run(work.send())
    assert job.state == "completed"
    assert job.result.startswith('"xxx')
    assert len(job.result) < 2_100
    assert "store data and return its id" in caplog.text


@pytest.mark.requirement("B10", "Q06", "Q07", "V01")
def test_an_exception_leads_to_another_attempt(site: Site) -> None:
    @site.jobs.actor(max_retries=1, min_backoff=1000, jitter=0)
    def explode() -> None:
        raise ValueError("bad luck")

    job = site.worker.run(explode.send())

    assert (job.state, job.attempt, job.error, job.finished_at) == ("delayed", 1, "ValueError: bad luck", None)
    [attempt] = queries.attempts(site.state.database, job.id)
    assert (attempt.number, attempt.outcome, attempt.error) == (1, "retried", "ValueError: bad luck")
    assert 'raise ValueError("bad luck")' in attempt.traceback
    assert 0.9 < (job.run_at - attempt.finished_at).total_seconds() < 1.1


@pytest.mark.requirement("B10", "Q08", "G05", "L08", "C26")
def test_a_job_without_attempts_left_has_failed_and_can_be_looked_at(site: Site) -> None:
    @site.jobs.actor(max_retries=1)
    def explode() -> None:
        raise ValueError(f"attempt {current_job.attempt}")

    message = explode.send()
    [job] = site.worker.drain(include_delayed=True)

    assert (job.id, job.state, job.reason, job.attempt) == (message.message_id, "failed", "exhausted", 2)
    assert job.error == "ValueError: attempt 2"
    assert [(a.number, a.outcome, a.error) for a in queries.attempts(site.state.database, job.id)] == [
        (1, "retried", "ValueError: attempt 1"),
        (2, "failed", "ValueError: attempt 2"),
    ]


@pytest.mark.requirement("B10")
def test_a_reported_failure_is_a_failure_that_is_not_retried(site: Site) -> None:
    @site.jobs.actor(max_retries=5)
    def decline() -> dict[str, Any]:
        return {"status": "failed", "reason": "no such account", "code": 404}

    job = site.worker.run(decline.send())

    assert (job.state, job.reason, job.attempt) == ("failed", "error", 1)
    assert job.error == "ReportedFailure: no such account"
    assert job.result == {"status": "failed", "reason": "no such account", "code": 404}


@pytest.mark.requirement("B10")
@pytest.mark.parametrize("result", [{"status": "failed"}, {"reason": "x"}, {"status": "ok", "reason": "x"}])
def test_other_results_are_results(sqlite_site: Site, result: dict) -> None:
    @sqlite_site.jobs.actor()
    def work() -> dict:
        return result

    assert sqlite_site.worker.run(work.send()).state == "completed"


def test_errors_are_stored_whatever_they_contain(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "dramatiq")  # such a text in a log would break the test's report

    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    errors = [ValueError("nul \x00 half \ud800"), ValueError("x" * 100_000), Odd()]

    @site.jobs.actor(max_retries=0)
    def explode(n: int) -> None:
        raise errors[n]

    jobs = [site.worker.run(explode.send(n)) for n in range(3)]

    assert [job.state for job in jobs] == ["failed"] * 3
    assert jobs[0].error == "ValueError: nul \\x00 half \\ud800"
    assert jobs[1].error.startswith("ValueError: xxx")
    assert len(jobs[1].error) == 2000
    assert jobs[2].error == "Odd: (its text cannot be read)"
    for job in jobs:
        assert len(queries.attempts(site.state.database, job.id)[0].traceback) <= 16_384


@pytest.mark.requirement("L08")
@pytest.mark.parametrize("blank", ["", " "], ids=["joined", "apart"])
def test_a_long_message_leaves_the_frames_of_a_traceback(sqlite_site: Site, blank: str) -> None:
    def deeper(text: str) -> None:
        try:
            raise KeyError(text)
        except KeyError as problem:
            raise ValueError(text) from problem

    @sqlite_site.jobs.actor(max_retries=0)
    def explode(size: int) -> None:
        deeper(f"boom: {'long' * (size // 4)}{blank}{JWT}")

    job = sqlite_site.worker.run(explode.send(20_000))

    trace = queries.attempts(sqlite_site.state.database, job.id)[0].traceback
    assert trace.startswith("Traceback (most recent call last):")
    assert trace.count("in deeper") == 2 and "in explode" in trace
    assert "KeyError: 'boom: long" in trace and "ValueError: boom: long" in trace
    assert "characters more)" in trace and len(trace) <= 16_384
    assert JWT not in trace


def test_the_first_exceptions_of_a_long_chain_are_left_out(sqlite_site: Site) -> None:
    def fail(n: int) -> None:
        try:
            if n:
                fail(n - 1)
            raise LookupError("the very first" + "!" * 1_000)
        except LookupError as problem:
            raise LookupError(f"number {n} " + "!" * 1_000) from problem

    @sqlite_site.jobs.actor(max_retries=0)
    def explode() -> None:
        fail(20)

    job = sqlite_site.worker.run(explode.send())

    trace = queries.attempts(sqlite_site.state.database, job.id)[0].traceback
    assert "LookupError: number 20 " in trace and "in explode" in trace
    assert "the very first" not in trace.replace('LookupError("the very first"', "") and len(trace) <= 16_384


def test_a_traceback_has_no_local_variables(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor(max_retries=0)
    def explode(password: str) -> None:
        raise ValueError("bad luck" if password else "")

    job = sqlite_site.worker.run(explode.send("s3cret"))
    [attempt] = queries.attempts(sqlite_site.state.database, job.id)
    assert "s3cret" not in attempt.traceback


def test_a_base_exception_is_a_failure_like_any_other(site: Site) -> None:
    @site.jobs.actor(max_retries=0)
    def leave() -> None:
        raise SystemExit(3)

    job = site.worker.run(leave.send())
    assert (job.state, job.error) == ("failed", "SystemExit: 3")


def test_each_job_has_an_application_context_of_its_own(site: Site) -> None:
    seen = []

    @site.jobs.actor()
    def work() -> None:
        seen.append((current_app.name, "mark" in g))
        g.mark = True

    work.send()
    work.send()
    site.worker.drain()
    assert seen == [("site", False)] * 2


def test_a_session_left_open_by_a_job_is_rolled_back(site: Site) -> None:
    @site.jobs.actor()
    def forget_to_commit() -> None:
        site.db.session.add(site.Note(text="never"))
        site.db.session.flush()

    assert site.worker.run(forget_to_commit.send()).state == "completed"
    assert site.notes() == []


def test_a_teardown_that_fails_harms_no_job(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    @site.app.teardown_appcontext
    def explode(_: Any) -> None:
        if current_job:
            raise RuntimeError("teardown")

    @site.jobs.actor()
    def work() -> int:
        return 1

    job = site.worker.run(work.send())
    assert (job.state, job.result) == ("completed", 1)


class TestTransaction:
    """G5: work on `db.session` and the job's completion are one commit."""

    pytestmark = pytest.mark.requirement("G5", "invariant-I11")

    def test_work_and_completion_are_committed_together(self, site: Site) -> None:
        states = []

        @site.jobs.actor()
        def work() -> str:
            with current_job.transaction() as session:
                session.add(site.Note(text="once"))
                states.append(site.job(current_job.id).state)
            states.append(site.job(current_job.id).state)
            return "done"

        job = site.worker.run(work.send())

        assert states == ["active", "completed"]
        assert (job.state, job.result, site.notes()) == ("completed", "done", ["once"])

    def test_an_exception_inside_rolls_both_back(self, site: Site) -> None:
        @site.jobs.actor(max_retries=0)
        def work() -> None:
            with current_job.transaction() as session:
                session.add(site.Note(text="never"))
                session.flush()
                raise RuntimeError

        assert site.worker.run(work.send()).state == "failed"
        assert site.notes() == []

    def test_what_was_rolled_back_is_not_committed_later(self, site: Site) -> None:
        @site.jobs.actor()
        def work() -> None:
            try:
                with current_job.transaction() as session:
                    session.add(site.Note(text="never"))
                    session.flush()
                    raise KeyError
            except KeyError:
                site.db.session.add(site.Note(text="instead"))
                site.db.session.commit()

        assert site.worker.run(work.send()).state == "completed"
        assert site.notes() == ["instead"]

    def test_an_exception_afterwards_does_not_undo_the_completion(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        @site.jobs.actor()
        def failure(*_: Any) -> None: ...

        @site.jobs.actor()
        def success(*_: Any) -> None: ...

        @site.jobs.actor(on_failure=failure, on_success=success, on_retry_exhausted=failure, max_retries=0)
        def work() -> None:
            with current_job.transaction() as session:
                session.add(site.Note(text="once"))
            raise RuntimeError("late")

        message = work.send()
        ended = site.worker.drain(include_delayed=True)

        assert (site.job(message).state, site.job(message).attempt, site.notes()) == ("completed", 1, ["once"])
        assert [job.actor for job in ended] == ["work", "success"]
        assert "raised after its transaction had completed it" in caplog.text

    def test_a_worker_that_lost_the_job_commits_nothing(self, site: Site) -> None:
        @site.jobs.actor()
        def work() -> None:
            site.change(current_job.id, worker_id="'somebody-else'", fence="fence + 1")
            with current_job.transaction() as session:
                session.add(site.Note(text="never"))

        message = work.send()
        with pytest.raises(LeaseLost, match="no longer this worker's; its work was rolled back"):
            site.worker.run(message, raise_errors=True)
        assert site.notes() == []
        assert site.job(message).state == "active"

    def test_jobs_sent_inside_exist_if_the_work_does(self, site: Site) -> None:
        @site.jobs.actor()
        def child() -> None: ...

        @site.jobs.actor(max_retries=0)
        def work(fails: bool) -> None:
            with current_job.transaction() as session:
                session.add(site.Note(text="once"))
                child.send()
                if fails:
                    raise RuntimeError

        site.worker.run(work.send(True))
        assert site.worker.sent(child) == []
        site.worker.run(work.send(False))
        assert len(site.worker.sent(child)) == 1


@pytest.mark.requirement("G3", "I3")
def test_an_end_that_comes_after_the_job_was_taken_back_is_dropped(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    @site.jobs.actor()
    def work() -> str:
        site.change(current_job.id, state="'waiting'", worker_id="NULL")
        return "too late"

    with caplog.at_level(logging.WARNING):
        message = work.send()
        site.worker.run(message)
    assert (site.job(message).state, site.job(message).result) == ("waiting", None)
    assert "was taken back before its end was recorded; that end is dropped" in caplog.text


def test_follow_ups_exist_exactly_when_the_finish_does(site: Site) -> None:
    """What hooks enqueue after an actor is stored in the finish's own transaction."""

    @site.jobs.actor()
    def after(*_: Any) -> None: ...

    @site.jobs.actor(on_success=after)
    def work(loses: bool) -> None:
        if loses:
            site.change(current_job.id, worker_id="'somebody-else'")

    site.worker.run(work.send(True))
    assert site.worker.sent(after) == []
    site.worker.run(work.send(False))
    [job] = site.worker.sent(after)
    assert json.dumps(job.args)


@pytest.mark.requirement("P09")
def test_an_error_of_the_database_is_recorded_without_statement_and_parameters(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    @site.jobs.actor(max_retries=0)
    def insert_twice(secret: str) -> None:
        for _ in range(2):
            site.db.session.execute(sa.insert(site.Note).values(id=7, text=secret))

    @site.jobs.actor(max_retries=0)
    def wrap(secret: str) -> None:
        try:
            insert_twice.fn(secret)
        except sa.exc.IntegrityError as problem:
            raise RuntimeError(f"no note: {problem}") from problem

    with caplog.at_level(logging.ERROR):
        jobs = [site.worker.run(actor.send("canary-4711")) for actor in (insert_twice, wrap)]

    for job in jobs:
        [attempt] = queries.attempts(site.state.database, job.id)
        for text in (job.error, attempt.error, attempt.traceback):
            assert text is not None
            assert "canary" not in text and "INSERT" not in text and "[SQL" not in text
        assert "in insert_twice" in attempt.traceback
    kind, _, reason = jobs[0].error.partition(": ")
    assert kind == "IntegrityError"
    assert "UNIQUE constraint failed" in reason or "duplicate key" in reason
    assert jobs[1].error.startswith("RuntimeError: no note: ")
    assert "INSERT" in caplog.text
