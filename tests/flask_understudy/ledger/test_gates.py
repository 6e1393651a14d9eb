"""Limits by key: jobs that share one wait behind a gate, and pass it one for each that ends, or in their time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_understudy import Limit
from flask_understudy.admission import admit, mend, withdraw_paused
from flask_understudy.clock.announce import announce, refill
from flask_understudy.clock.prune import forget
from flask_understudy.clock.rescue import rescue
from flask_understudy.errors import ConfigError, InvalidJob
from flask_understudy.ledger import Pass, gates, transitions
from flask_understudy.ledger.limit import Numbers
from flask_understudy.ledger.transitions import Claimed, Ending
from flask_understudy.operations import queues
from flask_understudy.worker import WorkerProcess
from tests.flask_understudy.conftest import MakeSite, Site

pytestmark = pytest.mark.requirement("invariant-I10")

KEY = "actor:work"


def declare(site: Site, limit: Limit | None, name: str = "work", queue: str = "default") -> Any:
    @site.jobs.actor(actor_name=name, queue_name=queue, limit=limit)
    def work(n: int = 0, customer: str = "") -> None: ...

    return work


def send(site: Site, work: Any, n: int, **options: Any) -> list[str]:
    sent = site.jobs.send_many([work.message_with_options(args=(i,), **options) for i in range(n)])
    return [message.message_id for message in sent]


def take(site: Site, process: WorkerProcess, n: int = 100, queue: str = "default") -> list[Claimed]:
    with site.state.database.claims() as connection:
        return transitions.claim_next(connection, process.id, queue, n)


def end(site: Site, process: WorkerProcess, claimed: Claimed, state: str = "completed", **more: Any) -> None:
    """End a claim as its worker would."""
    with site.state.database.transaction() as connection:
        if state == "completed":
            transitions.complete(connection, process.id, [(claimed.id, claimed.fence, None)])
        else:
            outcome = "retried" if more.get("charged", 1) else "handed_back"
            transitions.end(connection, process.id, [Ending(claimed.id, claimed.fence, state, outcome, **more)])
    admit(site.state, {claimed.key} if claimed.key else set())


def admitted(site: Site) -> int:
    return sum(job.state in {"waiting", "active"} and job.gate is None for job in site.all_jobs())


# -- concurrency -------------------------------------------------------------------------------------------------------


def test_no_more_jobs_of_a_key_are_claimed_than_may_run(site: Site) -> None:
    ids = send(site, declare(site, Limit(concurrency=2)), 5)
    process = site.process()

    first = take(site, process)
    nothing = take(site, process)
    end(site, process, first[0])
    third = take(site, process)

    assert [job.id for job in first] == ids[:2]
    assert nothing == []
    assert [job.id for job in third] == ids[2:3]


def test_a_job_behind_its_gate_cannot_be_claimed_by_id_either(site: Site) -> None:
    first, second = send(site, declare(site, Limit(concurrency=1)), 2)
    process = site.process()

    assert site.claim(process, second) is None
    assert site.claim(process, first) is not None


def test_jobs_without_a_key_pass_those_that_wait(site: Site) -> None:
    limited, free = declare(site, Limit(concurrency=1)), declare(site, None, "free")
    send(site, limited, 3)
    (other,) = send(site, free, 1)
    process = site.process()

    assert [job.id for job in take(site, process)][1:] == [other]
    assert all(site.job(job).gate is None and site.job(job).limit_key is None for job in [other])


def test_the_first_by_priority_passes_first(site: Site) -> None:
    work = declare(site, Limit(concurrency=1))
    (running,) = send(site, work, 1)
    process = site.process()
    (claimed,) = take(site, process)
    send(site, work, 1, priority=5)
    (urgent,) = send(site, work, 1, priority=1)

    end(site, process, claimed)

    assert [job.id for job in take(site, process)] == [urgent]
    assert running == claimed.id


def test_each_key_has_its_own_places_and_each_tenant_its_own_keys(site: Site) -> None:
    work = declare(site, Limit(concurrency=1, key=lambda n, customer="": customer or None))
    for customer in ("a", "a", "b", ""):
        work.send_with_options(args=(0, customer), tenant="acme")
    work.send_with_options(args=(0,), tenant="acme")
    work.send_with_options(args=(0, "a"), tenant="birch")

    found = sorted((job.tenant, job.limit_key or "") for job in take(site, site.process()))

    a, b = f"{KEY}:a", f"{KEY}:b"
    assert found == [("acme", ""), ("acme", ""), ("acme", a), ("acme", b), ("birch", a)]


def test_all_actors_that_limit_by_tenant_share_its_places(site: Site) -> None:
    limit = Limit(concurrency=2, key="tenant")
    for actor in (declare(site, limit, "one"), declare(site, limit, "two")):
        send(site, actor, 2, tenant="acme")
        send(site, actor, 1, tenant="birch")

    assert sorted(job.tenant for job in take(site, site.process())) == ["acme", "acme", "birch", "birch"]


def test_a_key_named_by_the_sender_runs_one_at_a_time_unless_the_actor_says_otherwise(site: Site) -> None:
    send(site, declare(site, None, "plain"), 3, concurrency_key="report")
    send(site, declare(site, Limit(concurrency=2), "limited"), 3, concurrency_key="export")

    assert sorted(str(job.limit_key) for job in take(site, site.process())) == ["export", "export", "report"]


@pytest.mark.parametrize(
    ("state", "more"),
    [
        ("delayed", {"delay_ms": 60_000}),
        ("waiting", {"charged": 0}),
        ("failed", {"reason": "error"}),
        ("cancelled", {"reason": "cancelled"}),
    ],
)
def test_whatever_ends_an_attempt_gives_its_place_back(site: Site, state: str, more: dict[str, Any]) -> None:
    _, second = send(site, declare(site, Limit(concurrency=1)), 2)
    site.change(second, priority="1")
    process = site.process()
    with site.state.database.claims() as connection:  # the first one passed before the second became urgent
        (claimed,) = transitions.claim_next(connection, process.id, "default", 1)

    end(site, process, claimed, state, **more)

    assert [job.id for job in take(site, process)] == [second]
    assert admitted(site) == 1


def test_a_job_that_is_put_off_needs_a_place_when_its_time_has_come(site: Site) -> None:
    first, second = send(site, declare(site, Limit(concurrency=1)), 2)
    process = site.process()
    end(site, process, take(site, process)[0], "delayed", delay_ms=0)
    (running,) = take(site, process)

    announce(site.state)

    assert running.id == second
    assert (site.job(first).state, site.job(first).gate) == ("waiting", KEY)
    end(site, process, running)
    assert [job.id for job in take(site, process)] == [first]


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_a_job_that_never_started_gives_its_place_back(site: Site, how: str) -> None:
    first, second = send(site, declare(site, Limit(concurrency=1)), 2)
    if how == "cancelled":
        site.jobs.cancel(first)
    else:
        site.change(first, expires_at=site.moment(-1))

    announce(site.state)

    assert [job.id for job in take(site, site.process())] == [second]


def test_a_dead_worker_s_places_are_free_again(site: Site) -> None:
    ids = send(site, declare(site, Limit(concurrency=2)), 4)
    dead, alive = site.process(), site.process()
    assert len(take(site, dead)) == 2
    site.kill(dead)

    rescue(site.state)
    announce(site.state)

    assert len(take(site, alive)) == 2
    assert sum(site.job(id).state == "active" for id in ids) == 2


def test_a_paused_queue_keeps_no_place_from_another(site: Site) -> None:
    declare(site, None, "other", queue="other")
    work = declare(site, None)
    (held,) = send(site, work, 1, concurrency_key="disk")
    queues.pause(site.state, "default")
    (free,) = [site.jobs.broker.actors["other"].send_with_options(concurrency_key="disk").message_id]
    process = site.process()
    assert take(site, process, queue="other") == []

    announce(site.state)
    (claimed,) = take(site, process, queue="other")
    queues.resume(site.state, "default")
    announce(site.state)

    assert claimed.id == free
    assert take(site, process) == []
    end(site, process, claimed)
    assert [job.id for job in take(site, process)] == [held]


def test_many_admit_at_once_and_the_count_is_exact(site: Site) -> None:
    send(site, declare(site, Limit(concurrency=3)), 30)
    process = site.process()
    most = 0
    while claimed := take(site, process):
        most = max(most, len(claimed), admitted(site))
        with site.state.database.transaction() as connection:
            transitions.complete(connection, process.id, [(job.id, job.fence, None) for job in claimed])
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: admit(site.state, {("", KEY)}), range(4)))

    assert most == 3
    assert {job.state for job in site.all_jobs()} == {"completed"}


def test_the_broker_is_not_told_of_what_waits_behind_a_gate(
    make_site: MakeSite, ledger_url: str, redis_url: str
) -> None:
    site = make_site(ledger_url, redis_url)
    send(site, declare(site, Limit(concurrency=2)), 5)

    assert site.state.transport.depths(["default"]) == {"default": 2}
    site.state.transport.take("default", 10)
    assert refill(site.state) == 2


# -- rates -------------------------------------------------------------------------------------------------------------


def test_no_span_sees_more_starts_than_its_rate_allows(site: Site) -> None:
    send(site, declare(site, Limit(rate="2/hour")), 5)
    process = site.process()

    first = take(site, process)
    for job in first:
        end(site, process, job)
    announce(site.state)

    assert len(first) == 2
    assert take(site, process) == []
    site.execute(f"UPDATE understudy_passes SET started_at = {site.moment(-3601)}")
    announce(site.state)
    assert len(take(site, process)) == 2


def test_a_pass_counts_from_the_start_and_not_from_when_it_was_given(site: Site) -> None:
    send(site, declare(site, Limit(rate="2/hour")), 5)
    process = site.process()
    announce(site.state)
    site.execute(f"UPDATE understudy_jobs SET created_at = {site.moment(-9000)}, run_at = {site.moment(-9000)}")

    first = take(site, process)  # hours after they were let through
    announce(site.state)

    assert len(first) == 2
    assert take(site, process) == []


def test_a_retry_is_a_start_like_any_other(site: Site) -> None:
    send(site, declare(site, Limit(rate="2/hour")), 2)
    process = site.process()
    for job in take(site, process):
        end(site, process, job, "waiting")
    announce(site.state)

    assert take(site, process) == []


def test_a_job_that_never_started_gives_its_pass_back(site: Site) -> None:
    first, second = send(site, declare(site, Limit(rate="1/day")), 2)
    site.jobs.cancel(first)

    announce(site.state)

    assert [job.id for job in take(site, site.process())] == [second]


def test_a_job_that_is_gone_counts_as_started(site: Site) -> None:
    send(site, declare(site, Limit(rate="1/day")), 2)
    process = site.process()
    (claimed,) = take(site, process)
    with site.state.database.transaction() as connection:
        transitions.complete(connection, process.id, [(claimed.id, claimed.fence, None)])
        transitions.delete(connection, [claimed.id])

    announce(site.state)

    assert take(site, process) == []


def test_rate_and_concurrency_hold_together(site: Site) -> None:
    send(site, declare(site, Limit(concurrency=2, rate="3/day")), 9)
    process = site.process()

    first = take(site, process)
    for job in first:
        end(site, process, job)

    assert (len(first), len(take(site, process))) == (2, 1)


# -- what is declared --------------------------------------------------------------------------------------------------


def test_a_release_with_another_number_changes_it_and_what_was_let_through_waits_anew(
    make_site: MakeSite, ledger_url: str
) -> None:
    old = make_site(ledger_url)
    send(old, declare(old, Limit(concurrency=5)), 6)
    new = make_site(ledger_url)
    work = declare(new, Limit(concurrency=2))

    send(new, work, 1)

    assert len(take(new, new.process())) == 2


def test_what_an_operator_set_outlives_a_release(make_site: MakeSite, ledger_url: str) -> None:
    old = make_site(ledger_url)
    send(old, declare(old, Limit(concurrency=1)), 5)
    with old.state.database.claims() as connection:
        gates.declare(connection, ("", KEY), Numbers(3), is_set=True)
    new = make_site(ledger_url)

    send(new, declare(new, Limit(concurrency=1)), 1)
    announce(new.state)

    assert len(take(new, new.process())) == 3


def test_a_key_whose_sender_died_before_it_was_declared_is_declared_by_the_clock(site: Site) -> None:
    send(site, declare(site, Limit(concurrency=2)), 3)
    site.execute("UPDATE understudy_jobs SET gate = limit_key")
    site.execute("DELETE FROM understudy_limits")
    announce(site.state)
    assert take(site, site.process()) == []

    assert mend(site.state) == 1
    announce(site.state)

    assert len(take(site, site.process())) == 2


def test_keys_are_forgotten_when_nothing_needs_them(site: Site) -> None:
    work = declare(site, Limit(concurrency=2, rate="9/minute", key=lambda n, customer="": customer))
    sent = [work.send(0, customer).message_id for customer in ("done", "waits")]
    site.jobs.cancel(sent[0])
    process = site.process()
    site.execute(f"UPDATE understudy_limits SET changed_at = {site.moment(-90_000)}")
    announce(site.state)
    admit(site.state, {("", f"{KEY}:done")})
    site.execute(f"UPDATE understudy_passes SET started_at = {site.moment(-99)} WHERE key = '{KEY}:done'")

    forget(site.state)

    with site.db_session() as session:
        assert [row.key for row in session.query(Pass)] == [f"{KEY}:waits"]
    assert [job.id for job in take(site, process)] == sent[1:]


def test_withdrawing_takes_nothing_from_what_runs(site: Site) -> None:
    (running, _) = send(site, declare(site, Limit(concurrency=1)), 2)
    process = site.process()
    take(site, process)
    queues.pause(site.state, "default")

    withdraw_paused(site.state)

    assert (site.job(running).state, site.job(running).gate) == ("active", None)


# -- what cannot be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "limits nothing"),
        ({"concurrency": 0}, "from 1 to 100000"),
        ({"concurrency": True}, "from 1 to 100000"),
        ({"concurrency": 1.5}, "from 1 to 100000"),
        ({"rate": "100"}, "'100/minute'"),
        ({"rate": "0/minute"}, "'100/minute'"),
        ({"rate": "5/0 seconds"}, "'100/minute'"),
        ({"rate": "99999999/minute"}, "'100/minute'"),
        ({"rate": 5}, "'100/minute'"),
        ({"concurrency": 1, "key": "customer"}, "a function of the arguments"),
    ],
)
def test_a_limit_that_cannot_be_says_what_can(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Limit(**given)


def test_an_actor_takes_a_limit_and_nothing_else(sqlite_site: Site) -> None:
    with pytest.raises(ConfigError, match=r"limit is 10; it takes a Limit, such as Limit\(concurrency=10\)"):
        sqlite_site.jobs.actor(limit=10)(lambda: None)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (lambda n, customer="": ["a"], "it takes a printable text"),
        (lambda n, customer="": "", "it takes a printable text"),
        (lambda n, customer="": "x" * 201, "it takes a printable text"),
        (lambda n, customer="": 1 / 0, "cannot be told for these arguments: ZeroDivisionError"),
    ],
)
def test_a_key_that_cannot_be_told_stores_nothing(sqlite_site: Site, key: Any, said: str) -> None:
    work = declare(sqlite_site, Limit(concurrency=1, key=key))

    with pytest.raises(InvalidJob, match=said):
        work.send(1)
    assert sqlite_site.all_jobs() == []


@pytest.mark.parametrize("key", ["", "x" * 201, "a\x00b", 7, "tenant", "actor:x", "batch:y"])
def test_a_sender_cannot_name_just_any_key(sqlite_site: Site, key: Any) -> None:
    work = declare(sqlite_site, None)

    with pytest.raises(InvalidJob, match="concurrency_key is"):
        work.send_with_options(args=(1,), concurrency_key=key)
    assert sqlite_site.all_jobs() == []
