"""Publishing an event from a step: once, with the step, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from flask_understudy import current_job, step
from tests.flask_understudy.conftest import Site
from tests.flask_understudy.steps.test_steps import described
from tests.flask_understudy.steps.test_waiting import LeaveApproved


@pytest.mark.requirement("B14", "V02")
def test_an_event_is_published_once_with_its_step(site: Site) -> None:
    def publish(event: Any) -> None:
        site.db.session.add(site.Note(text=f"{event.name} {event.employee_id}"))
        site.db.session.flush()
        if current_job.attempt == 1:
            raise RuntimeError

    site.state.publish = publish

    @site.jobs.actor(max_retries=2, min_backoff=0)
    def work() -> None:
        step.publish("tell", LeaveApproved(employee_id=7))
        if current_job.attempt == 2:
            raise RuntimeError

    message = work.send()
    site.worker.drain(include_delayed=True)

    assert site.job(message).attempt == 3
    assert site.notes() == ["leave.approved 7"]
    assert described(site, message) == [("tell", "completed")]


def test_where_nothing_is_published_a_step_says_so(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor(max_retries=0)
    def work() -> None:
        step.publish("tell", LeaveApproved(employee_id=7))

    assert "this application publishes none" in str(sqlite_site.worker.run(work.send()).error)
