"""Deleting jobs whose retention is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_understudy.clock.prune import forget
from tests.flask_understudy.conftest import MakeSite, Site

DAY = 86_400


def ended(site: Site, actor: Any, state: str, seconds: float) -> str:
    message = actor.send()
    site.change(message, state=f"'{state}'", finished_at=site.moment(-seconds))
    return message.message_id


@pytest.fixture
def kept(make_site: MakeSite, ledger_url: str) -> Site:
    queues = {
        "email": {},
        "exports": {"keep_failed": timedelta(days=30), "keep_completed": timedelta(hours=2)},
    }
    return make_site(ledger_url, UNDERSTUDY_QUEUES=queues)


@pytest.mark.requirement("N01", "N02", "N04", "N06", "N08", "Q09", "C6")
@pytest.mark.parametrize(
    ("queue", "state", "seconds"),
    [
        ("email", "completed", DAY),
        ("email", "failed", 7 * DAY),
        ("email", "cancelled", 7 * DAY),
        ("exports", "completed", 7200),
        ("exports", "failed", 30 * DAY),
        ("exports", "cancelled", 30 * DAY),
        ("other", "completed", DAY),
        ("other", "failed", 7 * DAY),
    ],
)
def test_each_queue_and_state_has_its_own_time(kept: Site, queue: str, state: str, seconds: int) -> None:
    @kept.jobs.actor(queue_name=queue)
    def work() -> None: ...

    old, young = ended(kept, work, state, seconds + 60), ended(kept, work, state, seconds - 60)

    assert kept.jobs.cleanup_old_jobs() == 1

    assert kept.jobs.get(old) is None
    assert kept.jobs.get(young) is not None


@pytest.mark.requirement("N04", "G1")
def test_live_jobs_are_never_deleted_however_old(kept: Site) -> None:
    @kept.jobs.actor(queue_name="email")
    def work() -> None: ...

    for state in ("delayed", "waiting", "active"):
        message = work.send()
        kept.change(message, state=f"'{state}'", created_at=kept.moment(-9999 * DAY), run_at=kept.moment(-9999 * DAY))
    assert kept.jobs.cleanup_old_jobs() == 0
    assert len(kept.all_jobs()) == 3


@pytest.mark.requirement("N03", "G03")
def test_the_last_completed_jobs_of_each_queue_are_kept(make_site: MakeSite, ledger_url: str) -> None:
    site = make_site(ledger_url, UNDERSTUDY_MAX_HISTORY=3)

    @site.jobs.actor(queue_name="a")
    def one() -> None: ...

    @site.jobs.actor(queue_name="b")
    def two() -> None: ...

    ids = [ended(site, one, "completed", 100 - n) for n in range(5)]
    ended(site, one, "failed", 100)
    ended(site, two, "completed", 100)
    live = one.send()

    assert site.jobs.cleanup_old_jobs() == 2

    assert [site.jobs.get(id) is not None for id in ids] == [False, False, True, True, True]
    assert site.job(live).state == "waiting"
    assert site.jobs.stats()["a"]["failed"] == site.jobs.stats()["b"]["completed"] == 1


@pytest.mark.requirement("N04")
def test_more_than_a_batch_is_deleted_in_one_call(make_site: MakeSite, ledger_url: str) -> None:
    site = make_site(ledger_url, UNDERSTUDY_MAX_HISTORY=1)

    @site.jobs.actor()
    def work() -> None: ...

    site.jobs.send_many([work.message() for _ in range(2500)])
    site.execute(f"UPDATE understudy_jobs SET state = 'completed', finished_at = {site.moment(-2 * DAY)}")
    site.jobs.send_many([work.message() for _ in range(1500)])
    site.execute(
        f"UPDATE understudy_jobs SET state = 'completed', finished_at = {site.moment(-1)} WHERE state = 'waiting'"
    )
    assert site.jobs.cleanup_old_jobs() == 3999


def test_keys_bulks_and_lines_of_the_audit_are_forgotten_in_time(site: Site) -> None:
    for table, columns, values in (
        ("idempotency_keys", "tenant, subject, request, status, headers, body, key, at", "'', '', '', 200, '{}', '', "),
        ("bulks", "subject, action, filter, state, most, created_at, id, finished_at", "'', '', '{}', '', 1, NOW, "),
        ("audit", "tenant, subject, action, target, id, at", "'', '', '', '', "),
    ):
        for number, days in enumerate((0.9, 1.1, 29, 31, 365, 367)):
            key = f"'{number}'" if table != "audit" else str(number)
            moment, now = site.moment(-days * DAY), site.moment(0)
            row = f"{values}{key}, {moment}".replace("NOW", now)
            site.execute(f"INSERT INTO understudy_{table} ({columns}) VALUES ({row})")

    forget(site.state)

    counts = []
    for table in ("idempotency_keys", "bulks", "audit"):
        with site.db_session() as session:
            counts.append(session.execute(sa.text(f"SELECT count(*) FROM understudy_{table}")).scalar_one())
    assert counts == [1, 3, 5]
