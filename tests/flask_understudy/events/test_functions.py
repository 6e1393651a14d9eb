"""Inngest's way to declare a function of an event."""

from __future__ import annotations

from typing import Any

import pytest

from flask_understudy import Event, current_job
from flask_understudy.errors import ConfigError
from tests.flask_understudy.conftest import Site


class NewEvent(Event, name="my/new-event"):
    user_id: int


@pytest.mark.requirement("B13")
def test_a_function_listens_with_its_own_retries(site: Site) -> None:
    heard: list[Event] = []

    def run(event: NewEvent) -> dict[str, bool]:
        heard.append(event)
        return {"success": True}

    my_new_job = site.jobs.create_function(
        id="my-new-job", name="My New Job", retries=3, event="my/new-event", queue_name="email"
    )(run)
    published = site.jobs.send_event("my/new-event", {"user_id": 7})
    [done] = site.worker.drain(raise_errors=True)

    assert my_new_job.options["description"] == "My New Job"
    assert (done.id, done.actor, done.queue, done.max_attempts) == (published.job_ids[0], "my-new-job", "email", 4)
    assert (done.result, heard) == ({"success": True}, [NewEvent(user_id=7)])


@pytest.mark.requirement("B13", "B14", "U05")
def test_a_function_of_two_is_given_the_steps(site: Site) -> None:
    done: list[int] = []

    def do_something(user_id: int) -> dict[str, int]:
        done.append(user_id)
        return {"user": user_id}

    @site.jobs.create_function(id="with-step", event=NewEvent, retries=1, min_backoff=0)
    def run(event: NewEvent, step: Any) -> dict[str, Any]:
        found = step.run("do-something", do_something, event.user_id)
        if current_job.attempt == 1:
            raise RuntimeError("once")
        return {"success": True, **found}

    site.jobs.publish(NewEvent(user_id=7))
    site.worker.drain(include_delayed=True)

    [job] = site.all_jobs()
    assert (job.state, job.attempt, job.result) == ("completed", 2, {"success": True, "user": 7})
    assert done == [7]


def test_what_cannot_be_a_function_of_an_event_is_refused(sqlite_site: Site) -> None:
    create: Any = sqlite_site.jobs.create_function

    with pytest.raises(ConfigError, match="Did you mean 'my/new-event'"):
        create(id="x", event="my/new-evnt")
    with pytest.raises(ConfigError, match="has 0 parameters"):
        create(id="x", event=NewEvent)(lambda: None)
    with pytest.raises(ConfigError, match="has 3 parameters"):
        create(id="x", event=NewEvent)(lambda a, b, c: None)
    with pytest.raises(ConfigError, match="got 7"):
        create(id="x", event=NewEvent)(7)
    with pytest.raises(ConfigError, match="max_retries"):
        create(id="x", event=NewEvent, retries=-1)(lambda event: None)
    assert "x" not in sqlite_site.jobs.broker.actors
