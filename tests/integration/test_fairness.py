"""Tenants share the workers, however much one of them sends."""

from __future__ import annotations

import pytest

from tests.integration.conftest import Install
from tests.integration.deployment import Deployment
from tests.integration.service.actors import quick
from tests.integration.service.ext import jobs


def send(service: Deployment, tenant: str, n: int) -> list[str]:
    """Send jobs of a tenant at once."""
    with service.app.app_context():
        messages = [quick.message_with_options(tenant=tenant) for _ in range(n)]
        return [message.message_id for message in jobs.send_many(messages)]


def waiting(service: Deployment, tenant: str) -> int:
    (row,) = service.rows(
        "SELECT count(*) AS n FROM understudy_jobs WHERE state = 'waiting' AND tenant = :tenant", tenant=tenant
    )
    return int(row.n)


@pytest.mark.timeout(120)
@pytest.mark.requirement("C07")
@pytest.mark.parametrize("carried", ["sqlite-database", "postgresql-database", "postgresql-redis"])
def test_ten_jobs_of_one_tenant_do_not_wait_for_ten_thousand_of_another(
    request: pytest.FixtureRequest, install: Install, carried: str
) -> None:
    database, transport = carried.split("-")
    service = install(
        request.getfixturevalue("sqlite_url" if database == "sqlite" else "postgres_url"),
        request.getfixturevalue("redis_url") if transport == "redis" else None,
    )
    send(service, "acme", 10_000)
    with service.workers(threads=2):
        service.wait(lambda: service.effects(), "the first of them")
        theirs = send(service, "birch", 10)
        service.wait(lambda: all(service.job(id).state == "completed" for id in theirs), "the other's ten")
        left = waiting(service, "acme")

    assert left >= 9_000
