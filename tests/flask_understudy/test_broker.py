"""The way in: one job per message, whoever sends it and however often."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import dramatiq
import pytest

from flask_understudy.errors import BrokerUnavailable, InvalidJob
from tests.flask_understudy.conftest import MakeSite, Site


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor()
    def work(n: int = 0) -> int:
        return n

    return work


@pytest.mark.requirement("B01")
def test_a_plain_dramatiq_actor_is_a_job_too(site: Site) -> None:
    @dramatiq.actor(queue_name="plain", max_retries=1, priority=4)
    def plain(n: int) -> int:
        return n + 1

    message = plain.send(1)

    job = site.worker.run(message)
    assert plain.broker is site.jobs.broker
    assert (job.queue, job.state, job.result, job.priority, job.max_attempts) == ("plain", "completed", 2, 4, 2)


def test_an_actor_can_still_be_called_as_a_function(work: Any, site: Site) -> None:
    assert work(5) == 5
    assert site.all_jobs() == []


@pytest.mark.requirement("B01")
def test_a_second_actor_of_the_same_name_is_refused(work: Any, site: Site) -> None:
    with pytest.raises(ValueError, match="An actor named 'work' is already registered"):

        @site.jobs.actor(actor_name="work")
        def other() -> None: ...


@pytest.mark.requirement("B01")
def test_an_actor_carries_its_description(site: Site) -> None:
    @site.jobs.actor()
    def documented() -> None:
        """Do the work.

        With care.
        """

    @site.jobs.actor(description="Said here")
    def described() -> None: ...

    shared = site.jobs.actor(queue_name="shared")

    @shared
    def first() -> None:
        """The first."""

    @shared
    def second() -> None:
        """The second."""

    assert documented.options["description"] == "Do the work."
    assert described.options["description"] == "Said here"
    assert [actor.options["description"] for actor in (first, second)] == ["The first.", "The second."]


@pytest.mark.requirement("C10", "A34", "decision-C10")
@pytest.mark.parametrize(("declared", "asked"), [("email/send", "email:send"), ("email:send", "email/send")])
def test_slash_and_colon_mean_the_same_in_a_name(sqlite_site: Site, declared: str, asked: str) -> None:
    site = sqlite_site

    @site.jobs.actor(actor_name=declared)
    def send_mail() -> str:
        return "sent"

    site.jobs.broker.enqueue(dramatiq.Message("default", asked, (), {}, {}))
    [job] = site.worker.drain()
    assert (job.actor, job.result) == (declared, "sent")


def test_many_jobs_are_one_statement_and_all_or_none(site: Site, work: Any) -> None:
    messages = site.jobs.send_many([work.message(n) for n in range(100)])
    assert [job.id for job in site.all_jobs()] == [message.message_id for message in messages]

    broken = [work.message(1), work.message(float("nan"))]
    with pytest.raises(InvalidJob):
        site.jobs.send_many(broken)
    assert len(site.all_jobs()) == 100
    assert site.jobs.send_many([]) == []


def test_what_is_no_message_is_refused(site: Site, work: Any) -> None:
    with pytest.raises(InvalidJob, match=r"such as send_email\.message\(\.\.\.\), and 5 was given"):
        site.jobs.send_many([work.message(1), 5])
    with pytest.raises(InvalidJob, match="and 5 was given"):
        site.jobs.batch([5])
    assert not site.all_jobs()


def test_many_jobs_may_be_delayed_together(site: Site, work: Any) -> None:
    site.jobs.send_many([work.message(n) for n in range(3)], delay=60_000)
    assert site.jobs.stats()["default"]["delayed"] == 3


@pytest.mark.requirement("C01")
def test_each_of_many_jobs_may_have_a_delay_of_its_own(site: Site, work: Any) -> None:
    delays: list[Any] = [60_000, timedelta(hours=1), None]
    site.jobs.send_many([work.message_with_options(args=(n,), delay=delay) for n, delay in enumerate(delays)])
    jobs = sorted(site.all_jobs(), key=lambda job: job.args)
    assert [job.state for job in jobs] == ["delayed", "delayed", "waiting"]
    assert [round((job.run_at - job.created_at).total_seconds()) for job in jobs] == [60, 3600, 0]
    assert [job.options for job in jobs] == [{}, {}, {}]


def test_the_same_message_enqueued_again_is_the_same_job(site: Site, work: Any) -> None:
    message = work.send_with_options(args=(1,), dedup_key="k")
    site.jobs.broker.enqueue(message)
    site.worker.run(message)
    site.jobs.broker.enqueue(message)
    site.jobs.send_many([message, message])
    assert [job.state for job in site.all_jobs()] == ["completed"]


class TestDeduplication:
    """C05: while a live job has the key, that one is returned."""

    pytestmark = pytest.mark.requirement("C05", "G03")

    @pytest.mark.parametrize("state", ["delayed", "waiting", "active"])
    def test_a_live_twin_is_returned(self, site: Site, work: Any, state: str) -> None:
        first = work.send_with_options(args=(1,), dedup_key="k", delay=60_000 if state == "delayed" else None)
        if state == "active":
            site.claim(site.process(), first)

        second = work.send_with_options(args=(2,), dedup_key="k")

        assert second.message_id == first.message_id
        assert [job.args for job in site.all_jobs()] == [[1]]

    @pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
    def test_an_ended_twin_is_no_hindrance(self, site: Site, work: Any, state: str) -> None:
        first = work.send_with_options(dedup_key="k")
        site.change(first, state=f"'{state}'")
        second = work.send_with_options(dedup_key="k")
        assert second.message_id != first.message_id
        assert len(site.all_jobs()) == 2

    def test_tenants_do_not_share_keys(self, site: Site, work: Any) -> None:
        for tenant in ("aster", "birch"):
            work.send_with_options(dedup_key="k", tenant=tenant)
        assert len(site.all_jobs()) == 2

    def test_an_empty_key_is_a_key(self, sqlite_site: Site) -> None:
        @sqlite_site.jobs.actor()
        def work() -> None: ...

        assert work.send_with_options(dedup_key="").message_id == work.send_with_options(dedup_key="").message_id

    def test_one_of_many_in_a_single_call(self, site: Site, work: Any) -> None:
        messages = [work.message_with_options(args=(n,), dedup_key=f"k{n % 2}") for n in range(6)]
        sent = site.jobs.send_many(messages)
        assert len({message.message_id for message in sent}) == 2
        assert [job.args for job in site.all_jobs()] == [[0], [1]]

    def test_fifty_senders_at_once_make_one_live_job(self, site: Site, work: Any) -> None:
        barrier = threading.Barrier(50)

        def send(n: int) -> str:
            barrier.wait()
            return work.send_with_options(args=(n,), dedup_key="k").message_id

        with ThreadPoolExecutor(50) as pool:
            ids = set(pool.map(send, range(50)))

        assert len(ids) == 1
        assert [job.id for job in site.all_jobs()] == list(ids)

    def test_senders_while_the_job_runs_again_and_again(self, make_site: MakeSite, postgres_ledger: str) -> None:
        """Whatever the moment, a sender gets a job that was live after its call began."""
        site = make_site(postgres_ledger)
        runs = []

        @site.jobs.actor()
        def work() -> None:
            runs.append(1)

        site.start_worker()

        def send(_: int) -> str:
            return work.send_with_options(dedup_key="k").message_id

        with ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(send, range(200)))
        for id in ids:
            site.eventually("completed", id)
        assert len(runs) == len(ids) == len(site.all_jobs())

    def test_in_a_transaction_the_twin_of_another_one_is_waited_for(
        self, make_site: MakeSite, postgres_ledger: str
    ) -> None:
        site = make_site(postgres_ledger)

        @site.jobs.actor()
        def work() -> None: ...

        ids: list[str] = []
        with site.app.app_context():
            first = work.send_with_options(dedup_key="k", transaction=True)
            other = threading.Thread(target=lambda: ids.append(work.send_with_options(dedup_key="k").message_id))
            other.start()
            other.join(0.3)
            assert other.is_alive()
            site.db.session.rollback()
        other.join(5)
        assert ids
        assert ids != [first.message_id]
        assert [job.id for job in site.all_jobs()] == ids


@pytest.mark.requirement("J03")
def test_fallback_fail_stores_nothing_while_the_broker_is_down(
    make_site: MakeSite, ledger_url: str, redis_server: Any
) -> None:
    site = make_site(ledger_url, redis_server.url)

    @site.jobs.actor(fallback="fail")
    def strict() -> None: ...

    @site.jobs.actor()
    def patient() -> None: ...

    redis_server.close()
    patient.send()  # meets the dead broker, and opens the breaker

    with pytest.raises(BrokerUnavailable, match="Nothing was stored; try again later"):
        strict.send()
    with pytest.raises(BrokerUnavailable):
        site.jobs.send_many([patient.message(), strict.message()])
    assert [job.actor for job in site.all_jobs()] == ["patient"]


def test_hooks_of_middleware_see_every_enqueue(site: Site, work: Any) -> None:
    class Listen(dramatiq.Middleware):
        def __init__(self) -> None:
            self.heard: list[tuple[str, Any]] = []

        def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
            self.heard.append(("before", delay))

        def after_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
            self.heard.append(("after", delay))

    listen = Listen()
    site.jobs.broker.add_middleware(listen)
    work.send_with_options(delay=5)
    assert listen.heard == [("before", 5), ("after", 5)]


def test_no_delay_queues_are_declared(site: Site, work: Any) -> None:
    assert site.jobs.broker.get_declared_queues() == {"default"}
    assert site.jobs.broker.get_declared_delay_queues() == set()
