"""Limits of tenants and queues hold over all processes at any instant, and pauses too, while others go on."""

from __future__ import annotations

import time
from typing import Any

import dramatiq
import pytest

from flask_understudy.operations import queues, tenants
from tests.integration.conftest import Install
from tests.integration.deployment import Deployment
from tests.integration.service.actors import quick, slow
from tests.integration.service.ext import jobs

pytestmark = [pytest.mark.timeout(150), pytest.mark.requirement("invariant-I10", "I10")]


@pytest.fixture(params=["sqlite-database", "sqlite-redis", "postgresql-database", "postgresql-redis"])
def service(request: pytest.FixtureRequest, install: Install) -> Deployment:
    """The service on each database with each transport."""
    database, transport = request.param.split("-")
    return install(
        request.getfixturevalue("sqlite_url" if database == "sqlite" else "postgres_url"),
        request.getfixturevalue("redis_url") if transport == "redis" else None,
    )


def send(service: Deployment, actor: dramatiq.Actor[Any, Any], tenant: str, n: int, *args: Any) -> list[str]:
    with service.app.app_context():
        messages = [actor.message_with_options(args=args, tenant=tenant) for _ in range(n)]
        return [message.message_id for message in jobs.send_many(messages)]


def limit(service: Deployment, kind: str, concurrency: int | None) -> None:
    state = service.app.extensions["understudy"]
    if kind == "tenant":
        tenants.limit(state, "acme", concurrency)
    else:
        queues.limit(state, "work", concurrency)


def active(service: Deployment) -> int:
    return int(service.rows("SELECT count(*) AS n FROM understudy_jobs WHERE state = 'active'")[0].n)


def most_at_once(service: Deployment, ids: set[str]) -> int:
    """How many of the jobs ran at a time at the most, by what they left when they began and ended."""
    running, most = 0, 0
    for row in service.rows("SELECT job_id, kind FROM effects ORDER BY id"):
        if row.job_id in ids:
            running += 1 if row.kind == "start" else -1
            most = max(most, running)
    return most


@pytest.mark.requirement("C7")
@pytest.mark.parametrize("kind", ["tenant", "queue"])
def test_no_more_run_at_once_than_may_over_all_processes(service: Deployment, kind: str) -> None:
    limit(service, kind, 2)
    with service.workers(processes=3, threads=4):
        theirs = send(service, slow, "acme", 50, 0.02)
        others = send(service, quick, "birch", 5) if kind == "tenant" else []
        if others:
            service.wait_for_end(others)
            assert sum(state != "completed" for id, state in service.states().items() if id in theirs) > 0
        service.wait_for_end(seconds=90)

    assert most_at_once(service, set(theirs)) == 2
    assert set(service.states().values()) == {"completed"}
    service.check(faultless=True)


def test_a_limit_holds_two_seconds_after_it_was_set_and_goes_when_it_is_lifted(service: Deployment) -> None:
    with service.workers(processes=2, threads=4):
        theirs = send(service, slow, "acme", 400, 0.2)
        service.wait(lambda: len(service.effects("start")) >= 8, "the first of them")
        limit(service, "tenant", 1)
        service.wait(lambda: active(service) <= 1, "the limit to hold", 2)
        begun = len(service.effects("start"))
        seen = [active(service)]
        while len(service.effects("start")) < begun + 3:
            seen.append(active(service))
        limit(service, "tenant", None)
        service.wait(lambda: len(service.effects("end")) >= 100, "many more", 60)
        ended = len(service.effects("end"))
        began = time.monotonic()
        service.wait(lambda: len(service.effects("end")) >= ended + 40, "yet more", 60)
        rate = 40 / (time.monotonic() - began)
        with service.app.app_context():
            for id in theirs:
                if service.job(id).state == "waiting":
                    jobs.cancel(id)
        service.wait_for_end()

    assert max(seen) <= 1
    assert rate > 8  # one at a time would be five a second


def test_a_paused_tenant_waits_and_goes_on_within_a_second_or_two(service: Deployment) -> None:
    state = service.app.extensions["understudy"]
    tenants.pause(state, "acme")
    with service.workers(processes=2, threads=2):
        theirs = send(service, quick, "acme", 300)
        others = send(service, quick, "birch", 10)
        service.wait_for_end(others)
        assert {service.states()[id] for id in theirs} == {"waiting"}

        tenants.resume(state, "acme")
        began = time.monotonic()
        service.wait(lambda: any(service.states()[id] == "completed" for id in theirs), "the first of them", 10)
        late = time.monotonic() - began
        service.wait_for_end()

    assert late < 3
    service.check(faultless=True)


def test_a_waiting_job_starts_within_a_second_when_another_ends(service: Deployment) -> None:
    limit(service, "tenant", 1)
    with service.workers(processes=2, threads=2):
        first = send(service, slow, "acme", 1, 1.5)[0]
        service.wait_for_state(first, "active")
        second = send(service, slow, "acme", 1, 0.0)[0]
        service.wait_for_end()

    ended = service.effects("end", job_id=first)[0].at
    began = service.effects("start", job_id=second)[0].at
    assert 0 <= began - ended < 1
