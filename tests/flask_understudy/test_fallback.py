"""While the broker is down, jobs of `sync` actors run in the process that sent them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flask_understudy import current_job
from flask_understudy.ledger import queries
from flask_understudy.operations import queues, tenants
from tests.flask_understudy.conftest import MakeSite, Site

pytestmark = pytest.mark.requirement("G9", "J01", "J04")


@pytest.fixture
def down(make_site: MakeSite, ledger_url: str) -> Iterator[Site]:
    """A site whose Redis was never there, and which knows it."""
    site = make_site(ledger_url, "redis://127.0.0.1:1", UNDERSTUDY_SYNC_BUDGET_SECONDS=2)
    site.jobs.health()
    assert not site.jobs.is_broker_up
    yield site


def test_a_sync_job_has_run_when_the_send_returns(down: Site) -> None:
    seen = []

    @down.jobs.actor(fallback="sync")
    def send_mail(to: str) -> str:
        seen.append((to, current_job.attempt, threading.current_thread() is threading.main_thread()))
        return "sent"

    message = send_mail.send("a@example.com")

    job = down.job(message)
    assert (job.state, job.result, job.attempt) == ("completed", "sent", 1)
    assert seen == [("a@example.com", 1, False)]


def test_the_first_send_that_meets_a_dead_broker_is_served_as_well(make_site: MakeSite, ledger_url: str) -> None:
    site = make_site(ledger_url, "redis://127.0.0.1:1")

    @site.jobs.actor(fallback="sync")
    def work() -> None: ...

    assert site.jobs.is_broker_up
    assert site.job(work.send()).state == "completed"


@pytest.mark.requirement("J02")
def test_a_job_on_hold_waits(down: Site) -> None:
    @down.jobs.actor(fallback="hold")
    def work() -> None: ...

    @down.jobs.actor()
    def unspoken() -> None: ...

    assert down.job(work.send()).state == "waiting"
    assert down.job(unspoken.send()).state == "waiting"


def test_the_configured_fallback_is_the_default(make_site: MakeSite, sqlite_ledger: str) -> None:
    site = make_site(sqlite_ledger, "redis://127.0.0.1:1", UNDERSTUDY_FALLBACK="sync")

    @site.jobs.actor()
    def work() -> None: ...

    assert site.job(work.send()).state == "completed"


@pytest.mark.requirement("G2")
def test_it_runs_after_the_caller_s_commit_with_a_session_of_its_own(down: Site) -> None:
    seen: list[Any] = []

    @down.jobs.actor(fallback="sync")
    def work() -> None:
        seen.append(down.notes())
        down.db.session.add(down.Note(text="by the job"))
        down.db.session.commit()

    with down.app.app_context():
        down.db.session.add(down.Note(text="by the caller"))
        work.send()
        assert seen == []
        down.db.session.rollback()
        assert seen == []
        down.db.session.add(down.Note(text="by the caller"))
        message = work.send()
        down.db.session.commit()
    assert seen == [["by the caller"]]
    assert down.notes() == ["by the caller", "by the job"]
    assert down.job(message).state == "completed"


@pytest.mark.requirement("G3", "V01")
def test_a_failure_is_an_attempt_and_breaks_no_commit(down: Site) -> None:
    @down.jobs.actor(fallback="sync", max_retries=2, min_backoff=60_000)
    def explode() -> None:
        raise ConnectionError("no mail server")

    with down.app.app_context():
        down.db.session.add(down.Note(text="kept"))
        message = explode.send()
        down.db.session.commit()

    job = down.job(message)
    assert down.notes() == ["kept"]
    assert (job.state, job.attempt, job.error) == ("delayed", 1, "ConnectionError: no mail server")
    assert [a.outcome for a in queries.attempts(down.state.database, job.id)] == ["retried"]


@pytest.mark.requirement("decision-C13")
def test_a_job_over_the_budget_is_stopped_and_left_to_the_workers(make_site: MakeSite, sqlite_ledger: str) -> None:
    site = make_site(sqlite_ledger, "redis://127.0.0.1:1", UNDERSTUDY_SYNC_BUDGET_SECONDS=0.5)

    @site.jobs.actor(fallback="sync", max_retries=2, min_backoff=60_000)
    def slow() -> None:
        while True:
            time.sleep(0.01)

    began = time.monotonic()
    message = slow.send()
    assert time.monotonic() - began < 2
    job = site.eventually("delayed", message)
    assert job.error.startswith("TimeLimitExceeded")


def test_the_actor_s_own_time_limit_holds_when_it_is_shorter(down: Site) -> None:
    @down.jobs.actor(fallback="sync", max_retries=0, time_limit=100)
    def slow() -> None:
        while True:
            time.sleep(0.01)

    began = time.monotonic()
    assert down.eventually("failed", slow.send()).error.startswith("TimeLimitExceeded")
    assert time.monotonic() - began < 1.9


def test_no_more_than_two_run_at_a_time(make_site: MakeSite, sqlite_ledger: str) -> None:
    site = make_site(sqlite_ledger, "redis://127.0.0.1:1", UNDERSTUDY_SYNC_BUDGET_SECONDS=0.6)
    now, most, lock, go = [0], [0], threading.Lock(), threading.Event()

    @site.jobs.actor(fallback="sync")
    def work() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        go.wait(0.4)
        with lock:
            now[0] -= 1

    ids: list[str] = []
    senders = [threading.Thread(target=lambda: ids.append(work.send().message_id)) for _ in range(6)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert most[0] == 2
    states = {site.job(id).state for id in ids}
    assert "completed" in states
    assert "waiting" in states, "those without a slot in time wait for the workers"


def test_many_jobs_run_one_after_the_other_while_there_is_time(make_site: MakeSite, sqlite_ledger: str) -> None:
    site = make_site(sqlite_ledger, "redis://127.0.0.1:1", UNDERSTUDY_SYNC_BUDGET_SECONDS=0.5)

    @site.jobs.actor(fallback="sync")
    def work() -> None:
        time.sleep(0.15)

    messages = site.jobs.send_many([work.message() for _ in range(10)])
    states = [site.job(message).state for message in messages]
    assert states[0] == "completed"
    assert states[-1] == "waiting"


def test_delayed_jobs_are_not_run(down: Site) -> None:
    @down.jobs.actor(fallback="sync")
    def work() -> None: ...

    assert down.job(work.send_with_options(delay=60_000)).state == "delayed"


def test_a_job_that_sends_one_leaves_it_to_the_workers(down: Site) -> None:
    @down.jobs.actor(fallback="sync")
    def child() -> None: ...

    @down.jobs.actor(fallback="sync")
    def parent() -> str:
        return child.send().message_id

    job = down.job(parent.send())
    assert (job.state, down.job(job.result).state) == ("completed", "waiting")


@pytest.mark.requirement("G4", "I9")
def test_a_worker_that_claims_it_first_runs_it_alone(down: Site) -> None:
    runs: list[int] = []

    @down.jobs.actor(fallback="sync")
    def work(n: int) -> None:
        runs.append(n)

    down.start_worker()
    ids: list[str] = []
    senders = [threading.Thread(target=lambda n=n: ids.append(work.send(n).message_id)) for n in range(12)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    for id in ids:
        down.eventually("completed", id)
    assert sorted(runs) == list(range(12))


def test_a_healthy_broker_means_no_fallback(make_site: MakeSite, sqlite_ledger: str, redis_url: str) -> None:
    site = make_site(sqlite_ledger, redis_url)

    @site.jobs.actor(fallback="sync")
    def work() -> None: ...

    assert site.job(work.send()).state == "waiting"


@pytest.mark.requirement("invariant-I13")
def test_a_send_with_an_open_breaker_costs_next_to_nothing_more(down: Site, make_site: MakeSite) -> None:
    @down.jobs.actor()
    def work() -> None: ...

    def sends() -> float:
        began = time.monotonic()
        for _ in range(20):
            work.send()
        return (time.monotonic() - began) / 20

    sends()
    assert sends() < 0.1


@pytest.mark.requirement("invariant-I10")
@pytest.mark.parametrize("held", ["tenant paused", "tenant full", "queue full"])
def test_a_job_that_may_not_run_now_stays_waiting(down: Site, held: str) -> None:
    @down.jobs.actor(fallback="sync")
    def work() -> None: ...

    running = work.send_with_options(tenant="acme", delay=60_000)
    down.change(running, state="'active'", worker_id=f"'{down.process().id}'")
    match held:
        case "tenant paused":
            tenants.pause(down.state, "acme")
        case "tenant full":
            tenants.limit(down.state, "acme", 1)
        case "queue full":
            queues.limit(down.state, "default", 1)

    assert down.job(work.send_with_options(tenant="acme")).state == "waiting"
    tenants.resume(down.state, "acme")
    tenants.limit(down.state, "acme", 2)
    queues.limit(down.state, "default", 2)
    assert down.job(work.send_with_options(tenant="acme")).state == "completed"
