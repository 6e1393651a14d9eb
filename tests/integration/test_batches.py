"""Batches and limits by key over real worker processes: the caps hold at any instant, and each end is noticed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.integration.deployment import LEASE_SECONDS, Deployment
from tests.integration.service.actors import letter, over, paced, quick, two_at_a_time
from tests.integration.service.ext import jobs

pytestmark = pytest.mark.timeout(180)


def most_at_once(service: Deployment, ids: Sequence[str]) -> int:
    """How many of the jobs ran at a time at the most, by what they left when they began and ended."""
    running, most, wanted = 0, 0, set(ids)
    for row in service.rows("SELECT job_id, kind FROM effects ORDER BY id"):
        if row.job_id in wanted:
            running += 1 if row.kind == "start" else -1
            most = max(most, running)
    return most


def send_letters(service: Deployment, n: int, bad: set[int], seconds: float = 0.05) -> Any:
    messages = [letter.message(seconds, i not in bad) for i in range(n)]
    callbacks = {f"on_{what}": over.message(what) for what in ("complete", "success", "failure")}
    with service.app.app_context():
        return jobs.batch(messages, concurrency=10, **callbacks)


def of_batch(service: Deployment, batch: Any) -> list[str]:
    return [row.id for row in service.rows("SELECT id FROM understudy_jobs WHERE batch_id = :id", id=batch.id)]


@pytest.mark.requirement("A11", "A12", "invariant-I10")
def test_a_batch_of_a_hundred_with_seven_failures_stays_within_its_cap(deployment: Deployment) -> None:
    bad = {3, 17, 18, 42, 71, 72, 99}
    with deployment.workers(processes=3, threads=8):
        batch = send_letters(deployment, 100, bad)
        deployment.wait(lambda: batch.progress().state == "failed", "the batch to end", 90)
        deployment.wait_for_end()
        progress, failures = batch.progress(), batch.failures()

    assert (progress.completed, progress.failed, progress.percent) == (93, 7, 100)
    assert {job.error for job in failures} == {"ValueError: no such address"}
    assert 5 <= most_at_once(deployment, of_batch(deployment, batch)) <= 10
    told = deployment.rows("SELECT args FROM understudy_jobs WHERE actor = 'over'")
    assert sorted(str(row.args) for row in told) in (
        ['["complete"]', '["failure"]'],
        ["['complete']", "['failure']"],
    )
    deployment.check(faultless=True)


@pytest.mark.requirement("A11", "A12")
def test_two_workers_that_end_the_last_two_jobs_at_once_end_the_batch_once(deployment: Deployment) -> None:
    with deployment.workers(processes=2, threads=4):
        batches = [send_letters(deployment, 2, set(), 0.2) for _ in range(15)]
        deployment.wait(lambda: all(b.progress().state == "completed" for b in batches), "all of them to end", 60)
        deployment.wait_for_end()

    assert len(deployment.rows("SELECT id FROM understudy_jobs WHERE actor = 'over'")) == 30


@pytest.mark.requirement("invariant-I10", "G3")
def test_a_killed_worker_s_places_are_taken_by_others(deployment: Deployment) -> None:
    with deployment.workers(threads=2) as doomed:
        ids = deployment.send_many(two_at_a_time, 12, 1.0)
        active = "SELECT id FROM understudy_jobs WHERE state = 'active'"
        deployment.wait(lambda: len(deployment.rows(active)) == 2, "it to hold both places")
        doomed.kill_all()
    with deployment.workers(threads=2):
        deployment.wait_for_end(ids, LEASE_SECONDS + 60)

    assert set(deployment.states().values()) == {"completed"}
    deployment.check()


@pytest.mark.requirement("invariant-I10")
def test_no_second_sees_more_starts_than_the_rate_allows(deployment: Deployment) -> None:
    ids = deployment.send_many(paced, 25)
    with deployment.workers(processes=3, threads=4):
        others = deployment.send_many(quick, 20)
        deployment.wait_for_end(others)
        deployment.wait_for_end(ids, 60)

    is_sqlite = deployment.database_url.startswith("sqlite")
    second = "(julianday(started_at) - 2440587.5) * 86400.0" if is_sqlite else "extract(epoch FROM started_at)"
    rows = deployment.rows(f"SELECT {second} AS at FROM understudy_jobs WHERE actor = 'paced' ORDER BY started_at")
    starts = [float(row.at) for row in rows]
    assert len(starts) == 25
    assert min(later - first for first, later in zip(starts, starts[5:], strict=False)) >= 0.999  # of six, one is out


def test_a_job_that_waits_behind_its_gate_burns_no_attempt(deployment: Deployment) -> None:
    ids = deployment.send_many(two_at_a_time, 8, 0.1)
    with deployment.workers(processes=2, threads=4):
        deployment.wait_for_end(ids)

    assert {(deployment.job(id).attempt, deployment.job(id).fence) for id in ids} == {(1, 1)}
    assert most_at_once(deployment, ids) == 2
