"""Several things at once: each is kept by itself."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flask_understudy import current_job, step
from tests.flask_understudy.conftest import Site
from tests.flask_understudy.steps.test_steps import Calls, calls, described

__all__ = ["calls"]


@pytest.mark.requirement("B14")
def test_things_are_done_at_once_and_their_results_kept(site: Site) -> None:
    barrier = threading.Barrier(3, timeout=20)
    seen: list[Any] = []

    def meet(n: int) -> int:
        barrier.wait()
        seen.append((n, current_job.idempotency_key, site.db.session()))
        return n * n

    @site.jobs.actor(max_retries=1, min_backoff=0)
    def work() -> None:
        assert step.parallel("all", a=(meet, 1), b=(meet, 2), c=(meet, 3)) == {"a": 1, "b": 4, "c": 9}
        if current_job.attempt == 1:
            raise RuntimeError

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert site.job(message).state == "completed"
    assert sorted(n for n, _, _ in seen) == [1, 2, 3]
    assert {key for _, key, _ in seen} == {f"{message.message_id}:all/{name}" for name in "abc"}
    assert len({id(session) for _, _, session in seen}) == 3
    assert described(site, message) == [(name, "completed") for name in ("all", "all/a", "all/b", "all/c")]


def test_one_that_fails_does_not_lose_what_the_others_did(site: Site, calls: Calls) -> None:
    results: list[Any] = []

    @site.jobs.actor(max_retries=2, min_backoff=0)
    def work() -> None:
        results.append(step.parallel("all", a=calls.make("a", 1), b=calls.make("b", 2, failures=2)))

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert site.job(message).attempt == 3
    assert results == [{"a": 1, "b": 2}]
    assert sorted(calls) == ["a", "b", "b", "b"]


def test_one_that_failed_for_good_fails_them_together(site: Site, calls: Calls) -> None:
    @site.jobs.actor(max_retries=0)
    def work() -> None:
        step.parallel("all", a=calls.make("a", 1), b=calls.make("b", 2, failures=1))

    message = work.send()
    site.worker.drain()
    assert "Step 'all/b' failed: ValueError: b is not ready" in str(site.job(message).error)
    assert described(site, message) == [("all", "failed"), ("all/a", "completed"), ("all/b", "failed")]

    site.jobs.retry(message.message_id)
    site.worker.drain()

    assert site.job(message).state == "completed"
    assert sorted(calls) == ["a", "b", "b"]


def test_none_of_them_can_sleep(site: Site) -> None:
    @site.jobs.actor(max_retries=3)
    def work() -> None:
        step.parallel("all", a=lambda: step.sleep("nap", hours=1))

    job = site.worker.run(work.send())

    assert (job.state, job.attempt) == ("failed", 1)
    assert "Step 'all/a' asks for another step" in str(job.error)


@pytest.mark.parametrize("then", [{"a": print}, {"b": print, "a": print}, {"a": print, "b": print, "c": print}])
def test_other_things_than_before_are_changed_code(sqlite_site: Site, then: dict[str, Any]) -> None:
    @sqlite_site.jobs.actor(max_retries=1, min_backoff=0)
    def work() -> None:
        step.parallel("all", **({"a": print, "b": print} if current_job.attempt == 1 else then))
        step.run("after", print)
        if current_job.attempt == 1:
            raise RuntimeError

    message = work.send()
    sqlite_site.worker.drain(include_delayed=True)

    assert sqlite_site.job(message).reason == "steps_changed"


def test_things_at_once_can_be_removed(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor(max_retries=1, min_backoff=0)
    def work() -> None:
        if current_job.attempt == 1:
            step.parallel("all", a=print, b=print)
        step.removed("all")
        step.run("after", print)
        if current_job.attempt == 1:
            raise RuntimeError

    message = work.send()
    sqlite_site.worker.drain(include_delayed=True)

    assert sqlite_site.job(message).state == "completed"


@pytest.mark.parametrize(
    ("branches", "says"),
    [
        ({}, "does 0 things at once; it takes 1 to 32"),
        ({f"n{n}": print for n in range(33)}, "does 33 things at once"),
        ({"a": 7}, "7 cannot be called"),
        ({"a": (7, 1)}, "7 cannot be called"),
    ],
)
def test_things_that_make_no_sense_are_refused(sqlite_site: Site, branches: dict[str, Any], says: str) -> None:
    @sqlite_site.jobs.actor(max_retries=0)
    def work() -> None:
        step.parallel("all", **branches)

    assert says in str(sqlite_site.worker.run(work.send()).error)
