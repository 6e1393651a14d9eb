"""Paused tenants are left alone, and limits of tenants and queues hold while others go on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_understudy.clock.announce import refill, unpark
from flask_understudy.errors import InvalidJob, JobConflict
from flask_understudy.ledger import limits, transitions
from flask_understudy.ledger.limits import Look
from flask_understudy.ledger.transitions import Claimed, Ending
from flask_understudy.operations import queues, tenants
from flask_understudy.worker import WorkerProcess
from tests.flask_understudy.conftest import MakeSite, Site

pytestmark = pytest.mark.requirement("invariant-I10")


@pytest.fixture
def work(site: Site) -> Any:
    return declare(site)


def declare(site: Site) -> Any:
    @site.jobs.actor()
    def work(n: int = 0) -> None: ...

    return work


def send(site: Site, work: Any, tenant: str, n: int, **options: Any) -> list[str]:
    messages = [work.message_with_options(args=(i,), tenant=tenant, **options) for i in range(n)]
    return [message.message_id for message in site.jobs.send_many(messages)]


def look(site: Site, n: int = 10, worker: str = "somebody") -> Look:
    with site.state.database.claims() as connection:
        return limits.claim_next(connection, worker, "default", n)


def tenants_of(found: Look) -> list[str]:
    return [job.tenant for job in found.claimed]


def finish(site: Site, process: WorkerProcess, jobs: list[Claimed]) -> None:
    with site.state.database.transaction() as connection:
        transitions.end(
            connection, process.id, [Ending(job.id, job.fence, "failed", "failed", reason="error") for job in jobs]
        )


def parked(site: Site) -> int:
    return sum(job.parked for job in site.all_jobs())


def test_no_more_of_a_tenant_s_jobs_are_claimed_than_it_may_run(site: Site, work: Any) -> None:
    send(site, work, "acme", 5)
    send(site, work, "birch", 2)
    tenants.limit(site.state, "acme", 2)
    process = site.process()

    first = look(site, worker=process.id)
    second = look(site)
    finish(site, process, [job for job in first.claimed if job.tenant == "acme"][:1])
    third = look(site)

    assert (sorted(tenants_of(first)), first.held_back) == (["acme", "acme", "birch", "birch"], True)
    assert (second.claimed, second.held_back) == ([], True)
    assert (tenants_of(third), third.held_back) == (["acme"], True)


def test_no_more_of_a_queue_s_jobs_are_claimed_than_it_may_run(site: Site, work: Any) -> None:
    for _ in range(5):
        work.send()
    queues.limit(site.state, "default", 3)

    first, second = look(site), look(site)
    queues.limit(site.state, "default", None)

    assert (len(first.claimed), len(second.claimed), second.held_back) == (3, 0, True)
    assert len(look(site).claimed) == 2


def test_a_paused_tenant_s_jobs_are_claimed_by_neither_road(site: Site, work: Any) -> None:
    (theirs,), (other,) = send(site, work, "acme", 1), send(site, work, "birch", 1)
    tenants.pause(site.state, "acme")
    process = site.process()

    assert site.claim(process, theirs) is None
    with site.state.database.claims() as connection:
        assert limits.claim(connection, process.id, [theirs]) == []
    assert [job.id for job in look(site).claimed] == [other]

    tenants.resume(site.state, "acme")
    assert site.claim(process, theirs) is not None


def test_nobody_is_kept_from_being_woken_by_what_is_paused(site: Site, work: Any) -> None:
    send(site, work, "acme", 3)
    tenants.pause(site.state, "acme")
    assert [look(site).held_back for _ in range(2)] == [False, False]
    tenants.limit(site.state, "acme", 1)
    tenants.resume(site.state, "acme")
    assert [look(site).held_back for _ in range(2)] == [True, True]


def test_a_job_that_ended_a_process_counts_like_any_other(site: Site, work: Any) -> None:
    first, second = send(site, work, "acme", 2)
    site.change(first, crashes="1")
    tenants.limit(site.state, "acme", 1)

    with site.state.database.claims() as connection:
        assert limits.claim_next(connection, "somebody", "default", 9, suspects=False).claimed[0].id == second
        assert limits.claim_next(connection, "somebody", "default", 9).claimed == []


def test_a_tenant_may_be_paused_and_limited_at_once(site: Site, work: Any) -> None:
    send(site, work, "acme", 3)
    tenants.limit(site.state, "acme", 1)
    tenants.pause(site.state, "acme")

    assert look(site).claimed == []
    tenants.resume(site.state, "acme")
    assert len(look(site).claimed) == 1
    tenants.limit(site.state, "acme", None)
    unpark(site.state)
    assert len(look(site).claimed) == 2


def test_a_claim_that_knows_of_no_limit_takes_nothing_that_one_concerns(site: Site, work: Any) -> None:
    theirs, other = send(site, work, "acme", 2), send(site, work, "birch", 2)
    tenants.limit(site.state, "acme", 1)
    with site.state.database.claims() as connection:
        claimed = transitions.claim_next(connection, "somebody", "default", 9)
        claimed += transitions.claim(connection, "somebody", theirs)

    assert sorted(job.id for job in claimed) == sorted(other)


def test_a_tenant_without_room_does_not_stand_in_the_way_whatever_it_has_waiting(site: Site, work: Any) -> None:
    theirs = send(site, work, "acme", 900, priority=1)
    others = [work.send().message_id, *send(site, work, "birch", 1)]
    tenants.limit(site.state, "acme", 1)

    found = look(site)

    assert {job.id for job in found.claimed} == {theirs[0], *others}
    assert 700 <= parked(site) < 900


def test_a_look_takes_little_from_a_tenant_that_is_in_nobody_s_way(site: Site, work: Any) -> None:
    send(site, work, "acme", 50)
    tenants.limit(site.state, "acme", 1)

    assert (len(look(site).claimed), parked(site)) == (1, 0)


def test_parked_jobs_run_in_their_place_as_room_comes_free(site: Site, work: Any) -> None:
    theirs = send(site, work, "acme", 400, priority=1)
    tenants.limit(site.state, "acme", 1)
    process = site.process()
    ran = []
    for _ in range(4):
        urgent = send(site, work, "birch", 1, priority=0)
        late = send(site, work, "birch", 1, priority=2)
        claimed = look(site, 5, process.id).claimed
        assert [claimed[0].id, claimed[2].id] == [*urgent, *late]
        ran.append(claimed[1].id)
        finish(site, process, claimed)

    assert ran == theirs[:4]
    assert parked(site) >= 200


def test_parked_jobs_are_back_in_the_order_when_the_limit_is_lifted(site: Site, work: Any) -> None:
    theirs = send(site, work, "acme", 300)
    tenants.pause(site.state, "acme")
    assert (look(site).claimed, unpark(site.state)) == ([], 0)
    assert parked(site) == 300

    tenants.resume(site.state, "acme")

    assert unpark(site.state) == 300
    assert [job.id for job in look(site, 300).claimed] == theirs


def test_a_parked_job_s_id_is_announced_again_when_its_tenant_resumes(
    make_site: MakeSite, ledger_url: str, redis_url: str
) -> None:
    site = make_site(ledger_url, redis_url)
    work = declare(site)
    tenants.pause(site.state, "acme")
    theirs = send(site, work, "acme", 300)
    while site.state.transport.take("default", 100):
        look(site)

    assert refill(site.state) == 0
    tenants.resume(site.state, "acme")
    unpark(site.state)
    assert refill(site.state) == 300
    assert site.state.transport.take("default", 300) == theirs


@pytest.mark.parametrize("kind", ["tenant", "queue"])
def test_claimers_that_race_never_exceed_a_limit(site: Site, work: Any, kind: str) -> None:
    send(site, work, "acme", 60)
    send(site, work, "birch", 20)
    tenants.limit(site.state, "acme", 5)
    if kind == "queue":
        queues.limit(site.state, "default", 7)

    with ThreadPoolExecutor(6) as pool:
        looks = list(pool.map(lambda n: look(site, 4, f"worker {n}"), range(12)))

    claimed = [job for found in looks for job in found.claimed]
    assert len({job.id for job in claimed}) == len(claimed)
    assert tenants_of(Look(claimed)).count("acme") <= 5
    assert len(claimed) == (7 if kind == "queue" else 25)


def test_a_job_run_by_hand_heeds_the_limit_too(site: Site, work: Any) -> None:
    first, second = send(site, work, "acme", 2)
    tenants.limit(site.state, "acme", 1)
    process = site.process()
    assert look(site, worker=process.id).claimed[0].id == first

    with pytest.raises(JobConflict, match="its tenant 'acme' is paused, or that or its queue 'default' runs as many"):
        site.worker.run(second)
    assert site.worker.drain() == []
    finish(site, process, [])
    tenants.limit(site.state, "acme", 2)
    assert [job.id for job in site.worker.drain()] == [second]


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201, "nul\0"])
def test_what_cannot_be_a_tenant_is_refused(site: Site, name: str) -> None:
    for act in (tenants.pause, tenants.resume, lambda state, name: tenants.limit(state, name, 1)):
        with pytest.raises(InvalidJob, match="it takes a printable text of 1 to 200 characters"):
            act(site.state, name)


def test_a_limit_below_one_is_refused(site: Site) -> None:
    with pytest.raises(InvalidJob, match="concurrency is 0; it takes a whole number, 1 or more, or None"):
        tenants.limit(site.state, "acme", 0)
