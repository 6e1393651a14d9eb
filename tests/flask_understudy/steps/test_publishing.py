"""Publishing an event from a step: once, with the step, or not at all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_understudy import current_job, step
from tests.flask_understudy.conftest import Site
from tests.flask_understudy.steps.test_steps import described
from tests.flask_understudy.steps.test_waiting import LeaveApproved


@pytest.mark.requirement("B14", "V02")
def test_an_event_is_published_once_with_its_step(site: Site) -> None:
    heard: list[int] = []

    @site.jobs.on(LeaveApproved)
    def hear(event: LeaveApproved) -> None:
        if not heard:
            heard.append(event.employee_id)
            raise RuntimeError("once")
        heard.append(event.employee_id)

    @site.jobs.actor(max_retries=2, min_backoff=0)
    def work() -> None:
        step.publish("tell", LeaveApproved(employee_id=7))
        if current_job.attempt < 3:
            raise RuntimeError

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert site.job(message).attempt == 3
    assert described(site, message) == [("tell", "completed")]
    assert heard == [7, 7]
    assert [job.actor for job in site.all_jobs()].count("on:leave.signed:hear") == 1


@pytest.mark.requirement("V02")
def test_a_published_event_wakes_the_job_that_waits_for_it(site: Site) -> None:
    @site.jobs.actor(max_retries=0)
    def wait() -> str | None:
        event = step.wait_for("approval", LeaveApproved, match={"employee_id": 7}, timeout=timedelta(days=1))
        return None if event is None else event.by

    message = wait.send()
    assert site.worker.run(message).state == "delayed"
    with site.app.app_context():
        site.jobs.publish(LeaveApproved(employee_id=8, by="Bob"))
        site.jobs.publish(LeaveApproved(employee_id=7, by="Ann"))

    assert site.job(message).state == "waiting"
    assert site.worker.run(message).result == "Ann"
