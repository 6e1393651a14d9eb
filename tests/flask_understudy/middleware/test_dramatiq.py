"""What Dramatiq documents about actors holds, and is durable."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import dramatiq
import pytest
import sqlalchemy as sa
from dramatiq.middleware import CurrentMessage, GroupCallbacks
from dramatiq.rate_limits import ConcurrentRateLimiter
from dramatiq.rate_limits.backends import StubBackend
from dramatiq.results import ResultFailure, ResultMissing, ResultTimeout

from flask_understudy import Snooze, current_job
from flask_understudy.errors import ConfigError
from tests.flask_understudy.conftest import MakeSite, Site


@pytest.fixture
def add(site: Site) -> Any:
    @dramatiq.actor()
    def add(a: int, b: int) -> int:
        return a + b

    return add


class TestPipelines:
    """The output of one actor feeds the next one's input."""

    def test_results_are_passed_on(self, site: Site, add: Any) -> None:
        pipe = (add.message(1, 2) | add.message(10) | add.message(100)).run()
        ended = site.worker.drain()
        assert [job.result for job in ended] == [3, 13, 113]
        assert pipe.get_result() == 113
        assert list(pipe.get_results()) == [3, 13, 113]
        assert (pipe.completed, pipe.completed_count) == (True, 3)

    def test_the_next_step_is_stored_with_the_end_of_the_one_before(self, site: Site, add: Any) -> None:
        first, second = add.message(1, 2), add.message(10)
        (first | second).run()
        assert site.jobs.get(second.message_id) is None
        site.worker.run(first)
        assert (site.job(second).state, site.job(second).args) == ("waiting", [10, 3])

    def test_a_step_that_fails_ends_the_pipeline(self, site: Site, add: Any) -> None:
        @dramatiq.actor(max_retries=1)
        def explode(_: int) -> None:
            raise ValueError("bad luck")

        last = add.message(1)
        (add.message(1, 2) | explode.message() | last).run()
        site.worker.drain(include_delayed=True)
        assert site.jobs.get(last.message_id) is None

    def test_a_step_that_is_retried_goes_on_once_it_succeeds(self, site: Site, add: Any) -> None:
        @dramatiq.actor(max_retries=3)
        def flaky(n: int) -> int:
            if current_job.attempt < 3:
                raise ValueError
            return n

        pipe = (flaky.message(5) | add.message(1)).run()
        site.worker.drain(include_delayed=True)
        assert pipe.get_result() == 6
        assert len(site.worker.sent(add)) == 1

    def test_a_delayed_step_waits(self, site: Site, add: Any) -> None:
        later = add.message_with_options(args=(1,), delay=60_000)
        (add.message(1, 2) | later).run()
        site.worker.drain()
        assert site.job(later).state == "delayed"

    def test_a_whole_pipeline_may_be_delayed(self, site: Site, add: Any) -> None:
        pipe = (add.message(1, 2) | add.message(3)).run(delay=60_000)
        assert site.job(pipe.messages[0]).state == "delayed"

    def test_a_result_may_be_ignored(self, site: Site, add: Any) -> None:
        last = add.message_with_options(args=(7, 8), pipe_ignore=True)
        (add.message(1, 2) | last).run()
        assert [job.result for job in site.worker.drain()] == [3, 15]

    def test_a_result_that_cannot_be_passed_on_fails_the_step(self, site: Site, add: Any) -> None:
        @dramatiq.actor()
        def produce() -> object:
            return object()

        first, last = produce.message(), add.message(1)
        (first | last).run()
        [job] = site.worker.drain()

        assert (job.id, job.state, job.reason) == (first.message_id, "failed", "error")
        assert job.error.startswith("InvalidJob: An argument of add cannot be stored as JSON")
        assert site.jobs.get(last.message_id) is None

    def test_it_runs_in_a_worker(self, carried_site: Site) -> None:
        site = carried_site

        @dramatiq.actor(queue_name="sums")
        def add(a: int, b: int) -> int:
            return a + b

        site.start_worker()
        pipe = (add.message(1, 2) | add.message(10) | add.message(100)).run()
        assert pipe.get_result(block=True, timeout=10_000) == 113


class TestGroups:
    """Many at a time, and something when the last one is done."""

    def test_results_come_in_the_order_of_the_members(self, site: Site, add: Any) -> None:
        group = dramatiq.group([add.message(n, 1) for n in range(5)]).run()
        assert group.completed_count == 0
        site.worker.drain()
        assert list(group.get_results()) == [1, 2, 3, 4, 5]
        assert group.completed

    def test_groups_hold_pipelines_and_groups(self, site: Site, add: Any) -> None:
        group = dramatiq.group(
            [add.message(1, 1) | add.message(2), dramatiq.group([add.message(3, 3), add.message(4, 4)])]
        ).run()
        site.worker.drain()
        assert list(group.get_results()) == [4, [6, 8]]

    def test_a_completion_callback_is_sent_once_by_the_last_member(self, site: Site, add: Any) -> None:
        site.jobs.broker.add_middleware(GroupCallbacks(StubBackend()))

        @dramatiq.actor()
        def done() -> str:
            return "done"

        group = dramatiq.group([add.message(n, 1) for n in range(3)])
        group.add_completion_callback(done.message())
        group.run()
        ended = site.worker.drain()
        assert [job.actor for job in ended] == ["add", "add", "add", "done"]

    def test_a_member_that_is_retried_counts_once(self, site: Site, add: Any) -> None:
        site.jobs.broker.add_middleware(GroupCallbacks(StubBackend()))

        @dramatiq.actor(max_retries=3)
        def flaky() -> None:
            if current_job.attempt < 3:
                raise ValueError

        @dramatiq.actor()
        def done() -> None: ...

        group = dramatiq.group([flaky.message(), add.message(1, 1)])
        group.add_completion_callback(done.message())
        group.run()
        assert [job.actor for job in site.worker.drain()] == ["add"]
        assert [job.actor for job in site.worker.drain(include_delayed=True)] == ["flaky", "done"]


class TestCallbacks:
    """`on_success` and `on_failure`, stored with the end that caused them."""

    @pytest.fixture
    def told(self, site: Site) -> list[tuple[dict, Any]]:
        heard: list[tuple[dict, Any]] = []

        @dramatiq.actor()
        def told(message: dict, outcome: Any) -> None:
            heard.append((message["actor_name"], outcome))

        return heard

    @pytest.mark.parametrize("by", ["actor", "call"])
    def test_success_is_told_with_the_result(self, site: Site, told: list, by: str) -> None:
        target = site.jobs.broker.get_actor("told")

        @dramatiq.actor(**({"on_success": target} if by == "actor" else {}))
        def work() -> str:
            return "result"

        work.send_with_options(**({"on_success": target} if by == "call" else {}))
        site.worker.drain()
        assert told == [("work", "result")]

    def test_each_failed_attempt_is_told(self, site: Site, told: list) -> None:
        @dramatiq.actor(on_failure="told", max_retries=1)
        def explode() -> None:
            raise ValueError("bad luck")

        explode.send()
        site.worker.drain(include_delayed=True)
        assert told == [("explode", {"type": "ValueError", "message": "bad luck"})] * 2

    @pytest.mark.requirement("P09")
    def test_a_failure_is_told_without_sql_parameters_and_secrets(self, site: Site, told: list) -> None:
        @dramatiq.actor(on_failure="told", max_retries=0)
        def store(secret: str) -> None:
            site.db.session.execute(sa.text("INSERT INTO nowhere VALUES (:it)"), {"it": secret})

        @dramatiq.actor(on_failure="told", max_retries=0)
        def call() -> None:
            raise ConnectionError("amqp://anna:hunter2@host refused" + "!" * 300_000)

        store.send("4711 Elm Street")
        call.send()
        site.worker.drain()

        (_, refused), (_, unreached) = told
        assert refused["type"] in {"OperationalError", "ProgrammingError"}
        assert "nowhere" in refused["message"]
        assert not any(part in refused["message"] for part in ("INSERT", "Elm Street", "parameters"))
        assert unreached["message"].startswith("amqp://***@host refused!!")

    def test_a_reported_failure_is_told_as_one(self, site: Site, told: list) -> None:
        @dramatiq.actor(on_failure="told", on_success="told")
        def decline() -> dict:
            return {"status": "failed", "reason": "no account"}

        decline.send()
        site.worker.drain()
        assert told == [("decline", {"type": "ReportedFailure", "message": "no account"})]

    def test_a_target_that_is_no_actor_is_refused_at_once(self, site: Site) -> None:
        with pytest.raises(ConfigError, match="Actor work: on_success is 7; it takes an actor or its name"):

            @dramatiq.actor(on_success=7)
            def work() -> None: ...

    def test_exhaustion_is_told_once_with_the_numbers(self, site: Site) -> None:
        heard = []

        @dramatiq.actor()
        def exhausted(message: dict, limits: dict) -> None:
            heard.append((message["actor_name"], limits))

        @dramatiq.actor(max_retries=2, on_retry_exhausted="exhausted")
        def explode() -> None:
            raise ValueError

        explode.send()
        site.worker.drain(include_delayed=True)
        assert heard == [("explode", {"retries": 2, "max_retries": 2})]


class TestRetries:
    """Who decides whether and when another attempt follows."""

    pytestmark = pytest.mark.requirement("V01")

    def test_exceptions_in_throws_are_not_retried(self, site: Site) -> None:
        @dramatiq.actor()
        def never() -> None: ...

        @dramatiq.actor(throws=(KeyError,), max_retries=5, on_retry_exhausted="never")
        def explode(kind: str) -> None:
            raise {"key": KeyError, "value": ValueError}[kind]("x")

        assert site.worker.run(explode.send("key")).state == "failed"
        assert site.worker.run(explode.send("value")).state == "delayed"

    def test_retry_when_decides_instead_of_the_number(self, site: Site) -> None:
        asked = []

        def retry_when(retries: int, exception: BaseException) -> bool:
            asked.append((retries, type(exception)))
            return retries < 2

        @dramatiq.actor(retry_when=retry_when)
        def explode() -> None:
            raise ValueError

        message = explode.send()
        site.worker.drain(include_delayed=True)
        assert asked == [(0, ValueError), (1, ValueError), (2, ValueError)]
        assert (site.job(message).state, site.job(message).attempt) == ("failed", 3)

    def test_retry_names_its_own_delay_and_still_counts(self, site: Site) -> None:
        @dramatiq.actor(max_retries=1)
        def later() -> None:
            raise dramatiq.errors.Retry("not yet", delay=90_000)

        job = site.worker.run(later.send())
        assert job.state == "delayed"
        assert 89 < (job.run_at - job.started_at).total_seconds() < 91
        assert site.worker.run(job).state == "failed"

    def test_no_limit_at_all(self, site: Site) -> None:
        @dramatiq.actor(max_retries=None)
        def explode() -> None:
            raise ValueError

        message = explode.send()
        for _ in range(8):
            job = site.worker.run(message)
        assert (job.state, job.attempt, job.max_attempts) == ("delayed", 8, None)

    def test_max_backoff_is_the_ceiling(self, site: Site) -> None:
        @dramatiq.actor(max_retries=9, min_backoff=50_000, max_backoff=60_000, jitter=0)
        def explode() -> None:
            raise ValueError

        message = explode.send()
        site.worker.run(message)
        job = site.worker.run(message)
        assert 59 < (job.run_at - job.started_at).total_seconds() < 61

    def test_messages_carry_how_often_they_were_retried(self, site: Site) -> None:
        seen = []

        @dramatiq.actor(max_retries=2)
        def look() -> None:
            seen.append(CurrentMessage.get_current_message().options["retries"])
            raise ValueError

        look.send()
        site.worker.drain(include_delayed=True)
        assert seen == [0, 1, 2]


class TestRateLimits:
    """A limit that is exceeded costs no attempt."""

    def test_a_job_beyond_the_limit_comes_back_later(self, site: Site) -> None:
        limiter = ConcurrentRateLimiter(StubBackend(), "limited", limit=1)

        @dramatiq.actor(max_retries=0, min_backoff=60_000)
        def limited() -> str:
            with limiter.acquire():
                return "ran"

        with limiter.acquire():
            job = site.worker.run(limited.send())
        assert (job.state, job.attempt, job.hand_backs) == ("delayed", 0, 1)
        assert (job.run_at - job.started_at).total_seconds() > 50
        assert site.worker.run(job).result == "ran"

    @pytest.mark.requirement("G6", "I2")
    def test_it_does_not_come_back_for_ever(self, sqlite_site: Site) -> None:
        limiter = ConcurrentRateLimiter(StubBackend(), "limited", limit=1)

        @dramatiq.actor()
        def limited() -> None:
            with limiter.acquire():
                pass

        with limiter.acquire():
            message = limited.send()
            sqlite_site.change(message, hand_backs="50")
            job = sqlite_site.worker.run(message)
        assert (job.state, job.reason) == ("failed", "hand_backs")
        assert job.error.startswith("RateLimitExceeded")


class TestSnoozes:
    """An actor that puts its job off pays nothing for it."""

    @pytest.mark.requirement("I2")
    def test_a_job_that_snoozes_comes_back_at_its_time_uncharged(self, site: Site, caplog: Any) -> None:
        @dramatiq.actor(max_retries=0)
        def waits() -> str:
            if current_job.fence <= 60:
                raise Snooze(90, "not yet")
            return "ran"

        message = waits.send()
        job = site.worker.run(message)
        assert (job.state, job.attempt, job.hand_backs, job.error) == ("delayed", 0, 0, None)
        assert 85 < (job.run_at - job.started_at).total_seconds() < 95
        assert "Traceback" not in caplog.text

        site.execute("UPDATE understudy_jobs SET fence = 60")  # more often than anything is handed back
        assert site.worker.run(message).result == "ran"

    @pytest.mark.parametrize("seconds", [-1, float("nan"), 1e12])
    def test_a_snooze_that_is_no_time_is_refused(self, seconds: float) -> None:
        with pytest.raises(ValueError, match="takes a number from 0"):
            Snooze(seconds)


class TestLimits:
    """Time and age."""

    @pytest.mark.requirement("C04", "B07")
    def test_a_job_over_its_time_limit_is_interrupted_and_retried(self, site: Site) -> None:
        flags = []

        @dramatiq.actor(time_limit=100, max_retries=1)
        def endless() -> None:
            try:
                while True:
                    time.sleep(0.01)
            finally:
                flags.append(current_job.cancelled)

        job = site.worker.run(endless.send())
        assert (job.state, job.attempt) == ("delayed", 1)
        assert job.error.startswith("TimeLimitExceeded")
        assert flags == [True]

    @pytest.mark.requirement("C04", "C09", "C4")
    @pytest.mark.parametrize("by", ["call", "actor", "queue"])
    def test_the_nearest_time_limit_holds(self, make_site: MakeSite, sqlite_ledger: str, by: str) -> None:
        layers = ("call", "actor", "queue")
        limits = {layer: 100 if layer == by else 20_000 for layer in layers[layers.index(by) :]}
        queues = {"slow": {"time_limit": limits["queue"]}}
        site = make_site(sqlite_ledger, UNDERSTUDY_QUEUES=queues)
        actor = {"time_limit": limits["actor"]} if "actor" in limits else {}
        call = {"time_limit": limits["call"]} if "call" in limits else {}

        @site.jobs.actor(queue_name="slow", max_retries=0, **actor)
        def endless() -> None:
            while True:
                time.sleep(0.01)

        began = time.monotonic()
        job = site.worker.run(endless.send_with_options(**call))
        assert job.error.startswith("TimeLimitExceeded")
        assert time.monotonic() - began < 5

    @pytest.mark.requirement("C04", "D05", "C4")
    def test_thirty_seconds_is_the_limit_of_whoever_says_nothing(
        self, sqlite_site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limits = []
        monkeypatch.setattr("flask_understudy.interrupts.Interrupts.limit", lambda self, s: limits.append(s))

        @dramatiq.actor()
        def work() -> None: ...

        sqlite_site.worker.run(work.send())
        assert limits == [30]

    def test_a_job_that_is_too_old_fails_without_running(self, site: Site) -> None:
        ran = []

        @dramatiq.actor(max_age=1000)
        def work() -> None:
            ran.append(1)

        young, old = work.send(), work.send()
        site.change(old, created_at=site.moment(-2))
        assert site.worker.run(young).state == "completed"
        job = site.worker.run(old)
        assert (job.state, ran) == ("failed", [1])
        assert "age limit exceeded" in job.error


class TestAsyncActors:
    """`async def` actors run in one event loop per process."""

    def test_the_result_and_the_context_are_there(self, site: Site) -> None:
        @dramatiq.actor()
        async def work(n: int) -> list[Any]:
            await asyncio.sleep(0)
            site.db.session.add(site.Note(text="async"))
            site.db.session.commit()
            current_job.progress(10)
            return [n, current_job.attempt, CurrentMessage.get_current_message().actor_name]

        job = site.worker.run(work.send(3))
        assert (job.state, job.result) == ("completed", [3, 1, "work"])
        assert site.notes() == ["async"]

    def test_an_exception_is_recorded(self, site: Site) -> None:
        @dramatiq.actor(max_retries=0)
        async def explode() -> None:
            raise ValueError("bad luck")

        assert site.worker.run(explode.send()).error == "ValueError: bad luck"

    @pytest.mark.requirement("C04")
    def test_a_time_limit_holds(self, sqlite_site: Site) -> None:
        ended = []

        @dramatiq.actor(max_retries=0, time_limit=100)
        async def endless() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(1)

        began = time.monotonic()
        job = sqlite_site.worker.run(endless.send())
        assert job.error.startswith("TimeLimitExceeded")
        assert time.monotonic() - began < 5

    def test_many_run_at_a_time_in_a_worker(self, carried_site: Site) -> None:
        site = carried_site

        @dramatiq.actor()
        async def work(n: int) -> int:
            await asyncio.sleep(0.05)
            return n

        site.start_worker()
        group = dramatiq.group([work.message(n) for n in range(20)]).run()
        assert list(group.get_results(block=True, timeout=15_000)) == list(range(20))


class TestResults:
    """`get_result` reads the ledger."""

    def test_a_result_can_be_read_once_it_is_there(self, site: Site, add: Any) -> None:
        message = add.send(1, 2)
        with pytest.raises(ResultMissing):
            message.get_result()
        site.worker.run(message)
        assert message.get_result() == 3

    def test_none_is_a_result(self, site: Site) -> None:
        @dramatiq.actor()
        def nothing() -> None: ...

        message = nothing.send()
        site.worker.run(message)
        assert message.get_result() is None

    def test_a_failure_is_raised_with_its_type_and_text(self, site: Site) -> None:
        @dramatiq.actor(max_retries=1)
        def explode() -> None:
            raise ValueError("bad luck")

        message = explode.send()
        site.worker.run(message)
        with pytest.raises(ResultMissing):
            message.get_result()
        site.worker.run(message)
        with pytest.raises(ResultFailure) as failure:
            message.get_result()
        assert (failure.value.orig_exc_type, failure.value.orig_exc_msg) == ("ValueError", "bad luck")

    def test_waiting_for_it_has_an_end(self, site: Site, add: Any) -> None:
        with pytest.raises(ResultTimeout):
            add.send(1, 2).get_result(block=True, timeout=50)

    def test_a_cancelled_job_has_none(self, site: Site, add: Any) -> None:
        message = add.send(1, 2)
        site.jobs.cancel(message.message_id)
        with pytest.raises(ResultFailure):
            message.get_result()


def test_a_follow_up_that_a_plain_hook_sends_is_part_of_the_end(site: Site, add: Any) -> None:
    class Extra(dramatiq.Middleware):
        def after_process_message(
            self, broker: Any, message: Any, *, result: Any = None, exception: Any = None
        ) -> None:
            if message.actor_name == "work":
                add.send(1, 1)

    site.jobs.broker.add_middleware(Extra())

    @dramatiq.actor(max_retries=0)
    def work() -> None:
        if current_job.tenant == "lost":
            site.change(current_job.id, worker_id="'somebody-else'")

    site.worker.run(work.send_with_options(tenant="lost"))
    assert site.worker.sent(add) == []
    site.worker.run(work.send())
    assert len(site.worker.sent(add)) == 1


def test_a_middleware_that_skips_a_message_ends_it(site: Site, add: Any) -> None:
    class Skip(dramatiq.Middleware):
        def before_process_message(self, broker: Any, message: Any) -> None:
            raise dramatiq.middleware.SkipMessage("not today")

    site.jobs.broker.add_middleware(Skip())
    assert site.worker.run(add.send(1, 2)).state == "cancelled"
