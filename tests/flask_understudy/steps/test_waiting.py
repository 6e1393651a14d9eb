"""Waiting for events: those that come, those that came before, and those that never do."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from flask_understudy import Event, step
from flask_understudy.clock.waits import waits as waits_turn
from flask_understudy.ledger import Wait, waits
from flask_understudy.ledger.statements import run
from flask_understudy.ledger.waits import Happened
from tests.flask_understudy.conftest import MakeSite, Site
from tests.flask_understudy.steps.test_steps import described, steps_of

PUBLISH = """
INSERT INTO understudy_events (id, tenant, name, version, payload, at)
VALUES (:id, :tenant, :name, 1, <json::payload>, <now>)"""


class LeaveApproved(Event, name="leave.signed"):
    employee_id: int
    by: str = ""


def store(connection: Connection, tenant: str = "", **payload: Any) -> Happened:
    """Store an event, as a publisher does, and settle nothing."""
    event = Happened(str(uuid.uuid4()), tenant, LeaveApproved.event_name, payload)
    run(connection, PUBLISH, id=event.id, tenant=tenant, name=event.name, payload=json.dumps(payload))
    return event


def publish(site: Site, tenant: str = "", **payload: Any) -> int:
    """Publish an event; return how many jobs it wakes."""
    with site.state.database.transaction() as connection:
        return len(waits.meet(connection, [store(connection, tenant, **payload)]))


def waits_of(site: Site, message: Any) -> list[Wait]:
    with Session(site.state.database.own_engine) as session:
        found = sa.select(Wait).where(Wait.job_id == message.message_id).order_by(Wait.position)
        return list(session.scalars(found))


@pytest.fixture
def waiting(site: Site) -> Any:
    """An actor that waits for the leave of an employee."""

    @site.jobs.actor(max_retries=0)
    def wait(employee_id: int, seconds: float = 3600) -> Any:
        event = step.wait_for(
            "approval", LeaveApproved, match={"employee_id": employee_id}, timeout=timedelta(seconds=seconds)
        )
        return None if event is None else [type(event).__name__, event.employee_id, event.by]

    return wait


@pytest.mark.requirement("B14", "V02")
def test_a_job_goes_on_with_the_event_it_waits_for(site: Site, waiting: Any) -> None:
    message = waiting.send(7)
    assert site.worker.run(message).state == "delayed"

    assert publish(site, employee_id=8) == 0
    assert publish(site, employee_id=7, by="Ann") == 1
    assert site.job(message).state == "waiting"
    assert publish(site, employee_id=7, by="Bob") == 0
    site.worker.drain()

    job = site.job(message)
    assert (job.state, job.attempt, job.result) == ("completed", 1, ["LeaveApproved", 7, "Ann"])
    assert described(site, message) == [("approval", "completed")]
    assert steps_of(site, message)[0].finished_at is not None


@pytest.mark.requirement("B14", "V02")
def test_an_event_that_came_before_the_wait_counts_if_the_job_was_there(site: Site, waiting: Any) -> None:
    publish(site, employee_id=7, by="too early")
    site.tick()
    message = waiting.send(7)
    publish(site, employee_id=8, by="somebody else's")
    publish(site, employee_id=7, by="Ann")

    job = site.worker.run(message)

    assert (job.state, job.result) == ("completed", ["LeaveApproved", 7, "Ann"])


def test_each_event_is_taken_once_and_in_order(site: Site) -> None:
    @site.jobs.actor(max_retries=0)
    def work() -> list[int]:
        events = [step.wait_for("next", LeaveApproved) for _ in range(3)]
        return [event.employee_id for event in events if event]

    message = work.send()
    publish(site, employee_id=1)
    publish(site, employee_id=2)
    assert site.worker.run(message).state == "delayed"
    assert publish(site, employee_id=3) == 1
    assert site.worker.run(message).result == [1, 2, 3]


def test_events_published_together_are_taken_in_order(site: Site) -> None:
    @site.jobs.actor(max_retries=0)
    def work() -> list[int]:
        events = [step.wait_for("next", LeaveApproved) for _ in range(2)]
        return [event.employee_id for event in events if event]

    message = work.send()
    site.worker.run(message)
    with site.state.database.transaction() as connection:
        waits.meet(connection, [store(connection, employee_id=n) for n in (1, 2)])

    assert site.worker.run(message).result == [1, 2]


@pytest.mark.requirement("B14")
def test_an_event_that_does_not_come_in_time_is_none_for_ever(site: Site) -> None:
    @site.jobs.actor(max_retries=1, min_backoff=0)
    def work() -> bool:
        late = step.wait_for("approval", LeaveApproved, timeout=timedelta(milliseconds=1)) is None
        step.sleep("nap", hours=1)
        return late

    message = work.send()
    site.worker.run(message)
    assert site.worker.run(message).state == "delayed"
    publish(site, employee_id=7)

    assert site.worker.run(message).result is True
    assert described(site, message) == [("approval", "timed_out"), ("nap", "completed")]


def test_an_event_that_nobody_saw_is_found_before_the_job_gives_up(site: Site, waiting: Any) -> None:
    message = waiting.send(7, 0.001)
    site.worker.run(message)
    with site.state.database.transaction() as connection:
        store(connection, employee_id=7, by="Ann")  # and its publisher did not see the wait

    assert site.worker.run(message).result == ["LeaveApproved", 7, "Ann"]
    assert waits_of(site, message)[0].event_id is not None


def test_the_clock_settles_waits_that_crossed_their_events(site: Site, waiting: Any) -> None:
    message = waiting.send(7)
    site.worker.run(message)
    with site.state.database.transaction() as connection:
        store(connection, employee_id=7, by="Ann")
        store(connection, employee_id=8, by="somebody else's")

    assert waits_turn(site.state) == 1
    assert waits_turn(site.state) == 0

    assert site.job(message).state == "waiting"
    site.worker.drain()
    assert site.job(message).result == ["LeaveApproved", 7, "Ann"]


def test_the_clock_wakes_a_job_that_went_to_sleep_after_its_event_had_come(site: Site, waiting: Any) -> None:
    message = waiting.send(7)
    site.worker.run(message)
    site.change(message, state="'active'")  # it was woken for nothing and is about to be suspended again
    assert publish(site, employee_id=7) == 0
    site.change(message, state="'delayed'")

    assert waits_turn(site.state) == 1
    assert site.job(message).state == "waiting"


def test_a_job_between_two_attempts_keeps_its_back_off(site: Site) -> None:
    @site.jobs.actor(max_retries=1, min_backoff=3_600_000)
    def work() -> None:
        step.wait_for("approval", LeaveApproved)
        raise RuntimeError

    message = work.send()
    publish(site, employee_id=7)
    site.worker.run(message)

    assert waits_turn(site.state) == 0
    assert site.job(message).state == "delayed"


def test_what_a_publisher_takes_back_wakes_nobody(site: Site, waiting: Any) -> None:
    message = waiting.send(7)
    site.worker.run(message)

    with site.state.database.own_engine.connect() as connection:
        waits.meet(connection, [store(connection, employee_id=7)])
        connection.rollback()

    assert site.job(message).state == "delayed"
    assert waits_of(site, message)[0].settled_at is None


@pytest.mark.requirement("P03")
def test_tenants_do_not_see_each_other_s_events(site: Site, waiting: Any) -> None:
    message = waiting.send_with_options(args=(7,), tenant="aster")
    publish(site, "birch", employee_id=7, by="before")
    publish(site, "", employee_id=7, by="before")
    assert site.worker.run(message).state == "delayed"

    assert publish(site, "birch", employee_id=7) == 0
    assert publish(site, "", employee_id=7) == 0
    waits_turn(site.state)
    assert site.job(message).state == "delayed"
    assert publish(site, "aster", employee_id=7, by="Ann") == 1
    assert site.worker.run(message).result == ["LeaveApproved", 7, "Ann"]


@pytest.mark.requirement("P03")
def test_of_two_tenants_that_wait_alike_one_hears(site: Site, waiting: Any) -> None:
    messages = {tenant: waiting.send_with_options(args=(7,), tenant=tenant) for tenant in ("aster", "birch")}
    for message in messages.values():
        site.worker.run(message)

    assert publish(site, "birch", employee_id=7) == 1

    assert {tenant: site.job(message).state for tenant, message in messages.items()} == {
        "aster": "delayed",
        "birch": "waiting",
    }


def test_many_jobs_hear_of_one_event(site: Site, waiting: Any) -> None:
    messages = [waiting.send(7) for _ in range(3)] + [waiting.send(8)]
    for message in messages:
        site.worker.run(message)

    assert publish(site, employee_id=7) == 3


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: step.wait_for("a", dict), "A step waits for a class of events"),  # type: ignore[type-var]
        (lambda: step.wait_for("a", BaseModel), "A step waits for a class of events"),
        (lambda: step.wait_for("a", LeaveApproved, match={"employee": 7}), "'employee' is no field of LeaveApproved"),
        (lambda: step.wait_for("a", LeaveApproved, match={"employee_id": [7]}), "it takes one text, number"),
        (lambda: step.wait_for("a", LeaveApproved, match={"employee_id": object()}), "it takes one text, number"),
        (lambda: step.wait_for("a", LeaveApproved, match=[7]), "it takes a dict of the event's fields"),  # type: ignore[arg-type]
        (lambda: step.wait_for("a", LeaveApproved, timeout=7), "The timeout of step 'a' is 7"),  # type: ignore[arg-type]
        (lambda: step.wait_for("a", LeaveApproved, timeout=timedelta(-1)), "it takes a timedelta from 0"),
    ],
)
def test_a_wait_that_makes_no_sense_is_refused_in_words(sqlite_site: Site, ask: Any, says: str) -> None:
    @sqlite_site.jobs.actor(max_retries=0)
    def work() -> None:
        ask()

    job = sqlite_site.worker.run(work.send())

    assert says in str(job.error)


def test_waits_are_deleted_with_their_job(site: Site, waiting: Any) -> None:
    message = waiting.send(7)
    site.worker.run(message)
    site.jobs.cancel(message.message_id)
    site.tick()
    site.jobs.clean("default", "cancelled")

    assert waits_of(site, message) == []


@pytest.mark.parametrize("events_first", [True, False])
def test_no_event_is_lost_among_jobs_that_wait_in_a_worker(carried_site: Site, events_first: bool) -> None:
    site = carried_site

    @site.jobs.actor(max_retries=0)
    def work(n: int) -> int:
        event = step.wait_for("approval", LeaveApproved, match={"employee_id": n}, timeout=timedelta(seconds=60))
        return -1 if event is None else event.employee_id

    messages = [work.send(n) for n in range(20)]
    if not events_first:
        site.start_worker()
    for n in range(20):
        publish(site, employee_id=n)
    if events_first:
        site.start_worker()

    for n, message in enumerate(messages):
        assert site.eventually("completed", message, within=20).result == n


def test_an_event_and_a_wait_that_miss_each_other_meet_by_the_clock(make_site: MakeSite, postgres_ledger: str) -> None:
    site = make_site(postgres_ledger)

    @site.jobs.actor(max_retries=0)
    def work() -> int:
        event = step.wait_for("approval", LeaveApproved)
        return event.employee_id if event else 0

    message = work.send()
    with site.state.database.transaction() as connection:  # neither sees what the other has not committed
        assert waits.meet(connection, [store(connection, employee_id=7)]) == []
        assert site.worker.run(message).state == "delayed"
    assert site.job(message).state == "delayed"

    assert waits_turn(site.state) == 1

    assert site.worker.run(message).result == 7


def test_two_publishers_at_once_settle_a_wait_once(make_site: MakeSite, postgres_ledger: str) -> None:
    site = make_site(postgres_ledger)

    @site.jobs.actor(max_retries=0)
    def work() -> int:
        event = step.wait_for("approval", LeaveApproved)
        return event.employee_id if event else 0

    message = work.send()
    site.worker.run(message)
    with site.state.database.transaction() as first:
        assert len(waits.meet(first, [store(first, employee_id=1)])) == 1
        assert publish(site, employee_id=2) == 0  # neither waits for the other nor takes it away

    assert site.worker.run(message).result == 1
