"""Tenants of a queue take turns, and each one's jobs stay in order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_understudy.clock.announce import FIRST, promote
from flask_understudy.ledger import transitions
from flask_understudy.ledger.statements import HORIZON_SECONDS, SPACING_SECONDS, run
from flask_understudy.ledger.transitions import Claimed
from flask_understudy.ledger.turns import LATEST
from flask_understudy.operations.jobs import amend, run_now
from tests.flask_understudy.conftest import MakeSite, Site

pytestmark = pytest.mark.requirement("C07")


@pytest.fixture
def work(site: Site) -> Any:
    return declare(site)


def declare(site: Site) -> Any:
    @site.jobs.actor()
    def work(n: int = 0) -> None: ...

    return work


def send(site: Site, work: Any, tenant: str, n: int, **options: Any) -> list[str]:
    """Send n jobs of a tenant at once."""
    messages = [work.message_with_options(args=(i,), tenant=tenant, **options) for i in range(n)]
    return [message.message_id for message in site.jobs.send_many(messages)]


def claim(site: Site, n: int) -> list[Claimed]:
    with site.state.database.claims() as connection:
        return transitions.claim_next(connection, "somebody", "default", n)


def order(site: Site, n: int = 1000) -> list[str]:
    """The tenants of the next jobs, one claim after the other."""
    return [job.tenant for job in claim(site, n)]


def test_what_others_send_goes_between_a_tenant_s_backlog(site: Site, work: Any) -> None:
    send(site, work, "acme", 500)
    send(site, work, "birch", 3)
    send(site, work, "cedar", 1)

    assert order(site, 8) == ["acme", "birch", "cedar", "acme", "birch", "acme", "birch", "acme"]


def test_jobs_sent_one_by_one_take_turns_as_those_sent_in_bulk_do(site: Site, work: Any) -> None:
    for tenant in ("acme", "acme", "acme", "birch", "birch"):
        work.send_with_options(tenant=tenant)

    assert order(site) == ["acme", "birch", "acme", "birch", "acme"]


def test_jobs_sent_in_the_caller_s_transaction_take_turns_too(site: Site, work: Any) -> None:
    with site.app.app_context():
        for tenant in ("acme", "acme", "birch"):
            work.send_with_options(tenant=tenant, transaction=True)
        site.db.session.commit()

    assert order(site) == ["acme", "birch", "acme"]


def test_a_tenant_that_has_nothing_waiting_is_not_made_to_pay_for_what_it_had(site: Site, work: Any) -> None:
    send(site, work, "acme", 20)
    claim(site, 20)
    send(site, work, "birch", 2)
    send(site, work, "acme", 1)

    assert order(site) == ["birch", "acme", "birch"]


@pytest.mark.requirement("C06")
def test_priority_is_exact_across_tenants(site: Site, work: Any) -> None:
    send(site, work, "acme", 5, priority=1)
    send(site, work, "birch", 2, priority=5)
    send(site, work, "birch", 1, priority=1)

    assert order(site) == ["acme", "birch", "acme", "acme", "acme", "acme", "birch", "birch"]


def test_delayed_jobs_that_become_due_together_take_turns(site: Site, work: Any) -> None:
    theirs = send(site, work, "acme", 30, delay=None, run_at=datetime.now(UTC) + timedelta(hours=1))
    site.execute(f"UPDATE understudy_jobs SET run_at = {site.moment(-600)}")
    promote(site.state)
    send(site, work, "birch", 2)

    claimed = claim(site, 1000)

    assert [job.tenant for job in claimed][:5] == ["acme", "birch", "acme", "birch", "acme"]
    assert [job.id for job in claimed if job.tenant == "acme"] == theirs


@pytest.mark.parametrize("how", ["retry", "run_now", "priority"])
def test_jobs_that_wait_again_by_hand_take_a_new_turn(site: Site, work: Any, how: str) -> None:
    (job,) = send(site, work, "acme", 1, run_at=datetime.now(UTC) + timedelta(hours=1)) if how == "run_now" else [""]
    send(site, work, "acme", 3)
    match how:
        case "retry":
            job = claim(site, 1)[0].id
            site.change(job, state="'failed'")
            site.jobs.retry(job)
        case "run_now":
            run_now(site.state, job)
        case _:
            (job,) = send(site, work, "acme", 1, priority=7)
            amend(site.state, job, priority=3)
    send(site, work, "birch", 1)

    claimed = claim(site, 1000)

    assert "birch" in [other.tenant for other in claimed[:2]]
    assert claimed[-1].id == job


def test_a_job_that_is_handed_back_keeps_its_turn(site: Site, work: Any) -> None:
    first = send(site, work, "acme", 3)[0]
    process = site.process()
    assert site.claim(process, first) is not None
    process.hand_back([process.hold(site.claim(process, id), None) for id in send(site, work, "birch", 1)])
    process.writer.flush()
    site.kill(process)
    with site.state.database.transaction() as connection:
        transitions.rescue(connection, process.id, [], "It died")

    assert order(site) == ["acme", "birch", "acme", "acme"]


def test_no_turn_lies_farther_ahead_than_the_horizon_and_order_is_kept(site: Site, work: Any) -> None:
    most = HORIZON_SECONDS // SPACING_SECONDS
    sent = [id for n in (most, 50, 1) for id in send(site, work, "acme", n)]

    turns = [job.turn_at for job in site.all_jobs()]
    claimed = claim(site, len(sent))

    assert max(turns) - datetime.now(UTC) <= timedelta(seconds=HORIZON_SECONDS)
    assert [job.id for job in claimed] == sent


@pytest.mark.parametrize("fair", [True, False])
def test_jobs_without_tenant_and_apps_that_want_none_of_it_are_in_order_of_time(
    make_site: MakeSite, ledger_url: str, fair: bool
) -> None:
    site = make_site(ledger_url, UNDERSTUDY_FAIR=fair)
    work, tenants = declare(site), ("", "") if fair else ("acme", "birch")
    sent = [id for tenant in (*tenants, *tenants) for id in send(site, work, tenant, 3)]

    assert [job.turn_at for job in site.all_jobs()] == [None] * 12
    assert [job.id for job in claim(site, 12)] == sent


@pytest.mark.parametrize("fair", [True, False])
def test_delayed_jobs_take_no_turns_where_it_is_off(make_site: MakeSite, ledger_url: str, fair: bool) -> None:
    site = make_site(ledger_url, UNDERSTUDY_FAIR=fair)
    send(site, declare(site), "acme", 2, run_at=datetime.now(UTC) + timedelta(hours=1))
    site.execute(f"UPDATE understudy_jobs SET run_at = {site.moment(-60)}")
    promote(site.state)

    assert [job.turn_at is not None for job in site.all_jobs()] == [fair, fair]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sends=st.lists(
        st.tuples(
            st.sampled_from(["acme", "birch", "cedar", ""]),
            st.sampled_from([1, 5]),
            st.integers(1, 6),
            st.integers(0, 4),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_within_a_tenant_and_priority_first_come_is_first_served(
    site: Site, sends: list[tuple[str, int, int, int]]
) -> None:
    work = site.jobs.broker.actors.get("work") or declare(site)
    sent: dict[tuple[str, int], list[str]] = {}
    ran: dict[tuple[str, int], list[str]] = {}
    waiting: list[int] = []

    def note(claimed: list[Claimed]) -> None:
        for job in claimed:
            assert job.priority == min(waiting)
            waiting.remove(job.priority)
            ran.setdefault((job.tenant, job.priority), []).append(job.id)

    try:
        for tenant, priority, n, taken in sends:
            sent.setdefault((tenant, priority), []).extend(send(site, work, tenant, n, priority=priority))
            waiting += [priority] * n
            note(claim(site, taken))
        while claimed := claim(site, 3):
            note(claimed)
        assert ran == sent
    finally:
        site.execute("DELETE FROM understudy_jobs")


@pytest.fixture
def explained(make_site: MakeSite, postgres_ledger: str) -> Callable[[str], str]:
    """How PostgreSQL answers a statement on a ledger with many jobs."""
    site = make_site(postgres_ledger)
    work = declare(site)
    for tenant in ("acme", "birch"):
        send(site, work, tenant, 3000)
    site.execute("ANALYZE understudy_jobs")

    def explain(statement: str, **parameters: Any) -> str:
        with site.state.database.transaction() as connection:
            return "\n".join(row[0] for row in run(connection, "EXPLAIN " + statement, **parameters))

    return explain


def test_the_order_and_a_tenant_s_latest_turn_are_read_from_indexes(explained: Callable[..., str]) -> None:
    first = explained(FIRST, queue="default", n=10)
    latest = explained(f"SELECT {LATEST} FROM (SELECT 'default' AS queue, 'acme' AS tenant, 3 AS priority) AS g")

    assert "ix_understudy_jobs_next" in first and "Sort" not in first
    assert "ix_understudy_jobs_turns" in latest and "Sort" not in latest
