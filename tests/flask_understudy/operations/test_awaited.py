"""Jobs that a step suspended: running them now ends a sleep, and never stands for an answer that has not come."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from flask_understudy import step
from flask_understudy.errors import JobConflict
from flask_understudy.ledger import Job
from flask_understudy.ledger.filter import Filter
from flask_understudy.ledger.scope import Scope
from flask_understudy.operations import bulk, scheduled
from flask_understudy.operations.jobs import run_now
from flask_understudy.operations.reasons import reason_to_wait
from tests.flask_understudy.conftest import Site
from tests.flask_understudy.operations.test_bulk import OLGA, done
from tests.flask_understudy.rest.conftest import Api, open_api
from tests.flask_understudy.steps.test_waiting import LeaveApproved


@pytest.fixture
def api(site: Site) -> Api:
    """A site whose actors ask, wait, sleep and mail."""
    api, jobs = open_api(site), site.jobs

    @jobs.actor(queue_name="email", actor_name="ask", api=True, max_retries=0)
    def ask(to: str = "ann") -> str:
        return step.approve("manager", prompt="Three days off?", to=to).state

    @jobs.actor(queue_name="email", actor_name="wait", api=True, max_retries=0)
    def wait() -> Any:
        event = step.wait_for("signed", LeaveApproved, timeout=timedelta(days=3))
        return event and event.by

    @jobs.actor(queue_name="email", actor_name="sleep", api=True, max_retries=0)
    def sleep() -> str:
        step.sleep("cool off", hours=1)
        return "awake"

    @jobs.actor(queue_name="email", actor_name="mail", api=True, max_retries=3, min_backoff=3_600_000)
    def mail() -> str:
        def notify(link: str) -> None:
            raise ConnectionError("no route")

        return step.approve("manager", prompt="?", notify=notify).state

    @jobs.actor(queue_name="email", actor_name="again", api=True, max_retries=0, min_backoff=3_600_000)
    def again() -> None:
        step.run("call", lambda: 1 / 0, attempts=3)

    api.actors.update(ask=ask, wait=wait, sleep=sleep, mail=mail, again=again)
    return api


def suspended(api: Api, actor: str, *args: Any) -> Job:
    """A job that a step suspended."""
    id = api.send(*args, actor=actor)
    job = api.site.worker.run(id)
    assert job.state == "delayed"
    return api.site.job(id)


@pytest.mark.requirement("B14", "L09")
@pytest.mark.parametrize(
    ("actor", "reason", "remedy"),
    [
        ("ask", "awaits the decision of 'ann' in step 'manager'; .* it goes on as not approved", "Approve or reject"),
        (
            "wait",
            "awaits the event 'leave.signed' in step 'signed'; .* goes on without the event",
            "Publish that event",
        ),
    ],
)
def test_a_job_that_awaits_something_is_not_run_before(api: Api, actor: str, reason: str, remedy: str) -> None:
    job = suspended(api, actor)
    state = api.site.state
    assert re.search(reason, str(reason_to_wait(state, job)))
    with pytest.raises(JobConflict, match=f"in step '.*'. {remedy}"):
        run_now(state, job.id)
    assert remedy in api.post(f"/{job.id}/run-now", 409)["detail"]

    after = api.site.job(job.id)
    assert (after.state, after.run_at) == ("delayed", job.run_at)


def test_it_goes_on_with_the_answer_that_comes(api: Api) -> None:
    asked, waits = suspended(api, "ask"), suspended(api, "wait")
    for job in (asked, waits):
        api.post(f"/{job.id}/run-now", 409)
    [approval] = api.get("/approvals")["data"]

    api.post(f"/approvals/{approval['id']}/approve")
    api.post(f"/workflows/runs/{waits.id}/signal", json={"payload": {"employee_id": 1, "by": "Ann"}})

    assert api.site.worker.run(asked.id).result == "approved"
    assert api.site.worker.run(waits.id).result == "Ann"


@pytest.mark.parametrize("actor", ["sleep", "again"])
def test_one_that_goes_on_by_itself_wakes_up(api: Api, actor: str) -> None:
    job = suspended(api, actor)
    told = {"sleep": "Its step 'cool off' sleeps until", "again": "Its step 'call' failed and is tried again at"}
    assert told[actor] in str(reason_to_wait(api.site.state, job))

    run_now(api.site.state, job.id)

    assert api.site.job(job.id).state == "waiting"
    if actor == "sleep":
        assert api.site.worker.run(job.id).result == "awake"


def test_one_whose_mail_failed_is_tried_again_and_asks_on(api: Api) -> None:
    job = suspended(api, "mail")
    assert "Attempt 1 failed" in str(reason_to_wait(api.site.state, job))

    run_now(api.site.state, job.id)

    assert api.site.worker.run(job.id).attempt == 2
    assert [approval["state"] for approval in api.get("/approvals")["data"]] == ["pending"]


def test_a_bulk_leaves_those_that_await_something_and_says_so(api: Api) -> None:
    left = {suspended(api, "ask").id, suspended(api, "wait").id}
    run = {suspended(api, "sleep").id, api.send("1", delay=3_600_000)}
    state = api.site.state
    for wanted in (Filter(queues=("email",)), Filter(ids=(*left, *run))):
        tried = bulk.trial(state, Scope("acme"), "run_now", wanted)
        assert (tried.matched, tried.left) == (2, 2)
        assert {job.id for job in tried.sample} == run

    ended = done(api.site, bulk.start(state, OLGA, Scope("acme"), "run_now", Filter(ids=(*left, *run))), 10)

    assert (ended.done, ended.skipped) == (2, 2)
    assert {id for id in (*left, *run) if api.site.job(id).state == "waiting"} == run


def test_the_command_says_what_to_do_instead(api: Api) -> None:
    job = suspended(api, "ask")

    said = api.site.app.test_cli_runner().invoke(args=["jobs", "run-now", job.id])

    assert said.exit_code == 1
    assert "Approve or reject the approval" in said.output
    assert api.site.job(job.id).state == "delayed"


def test_one_that_has_started_is_no_job_for_a_date(api: Api) -> None:
    job, dated = suspended(api, "ask"), api.send("1", delay=3_600_000)

    assert [found.id for found in scheduled.listing(api.site.state)] == [dated]
    assert scheduled.status_of(job) == "enqueued"
    with pytest.raises(JobConflict, match="has started"):
        scheduled.cancel(api.site.state, job.id)
