"""Bulks: one verb for all jobs of a filter."""

from __future__ import annotations

import inspect
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from flask_understudy import Principal
from flask_understudy.clock.bulks import bulks
from flask_understudy.errors import InvalidJob, JobConflict, JobNotFound
from flask_understudy.ledger import Bulk
from flask_understudy.ledger.filter import Filter
from flask_understudy.ledger.queries import timeline
from flask_understudy.ledger.scope import EVERYTHING, Scope
from flask_understudy.operations import bulk
from flask_understudy.operations.bulk_filters import moment
from tests.flask_understudy.conftest import MakeSite, Site
from tests.flask_understudy.rest.conftest import Api, open_api
from tools.waiting import wait_for

OLGA = Principal("olga", "acme")
FAILED = Filter(states=("failed",))


@pytest.fixture
def api(site: Site) -> Api:
    return open_api(site)


def done(site: Site, asked: Bulk, n: int = 2) -> Bulk:
    while asked.state == bulk.RUNNING:
        asked = bulk.step(site.state, asked.id, n)
    return asked


def states(site: Site) -> Counter[str]:
    return Counter(job.state for job in site.all_jobs())


def test_all_jobs_of_a_filter_are_retried_and_no_others(api: Api) -> None:
    alike = [api.fail(f"disk {n}") for n in range(5)]
    other = api.fail("k", "key")
    [fingerprint] = {api.site.job(id).fingerprint for id in alike}

    asked = bulk.start(api.site.state, OLGA, Scope("acme"), "retry", Filter(fingerprint=fingerprint))
    ended = done(api.site, asked)

    assert (ended.matched, ended.done, ended.skipped, ended.state) == (5, 5, 0, "completed")
    assert {api.site.job(id).state for id in alike} == {"waiting"}
    assert api.site.job(other).state == "failed"


def test_a_job_that_fails_again_meanwhile_is_not_retried_twice(api: Api) -> None:
    ids = [api.fail(str(n)) for n in range(4)]
    asked = bulk.start(api.site.state, OLGA, EVERYTHING, "retry", FAILED)

    bulk.step(api.site.state, asked.id, 2)
    api.site.worker.drain()
    ended = done(api.site, asked)
    api.site.worker.drain()

    assert ended.done == 4
    assert {api.site.job(id).attempt for id in ids} == {2}


@pytest.mark.parametrize(
    ("action", "wanted", "left"),
    [
        ("cancel", Filter(), {"cancelled": 3, "active": 1, "failed": 2}),
        ("cancel", Filter(states=("waiting",)), {"cancelled": 3, "active": 1, "failed": 2}),
        ("delete", Filter(), {"waiting": 3, "active": 1}),
        ("delete", Filter(states=("waiting", "failed")), {"active": 1}),
        ("delete", FAILED, {"waiting": 3, "active": 1}),
        ("retry", Filter(), {"waiting": 5, "active": 1}),
        ("replay", FAILED, {"waiting": 5, "active": 1, "failed": 2}),
    ],
)
def test_each_action_touches_what_its_state_allows(api: Api, action: str, wanted: Filter, left: dict[str, int]) -> None:
    for n in range(3):
        api.send(str(n))
    api.fail("1"), api.fail("2")
    running = api.send("running")
    api.site.claim(api.site.process(), running)

    ended = done(api.site, bulk.start(api.site.state, OLGA, Scope("acme"), action, wanted))

    assert states(api.site) == left
    assert ended.done + ended.skipped == ended.matched
    assert (api.site.job(running).cancel_requested_at is not None) == (action == "cancel" and not wanted.states)


@pytest.mark.requirement("P04")
def test_other_tenants_jobs_are_not_touched(api: Api) -> None:
    theirs = api.fail("x", tenant="other")
    api.fail("x")

    ended = done(api.site, bulk.start(api.site.state, OLGA, Scope("acme"), "delete", Filter()))

    assert ended.matched == 1
    assert [job.id for job in api.site.all_jobs()] == [theirs]
    assert bulk.find(api.site.state, ended.id, Scope("other")) is None
    with pytest.raises(JobNotFound):
        bulk.abort(api.site.state, ended.id, Scope("other"))


def test_jobs_that_come_later_are_not_meant(api: Api) -> None:
    api.fail("before")
    asked = bulk.start(api.site.state, OLGA, EVERYTHING, "delete", Filter())
    api.site.execute(f"UPDATE understudy_bulks SET created_at = {api.site.moment(0)}")
    later = api.send("after")
    api.site.change(later, created_at=api.site.moment(1))

    done(api.site, asked)

    assert [job.id for job in api.site.all_jobs()] == [later]


def later_than(api: Api, at: datetime) -> None:
    """Wait until what is stored lies behind a moment."""
    wait_for(lambda: moment(api.site.state) > at, "the database's clock to go on")


@pytest.mark.requirement("O01")
@pytest.mark.parametrize(
    ("action", "wanted"),
    [("cancel", Filter(actors=("work",))), ("cancel", Filter()), ("retry", FAILED), ("delete", FAILED)],
)
def test_jobs_that_come_after_its_dry_run_are_not_meant(api: Api, action: str, wanted: Filter) -> None:
    make = api.send if action == "cancel" else api.fail
    before = {make("1"), make("2")}
    tried = bulk.trial(api.site.state, EVERYTHING, action, wanted)
    later_than(api, tried.as_of)
    late = make("3")

    again = bulk.trial(api.site.state, EVERYTHING, action, wanted, tried.as_of)
    asked = bulk.start(api.site.state, OLGA, EVERYTHING, action, wanted, as_of=tried.as_of, expected=2)
    ended = done(api.site, asked, 1)

    assert tried.matched == again.matched == asked.expected == ended.done == 2
    assert {job.id for job in tried.sample} == before
    assert api.site.job(late).state == ("waiting" if action == "cancel" else "failed")


def test_another_number_than_was_expected_starts_nothing(api: Api) -> None:
    first, _ = api.send("1"), api.send("2")
    tried = bulk.trial(api.site.state, EVERYTHING, "cancel", Filter())
    api.site.jobs.cancel(first)

    with pytest.raises(JobConflict, match="By now it would touch 1 job and not 2 as expected; nothing was done."):
        bulk.start(api.site.state, OLGA, EVERYTHING, "cancel", Filter(), as_of=tried.as_of, expected=2)
    with pytest.raises(JobConflict, match="would touch 1 job and not 0"):
        bulk.start(api.site.state, OLGA, EVERYTHING, "cancel", Filter(), expected=0)
    assert bulk.running(api.site.state) == []

    api.fail("3"), api.fail("4")
    assert bulk.start(api.site.state, OLGA, EVERYTHING, "retry", Filter(), most=2, expected=2).expected == 2


def test_it_touches_so_many_at_the_most_and_can_be_aborted(api: Api) -> None:
    for n in range(5):
        api.fail(str(n))
    site = api.site

    assert done(site, bulk.start(site.state, OLGA, EVERYTHING, "retry", FAILED, most=3)).matched == 3
    asked = bulk.start(site.state, OLGA, EVERYTHING, "cancel", Filter())
    bulk.step(site.state, asked.id, 1)
    aborted = bulk.abort(site.state, asked.id, EVERYTHING)
    assert (aborted.state, aborted.matched) == ("aborted", 1)
    assert bulk.step(site.state, asked.id).matched == 1
    with pytest.raises(JobConflict):
        bulk.abort(site.state, asked.id, EVERYTHING)


def test_of_two_that_share_a_key_one_is_reopened(api: Api) -> None:
    for _ in range(2):
        api.fail("x", dedup_key="one")

    ended = done(api.site, bulk.start(api.site.state, OLGA, EVERYTHING, "retry", FAILED), 10)

    assert (ended.done, ended.skipped) == (1, 1)
    assert states(api.site) == {"waiting": 1, "failed": 1}


def test_two_that_step_at_once_share_the_work(api: Api) -> None:
    for n in range(12):
        api.fail(str(n))
    asked = bulk.start(api.site.state, OLGA, EVERYTHING, "replay", FAILED)
    barrier = threading.Barrier(4)

    def work(_: int) -> None:
        barrier.wait()
        done(api.site, asked, 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert states(api.site) == {"failed": 12, "waiting": 12}


def test_the_clock_does_what_was_asked_for(api: Api) -> None:
    for n in range(3):
        api.fail(str(n))
    asked = bulk.start(api.site.state, OLGA, EVERYTHING, "retry", FAILED)

    bulks(api.site.state)

    ended = bulk.find(api.site.state, asked.id, EVERYTHING)
    assert ended is not None
    assert (ended.state, ended.done) == ("completed", 3)
    assert bulks(api.site.state) == 0


def test_an_unknown_action_or_bulk_is_refused(api: Api) -> None:
    with pytest.raises(InvalidJob, match="'explode' is no bulk action; there are retry, replay"):
        bulk.start(api.site.state, OLGA, EVERYTHING, "explode", FAILED)
    with pytest.raises(JobNotFound):
        bulk.step(api.site.state, "nothing")


def test_arguments_that_were_given_by_position_are_found_by_their_name(site: Site) -> None:
    @site.jobs.actor(actor_name="greet")
    def greet(name: str) -> None:
        """Greet."""

    with site.app.app_context():
        ada = greet.send("ada").message_id
        greet.send("bob")
    wanted = Filter(payload=((("name",), "ada"),))

    assert bulk.count(site.state, EVERYTHING, wanted) == (1, True)
    started = bulk.start(site.state, Principal("olga"), EVERYTHING, "cancel", wanted)
    while started.state == "running":
        started = bulk.step(site.state, started.id)

    assert started.done == 1
    assert site.job(ada).state == "cancelled"


def test_signatures_of_actors_are_read_for_payloads_alone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    id = api.send("ada")
    read: list[object] = []
    signature = inspect.signature

    def reading(fn: Any, **options: Any) -> inspect.Signature:
        read.append(fn)
        return signature(fn, **options)

    monkeypatch.setattr(inspect, "signature", reading)
    actors = {actor.fn for actor in api.actors.values()}

    wanted = Filter(states=("waiting",), queues=("email",), text=id[:8])
    assert [job.id for job in bulk.sample(api.site.state, EVERYTHING, wanted)] == [id]
    assert actors.isdisjoint(read)
    assert bulk.count(api.site.state, EVERYTHING, Filter(payload=((("to",), "ada"),))) == (1, True)
    assert actors <= set(read)


# -- changing jobs that wait -------------------------------------------------------------------------------------------


def mixed(api: Api) -> dict[str, str]:
    """One job of the queue email in each state but cancelled, by its state."""
    found = {"waiting": api.send("1"), "delayed": api.send("2", delay=3_600_000), "active": api.send("3")}
    api.site.claim(api.site.process(), found["active"])
    api.site.worker.run(completed := api.send("4"))
    return {**found, "completed": completed}


@pytest.mark.parametrize(
    ("action", "changes", "changed"),
    [
        ("change_queue", {"queue": "reports"}, {"waiting", "delayed"}),
        ("change_priority", {"priority": -7}, {"waiting", "delayed"}),
        ("run_now", {}, {"delayed"}),
    ],
)
@pytest.mark.parametrize("by", ["filter", "ids"])
def test_jobs_that_wait_are_changed_and_no_others(
    api: Api, action: str, changes: dict[str, Any], changed: set[str], by: str
) -> None:
    ids = mixed(api)
    before = {name: api.site.job(id) for name, id in ids.items()}
    wanted = Filter(queues=("email",)) if by == "filter" else Filter(ids=tuple(ids.values()))

    tried = bulk.trial(api.site.state, Scope("acme"), action, wanted)
    asked = bulk.start(api.site.state, OLGA, Scope("acme"), action, wanted, changes=changes)
    ended = done(api.site, asked, 1)

    assert (tried.matched, tried.left) == (len(changed), 4 - len(changed))
    assert {job.id for job in tried.sample} == {ids[name] for name in changed}
    assert ended.done == len(changed)
    assert ended.done + ended.skipped == ended.matched == (4 if by == "ids" else len(changed))
    told = {"run_now": "hastened"}.get(action, "amended")
    for name, id in ids.items():
        now = api.site.job(id)
        if name in changed:
            assert all(getattr(now, field) == value for field, value in changes.items())
            assert now.state == ("waiting" if action == "run_now" else name)
            assert [line.kind for line in timeline(api.site.state.database, id)] == [told]
        else:
            assert (now.queue, now.priority, now.state, now.run_at) == (
                before[name].queue,
                before[name].priority,
                before[name].state,
                before[name].run_at,
            )


def test_a_job_that_is_so_already_keeps_its_turn(api: Api) -> None:
    first, second = api.send("1", priority=4), api.send("2", priority=5)
    turn = api.site.job(first).turn_at

    ended = done(
        api.site,
        bulk.start(api.site.state, OLGA, EVERYTHING, "change_priority", Filter(), changes={"priority": 4}),
        10,
    )

    assert (ended.done, ended.skipped) == (1, 1)
    assert (api.site.job(first).turn_at, api.site.job(second).priority) == (turn, 4)
    assert timeline(api.site.state.database, first) == []


@pytest.mark.parametrize(
    ("action", "changes", "said"),
    [
        ("change_queue", {}, "change_queue takes the new queue, and none was given."),
        ("change_queue", {"queue": "nowhere"}, "No queue is named 'nowhere'. There are: .*email"),
        ("change_queue", {"queue": "email", "priority": 1}, "change_queue changes no priority."),
        ("change_priority", {"queue": "email"}, "change_priority takes the new priority"),
        ("change_priority", {"priority": 1001}, "a whole number from -1000 to 1000"),
        ("change_priority", {"priority": True}, "a whole number from -1000 to 1000"),
        ("run_now", {"queue": "email"}, "run_now changes no queue."),
        ("retry", {"priority": 1}, "retry changes no priority."),
    ],
)
def test_a_change_that_cannot_be_starts_nothing(api: Api, action: str, changes: dict[str, Any], said: str) -> None:
    id = api.send("1")

    with pytest.raises(InvalidJob, match=said):
        bulk.start(api.site.state, OLGA, EVERYTHING, action, Filter(ids=(id,)), changes=changes)

    assert bulk.running(api.site.state) == []


def test_those_that_are_changed_are_announced_where_they_are_now(
    make_site: MakeSite, ledger_url: str, redis_url: str
) -> None:
    api = open_api(make_site(ledger_url, redis_url))
    api.send("1"), api.send("2", delay=3_600_000)
    transport = api.site.state.transport
    assert transport.depths(["email", "reports"]) == {"email": 1, "reports": 0}

    def change(action: str, **changes: Any) -> None:
        done(api.site, bulk.start(api.site.state, OLGA, EVERYTHING, action, Filter(), changes=changes), 10)

    change("change_queue", queue="reports")
    assert transport.depths(["reports"]) == {"reports": 1}  # the delayed one is not to be heard of yet
    change("run_now")
    assert transport.depths(["reports"]) == {"reports": 2}
