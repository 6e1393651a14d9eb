import datetime as dt

import pytest
import sqlalchemy as sa
from flask import Flask

from app.actors.cleanup import delete_old_sessions
from app.extensions import db, jobs
from app.models.base import utcnow
from app.queues import POLICIES
from app.services.queues import (
    Queue,
    cleanup_old_jobs,
    get_all_queue_status,
    get_email_queue,
    get_export_queue,
)
from flask_understudy.ledger import tallies
from tests.app.conftest import AppFactory


@pytest.mark.requirement("L04")
def test_status_of_all_queues_has_the_four_fields(app: Flask) -> None:
    with app.app_context():
        status = get_all_queue_status()

    assert status["overallStatus"] == "healthy"
    assert status["redisConnected"] is False
    assert {queue["name"] for queue in status["queues"]} >= set(POLICIES)
    assert dt.datetime.fromisoformat(status["timestamp"]).tzinfo is not None


@pytest.mark.requirement("L04", "J05", "H09")
def test_status_says_that_redis_is_connected(make_app: AppFactory, sqlite_url: str, redis_url: str) -> None:
    app = make_app(sqlite_url, REDIS_URL=redis_url)

    with app.app_context():
        assert get_all_queue_status()["redisConnected"] is True
        assert jobs.is_broker_up is True


@pytest.mark.requirement("L05")
def test_queues_count_what_waits_runs_and_failed(app: Flask) -> None:
    table = jobs.metadata.tables["understudy_jobs"]
    states = ["waiting"] * 3 + ["active"] * 2 + ["failed"]
    with app.app_context():
        ids = [delete_old_sessions.send().message_id for _ in states]
        with db.engine.begin() as connection:
            for job_id, state in zip(ids, states, strict=True):
                connection.execute(sa.update(table).where(table.c.id == job_id).values(state=state))
        tallies.recount(jobs.state.database)
        queue = Queue("cleanup")

        counts = (queue.get_waiting_count(), queue.get_active_count(), queue.get_failed_count())

        assert counts == (3, 2, 1)
        assert (get_email_queue().name, get_export_queue().name) == ("email", "exports")
        assert get_email_queue().get_waiting_count() == 0


@pytest.mark.requirement("N01", "N02", "N04")
@pytest.mark.parametrize(
    ("queue", "state", "days"),
    [
        ("email", "completed", 1),
        ("email", "failed", 7),
        ("exports", "completed", 1),
        ("exports", "failed", 30),
        ("cleanup", "failed", 7),
    ],
)
def test_finished_jobs_are_deleted_when_their_retention_is_over(app: Flask, queue: str, state: str, days: int) -> None:
    table = jobs.metadata.tables["understudy_jobs"]
    kept_for = dt.timedelta(days=days)
    with app.app_context():
        over, kept = (delete_old_sessions.send().message_id for _ in range(2))
        with db.engine.begin() as connection:
            for job_id, age in ((over, kept_for * 1.01), (kept, kept_for * 0.99)):
                ended = {"queue": queue, "state": state, "finished_at": utcnow() - age}
                connection.execute(sa.update(table).where(table.c.id == job_id).values(ended))

        assert cleanup_old_jobs() == 1
        assert jobs.get(over) is None
        assert jobs.get(kept) is not None


@pytest.mark.requirement("G11", "D10", "D11", "D12", "D13", "D14", "D04", "H15")
def test_policies_are_those_of_the_requirements() -> None:
    def of(name: str) -> tuple[int, int, int]:
        policy = POLICIES[name]
        return policy["attempts"], policy["min_backoff"], policy["time_limit"]

    assert of("email") == (5, 5_000, 30_000)
    assert of("exports") == (3, 2_000, 600_000)
    assert of("reports") == (3, 5_000, 300_000)
    assert of("data-exports") == (2, 5_000, 600_000)
    assert of("webhooks") == (5, 10_000, 30_000)
    assert of("tenant-onboarding") == (3, 5_000, 300_000)
    assert of("workflows") == (3, 5_000, 300_000)
    assert POLICIES["email"]["priority"] < min(
        policy["priority"] for name, policy in POLICIES.items() if name != "email"
    )
