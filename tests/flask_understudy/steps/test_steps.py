"""Steps: done once, kept, and found again when the actor runs again."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_understudy import current_job, step
from flask_understudy.errors import InvalidStep, StepFailed
from flask_understudy.ledger import Job, Step, metadata, queries
from tests.flask_understudy.conftest import MakeSite, Site


def steps_of(site: Site, message: Any) -> list[Step]:
    """The steps of a job as the ledger has them."""
    id = message if isinstance(message, str) else message.message_id
    with Session(site.state.database.own_engine) as session:
        return list(session.scalars(sa.select(Step).where(Step.job_id == id).order_by(Step.position)))


def described(site: Site, message: Any) -> list[tuple[str, str]]:
    return [(row.name, row.state) for row in steps_of(site, message)]


class Calls(list[str]):
    """Notes which functions ran."""

    def make(self, name: str, result: Any = None, *, failures: int = 0) -> Any:
        """A function that notes its call, fails as often as told, and returns its result."""

        def fn() -> Any:
            self.append(name)
            if self.count(name) <= failures:
                raise ValueError(f"{name} is not ready")
            return result

        return fn


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.mark.requirement("B14", "T02")
def test_a_step_that_was_done_is_not_done_again(site: Site, calls: Calls) -> None:
    results: list[Any] = []

    @site.jobs.actor(max_retries=1, min_backoff=0)
    def work() -> None:
        results.append(step.run("first", calls.make("first", {"n": (1, 2)})))
        results.append(step.run("second", calls.make("second", "done", failures=1)))

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert calls == ["first", "second", "second"]
    assert results == [{"n": [1, 2]}, {"n": [1, 2]}, "done"]
    assert site.job(message).state == "completed"
    assert [
        (s.position, s.name, s.kind, s.state, s.result and json.loads(s.result)) for s in steps_of(site, message)
    ] == [
        (0, "first", "run", "completed", {"n": [1, 2]}),
        (1, "second", "run", "completed", "done"),
    ]


def test_a_step_s_function_gets_its_arguments_and_may_be_async(sqlite_site: Site) -> None:
    results: list[Any] = []

    async def double(n: int, *, plus: int = 0) -> int:
        return 2 * n + plus

    @sqlite_site.jobs.actor(max_retries=0)
    def work() -> None:
        results.append(step.run("double", double, 3, plus=1))

    sqlite_site.worker.run(work.send(), raise_errors=True)

    assert results == [7]


def test_a_name_that_comes_again_is_another_step(sqlite_site: Site, calls: Calls) -> None:
    @sqlite_site.jobs.actor(max_retries=1, min_backoff=0)
    def work() -> None:
        for n in range(3):
            step.run("send", calls.make(f"send {n}", failures=n // 2))

    message = work.send()
    sqlite_site.worker.drain(include_delayed=True)

    assert calls == ["send 0", "send 1", "send 2", "send 2"]
    assert [s.name for s in steps_of(sqlite_site, message)] == ["send", "send#2", "send#3"]


def test_a_step_has_a_key_of_its_own_for_other_systems(sqlite_site: Site) -> None:
    keys: list[str] = []

    @sqlite_site.jobs.actor()
    def work() -> None:
        step.run("charge", lambda: keys.append(current_job.idempotency_key))
        keys.append(current_job.idempotency_key)

    message = work.send()
    sqlite_site.worker.run(message)

    assert keys == [f"{message.message_id}:charge", message.message_id]


@pytest.mark.requirement("B14")
def test_retries_of_a_step_are_not_the_job_s(site: Site, calls: Calls) -> None:
    attempts: list[int] = []

    @site.jobs.actor(max_retries=0, min_backoff=0)
    def work() -> None:
        attempts.append(current_job.attempt)
        step.run("first", calls.make("first"))
        step.run("call", calls.make("call", failures=2), attempts=3)

    message = work.send()
    site.worker.drain(include_delayed=True)

    job = site.job(message)
    assert (job.state, job.attempt, job.fence, job.hand_backs) == ("completed", 1, 3, 0)
    assert attempts == [1, 1, 1]
    assert calls == ["first", "call", "call", "call"]
    assert steps_of(site, message)[1].attempts == 3
    assert [a.outcome for a in queries.attempts(site.state.database, job.id)] == ["suspended", "suspended"]
    assert site.jobs.stats()["default"]["failed"] == 0


def test_a_step_is_not_tried_again_where_its_actor_says_that_it_is_of_no_use(site: Site, calls: Calls) -> None:
    @site.jobs.actor(max_retries=2, min_backoff=0, throws=(ValueError,))
    def work() -> None:
        with pytest.raises(StepFailed):
            step.run("call", calls.make("call", failures=3), attempts=3)
        step.run("after", calls.make("after"))

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert calls == ["call", "after"]
    assert described(site, message) == [("call", "failed"), ("after", "completed")]


def test_between_its_attempts_a_step_shows_its_error_and_its_time(site: Site, calls: Calls) -> None:
    @site.jobs.actor(max_retries=0, min_backoff=60_000, jitter=0)
    def work() -> None:
        step.run("call", calls.make("call", failures=1), attempts=2)

    message = work.send()
    job = site.worker.run(message)

    [row] = steps_of(site, message)
    assert (job.state, job.error) == ("delayed", None)
    assert (row.state, row.error, row.attempts) == ("retrying", "ValueError: call is not ready", 1)
    assert row.wake_at is not None
    assert abs(job.run_at - row.wake_at) < timedelta(milliseconds=50)
    assert row.finished_at is None


def test_a_step_that_failed_for_good_fails_whenever_the_actor_runs(site: Site, calls: Calls) -> None:
    caught: list[str] = []

    @site.jobs.actor(max_retries=1, min_backoff=0)
    def work() -> None:
        try:
            step.run("charge", calls.make("charge", failures=9), attempts=2)
        except StepFailed as problem:
            caught.append(str(problem))
        step.run("refund", calls.make("refund", failures=1))

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert caught == ["Step 'charge' failed: ValueError: charge is not ready"] * 2
    assert calls == ["charge", "charge", "refund", "refund"]
    assert described(site, message) == [("charge", "failed"), ("refund", "completed")]


def test_a_failed_step_that_nobody_caught_fails_the_job_at_once(site: Site, calls: Calls) -> None:
    @site.jobs.actor(max_retries=5, min_backoff=0)
    def work() -> None:
        step.run("first", calls.make("first"))
        step.run("charge", calls.make("charge", failures=1), attempts=1)

    message = work.send()
    site.worker.drain(include_delayed=True)

    job = site.job(message)
    assert (job.state, job.attempt, job.reason) == ("failed", 1, "exhausted")
    assert job.error == "StepFailed: Step 'charge' failed: ValueError: charge is not ready"

    site.jobs.retry(job.id)
    site.worker.drain()

    assert site.job(message).state == "completed"
    assert calls == ["first", "charge", "charge"]


def test_retrying_a_job_by_hand_leaves_failures_that_it_went_on_from(site: Site, calls: Calls) -> None:
    @site.jobs.actor(max_retries=0)
    def work() -> None:
        with pytest.raises(StepFailed):
            step.run("charge", calls.make("charge", failures=1), attempts=1)
        step.run("refund", calls.make("refund", failures=1), attempts=1)

    message = work.send()
    site.worker.drain()
    site.jobs.retry(message.message_id)
    site.worker.drain()

    assert calls == ["charge", "refund", "refund"]
    assert described(site, message) == [("charge", "failed"), ("refund", "completed")]


def test_what_suspends_a_job_cannot_be_caught(site: Site) -> None:
    @site.jobs.actor(max_retries=0)
    def work() -> None:
        with contextlib.suppress(BaseException):
            step.sleep("nap", hours=1)
        step.run("after", lambda: None)

    message = work.send()
    job = site.worker.run(message)

    assert job.state == "delayed"
    assert described(site, message) == [("nap", "sleeping")]


@pytest.mark.requirement("B14")
def test_a_sleep_frees_the_worker_and_ends_at_the_time_that_was_set_first(site: Site, calls: Calls) -> None:
    attempts: list[tuple[int, int]] = []

    @site.jobs.actor(max_retries=0)
    def work() -> str:
        attempts.append((current_job.attempt, current_job.fence))
        step.run("before", calls.make("before"))
        step.sleep("nap", hours=1)
        step.run("after", calls.make("after"))
        return "rested"

    message = work.send()
    before = datetime.now(UTC)
    asleep = site.worker.run(message)
    [_, nap] = steps_of(site, message)
    assert (asleep.state, asleep.attempt, asleep.hand_backs, asleep.finished_at) == ("delayed", 0, 0, None)
    assert nap.wake_at is not None
    assert timedelta(minutes=59) < nap.wake_at - before < timedelta(minutes=61)

    site.change(message, state="'waiting'")  # somebody woke it too early
    site.worker.drain()
    assert site.job(message).state == "delayed"
    assert steps_of(site, message)[1].wake_at == nap.wake_at

    site.execute(f"UPDATE understudy_steps SET wake_at = {site.moment(-1)} WHERE name = 'nap'")
    site.change(message, run_at=site.moment(-1))
    site.worker.drain()
    job = site.job(message)
    assert (job.state, job.result, job.attempt, job.hand_backs) == ("completed", "rested", 1, 0)
    assert attempts == [(1, 1), (1, 2), (1, 3)]
    assert calls == ["before", "after"]


def test_a_job_that_is_run_before_its_time_does_not_sleep_on(site: Site) -> None:
    @site.jobs.actor()
    def work() -> None:
        step.sleep("nap", days=300)
        step.sleep_until("opening", datetime.now(UTC) + timedelta(days=300))

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert site.job(message).state == "completed"
    assert described(site, message) == [("nap", "completed"), ("opening", "completed")]


def test_a_time_that_is_past_lets_the_job_go_on(site: Site, calls: Calls) -> None:
    @site.jobs.actor()
    def work() -> None:
        step.sleep_until("opening", datetime.now(UTC) - timedelta(days=1))
        step.run("after", calls.make("after"))

    message = work.send()
    site.worker.run(message)
    site.worker.drain()

    assert site.job(message).state == "completed"


@pytest.mark.requirement("T02", "G5")
def test_work_in_a_step_s_transaction_is_there_once(site: Site) -> None:
    @site.jobs.actor(max_retries=3, min_backoff=0)
    def work() -> None:
        def insert(text: str) -> int:
            site.db.session.add(site.Note(text=text))
            site.db.session.flush()
            return 7

        def insert_alone() -> None:
            with current_job.transaction() as session:
                session.add(site.Note(text="own"))

        assert step.run("insert", insert, "kept", transaction=True) == 7
        step.run("own", insert_alone)
        if current_job.attempt < 3:
            raise RuntimeError

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert site.notes() == ["kept", "own"]
    assert site.job(message).state == "completed"
    assert [(s.name, s.result) for s in steps_of(site, message)] == [("insert", "7"), ("own", None)]


def test_a_job_sent_in_a_step_s_transaction_exists_if_the_step_does(site: Site) -> None:
    @site.jobs.actor(queue_name="other")
    def other() -> None: ...

    def send() -> None:
        other.send()
        if current_job.attempt == 1:
            raise RuntimeError

    @site.jobs.actor(max_retries=1, min_backoff=0)
    def work() -> None:
        step.run("send", send, transaction=True)

    work.send()
    site.worker.drain("default", include_delayed=True)

    assert len(site.worker.sent(other)) == 1


def test_a_claim_that_was_lost_keeps_neither_the_step_nor_its_work(site: Site) -> None:
    def insert() -> None:
        site.db.session.add(site.Note(text="late"))
        site.db.session.flush()
        if site.state.database.is_sqlite:  # one writer: let the other claim be before our work
            site.db.session.rollback()
        site.change(current_job.id, fence="fence + 1")
        site.db.session.add(site.Note(text="late"))

    @site.jobs.actor()
    def work() -> None:
        step.run("insert", insert, transaction=True)

    message = work.send()
    site.worker.run(message)

    assert site.notes() == []
    assert steps_of(site, message) == []


def test_a_step_that_another_claim_has_done_is_taken_from_there(site: Site) -> None:
    rows = "(job_id, position, name, kind, state, result, attempts, started_at, fence)"

    def race() -> str:
        if current_job.fence == 1:
            site.execute(
                f"INSERT INTO understudy_steps {rows} VALUES "
                f"('{current_job.id}', 0, 'race', 'run', 'completed', '\"theirs\"', 1, {site.moment(0)}, 0)"
            )
        return "ours"

    @site.jobs.actor()
    def work() -> str:
        return step.run("race", race)

    message = work.send()
    site.worker.drain(include_delayed=True)

    job = site.job(message)
    assert (job.result, job.attempt, job.hand_backs) == ("theirs", 1, 1)


@pytest.mark.requirement("B14")
@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        (["a", "b"], ["a", "c"], "Step 2 of this job was 'b' (run), and its actor now asks for 'c' (run) there."),
        (["a", "b"], ["b"], "Step 1 of this job was 'a' (run), and its actor now asks for 'b' (run) there."),
        (["a", "b"], ["b", "a"], "Step 1 of this job was 'a' (run)"),
        (["a", "b"], ["a"], "This job has done the steps 'b', and its actor ended without asking for them."),
        (["a", "b"], [], "This job has done the steps 'a', 'b', and its actor ended without asking for them."),
        (
            ["a", "b"],
            ["a", "nap!"],
            "Step 2 of this job was 'b' (run), and its actor now asks for 'nap' (sleep) there.",
        ),
    ],
)
def test_changed_code_fails_the_job_and_says_what_changed(
    site: Site, first: list[str], then: list[str], says: str
) -> None:
    @site.jobs.actor(max_retries=5, min_backoff=0)
    def work() -> None:
        for name in first if current_job.attempt == 1 else then:
            if name.endswith("!"):
                step.sleep(name[:-1], hours=1)
            else:
                step.run(name, lambda: None)
        if current_job.attempt == 1:
            raise RuntimeError

    message = work.send()
    site.worker.drain(include_delayed=True)

    job = site.job(message)
    assert (job.state, job.reason, job.attempt) == ("failed", "steps_changed", 2)
    assert job.error is not None
    assert says in job.error


def test_code_that_changed_on_purpose_goes_on(site: Site, calls: Calls) -> None:
    @site.jobs.actor(max_retries=1, min_backoff=0)
    def work() -> None:
        if current_job.attempt == 1:
            for name in ("a", "gone", "b", "also gone"):
                step.run(name, calls.make(name, name))
            raise RuntimeError
        assert step.run("new", calls.make("new"), was="a") == "a"
        step.removed("gone")
        step.removed("never there")
        step.run("b", calls.make("b"))
        step.removed("also gone")
        step.run("c", calls.make("c"))

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert site.job(message).state == "completed"
    assert calls == ["a", "gone", "b", "also gone", "c"]


def test_a_changed_job_goes_on_once_the_code_fits_again(site: Site, calls: Calls) -> None:
    @site.jobs.actor(max_retries=0, min_backoff=0)
    def work() -> None:
        step.run("a" if current_job.fence != 2 else "z", calls.make("a"))
        if current_job.fence == 1:
            step.sleep("nap", milliseconds=1)
        step.removed("nap")

    message = work.send()
    site.worker.drain(include_delayed=True)
    assert site.job(message).reason == "steps_changed"

    site.jobs.retry(message.message_id)
    site.worker.drain(include_delayed=True)

    assert site.job(message).state == "completed"
    assert calls == ["a"]


def test_what_a_step_leaves_uncommitted_is_refused(site: Site) -> None:
    def insert() -> None:
        site.db.session.add(site.Note(text="in the air"))

    @site.jobs.actor(max_retries=3, min_backoff=0)
    def work(before: bool) -> None:
        if before:
            insert()
        step.run("insert", insert)

    for before, words in ((True, "Before step 'insert' db.session holds"), (False, "After step 'insert' db.session")):
        job = site.worker.run(work.send(before))

        assert (job.state, job.attempt) == ("failed", 1)
        assert job.error is not None
        assert words in job.error
    assert site.notes() == []


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: step.run("", print), "The name of a step is ''"),
        (lambda: step.run("a/b", print), "without '/' and '#'"),
        (lambda: step.run(7, print), "The name of a step is 7"),  # type: ignore[arg-type]
        (lambda: step.run("a", "print"), "'print' cannot be called"),  # type: ignore[call-overload]
        (lambda: step.run("a", print, attempts=0), "attempts is 0; it takes a whole number from 1 to 1000"),
        (lambda: step.run("a", object), "The result of step 'a' cannot be stored as JSON"),
        (lambda: step.run("a", lambda: "x" * 2_000_000), "are kept at the most. Store data and return its id."),
        (lambda: step.run("a", lambda: step.run("b", print)), "Step 'a' asks for another step"),
        (lambda: step.sleep("a"), "takes a timedelta or units such as hours=1"),
        (lambda: step.sleep("a", timedelta(1), hours=1), "takes a timedelta or units such as hours=1"),
        (lambda: step.sleep("a", fortnights=1), "'fortnights' is no unit; there are weeks, days"),
        (lambda: step.sleep("a", hours=-1), "it takes a timedelta from 0 to 3660 days"),
        (lambda: step.sleep("a", days=10**9), "is no duration"),
        (lambda: step.sleep("a", hours="x"), "is no duration"),  # type: ignore[arg-type]
        (lambda: step.sleep_until("a", datetime(2026, 1, 1)), "it takes a datetime with a time zone"),
        (lambda: step.sleep_until("a", datetime(9000, 1, 1, tzinfo=UTC)), "within 3660 days"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_in_words(sqlite_site: Site, ask: Any, says: str) -> None:
    @sqlite_site.jobs.actor(max_retries=3, min_backoff=0)
    def work() -> None:
        ask()

    job = sqlite_site.worker.run(work.send())

    assert (job.state, job.attempt) == ("failed", 1)
    assert job.error is not None
    assert says in job.error


def test_steps_are_only_there_in_jobs(sqlite_site: Site) -> None:
    with pytest.raises(InvalidStep, match="step is only there while an actor runs as a job"):
        step.run("a", print)


def test_steps_do_not_block_an_event_loop(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor(max_retries=0)
    async def work() -> None:
        step.run("a", print)

    job = sqlite_site.worker.run(work.send())

    assert "Declare the actor with `def`" in str(job.error)


def test_what_follows_a_job_does_not_hear_of_its_sleep(site: Site, heard: list[Any]) -> None:
    ends: list[str] = []

    @site.jobs.actor(queue_name="after")
    def after(_message: Any, _result: Any = None) -> None:
        ends.append("success")

    @site.jobs.actor(queue_name="after")
    def oops(_message: Any, _error: Any = None) -> None:
        ends.append("failure")

    @site.jobs.actor(on_success="after", on_failure="oops")
    def work() -> None:
        step.sleep("nap", hours=1)

    message = work.send()
    site.worker.run(message)
    site.worker.drain("after")

    assert ends == []
    assert [name for name, _ in heard] == ["job-added", "job-started"]

    site.worker.drain(include_delayed=True)

    assert ends == ["success"]


def test_a_sleeping_job_can_be_cancelled(site: Site) -> None:
    @site.jobs.actor()
    def work() -> None:
        step.sleep("nap", hours=1)

    message = work.send()
    site.worker.run(message)

    assert site.jobs.cancel(message.message_id) == "cancelled"


def test_steps_are_deleted_with_their_job(site: Site) -> None:
    @site.jobs.actor()
    def work() -> None:
        step.run("a", lambda: 1)

    message = work.send()
    site.worker.run(message)
    assert len(steps_of(site, message)) == 1

    site.jobs.clean("default", "completed")

    assert site.jobs.get(message.message_id) is None
    assert steps_of(site, message) == []


def test_ten_steps_in_ten_threads_are_kept(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor(max_retries=0)
    def work(n: int) -> list[int]:
        return [step.run("add", lambda m=m: n + m) for m in range(10)]  # type: ignore[misc]

    messages = [work.send(n) for n in range(10)]
    site.start_worker()

    for n, message in enumerate(messages):
        job: Job = site.eventually("completed", message)
        assert job.result == [n + m for m in range(10)], json.dumps(job.result)
        assert len(steps_of(site, message)) == 10


def test_a_sleep_ends_in_a_worker_by_itself(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor(max_retries=0)
    def work() -> str:
        step.sleep("nap", milliseconds=300)
        return "rested"

    message = work.send()
    site.start_worker()

    assert site.eventually("completed", message).attempt == 1


def test_steps_work_on_sqlite_in_memory(make_site: MakeSite) -> None:
    site = make_site("sqlite://")

    @site.jobs.actor(max_retries=0)
    def work() -> list[int]:
        first = step.run("first", lambda: 1)
        step.sleep("nap", hours=1)
        return [first, *step.parallel("both", a=lambda: 2, b=lambda: 3).values()]

    with site.app.app_context():
        metadata.create_all(site.db.engine)
        site.db.create_all()
        message = work.send()
        site.worker.drain(include_delayed=True)

        assert site.job(message).result == [1, 2, 3]


@pytest.mark.requirement("G6")
def test_a_job_that_gets_on_is_no_poison(site: Site) -> None:
    @site.jobs.actor(max_retries=9)
    def work() -> None:
        step.run("a", lambda: None)
        step.sleep("nap", hours=1)
        step.sleep("nap", hours=1)

    message = work.send()
    site.change(message, crashes="2", hand_backs="49")
    site.worker.run(message)

    job = site.job(message)
    assert (job.crashes, job.hand_backs) == (0, 0)

    site.change(message, crashes="2", state="'waiting'")
    site.worker.drain()
    assert site.job(message).crashes == 2  # woken for nothing, it did nothing


@pytest.mark.requirement("G6")
def test_a_step_that_fails_gets_nobody_on(site: Site, calls: Calls) -> None:
    @site.jobs.actor(max_retries=9)
    def work() -> None:
        step.run("a", calls.make("a", failures=1), attempts=2)

    message = work.send()
    site.change(message, crashes="2")
    site.worker.run(message)
    assert site.job(message).crashes == 2

    site.worker.run(message)
    assert site.job(message).crashes == 0


@pytest.mark.requirement("D03", "D04")
@pytest.mark.parametrize(("declared", "runs"), [({"attempts": 2}, 2), ({"max_retries": 2}, 3)])
def test_an_actor_of_steps_is_tried_as_often_as_it_says(site: Site, declared: dict[str, int], runs: int) -> None:
    done: list[str] = []

    @site.jobs.actor(min_backoff=0, workflow=True, **declared)
    def work() -> None:
        step.run("first", done.append, "first")
        done.append("attempt")
        raise ConnectionError("not now")

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert (site.job(message).state, site.job(message).attempt) == ("failed", runs)
    assert done == ["first", *["attempt"] * runs]
