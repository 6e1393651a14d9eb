"""Bulks, failures, workers and the audit over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from flask_understudy.clock.bulks import bulks
from flask_understudy.operations import bulk
from flask_understudy.operations.bulk_filters import moment
from tests.flask_understudy.conftest import Site
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, Api, open_api
from tools.waiting import wait_for


def test_a_bulk_is_tried_dry_then_done(api: Api) -> None:
    ids = [api.fail(f"disk {n}") for n in range(3)]
    api.fail("x", tenant="other")
    order = {"action": "retry", "filter": {"status": ["failed"], "error": "DISK"}}

    dry = api.post("/bulk", json={**order, "dryRun": True})
    assert (dry["matched"], len(dry["sample"])) == (3, 3)
    assert api.site.job(ids[0]).state == "failed"

    started = api.post("/bulk", 202, json=order)
    bulks(api.site.state)
    shown = api.get(f"/bulk/{started['id']}")
    assert (shown["state"], shown["matched"], shown["done"]) == ("completed", 3, 3)
    api.post(f"/bulk/{started['id']}/abort", 409)
    api.as_(tenant="other").get(f"/bulk/{started['id']}", 404)


def test_a_bulk_can_name_its_jobs_and_be_aborted(api: Api) -> None:
    mine, theirs = api.send("a"), api.send("b", tenant="other")

    started = api.post("/bulk", 202, json={"action": "cancel", "ids": [mine, theirs]})
    bulks(api.site.state)
    assert (api.site.job(mine).state, api.site.job(theirs).state) == ("cancelled", "waiting")
    assert api.get(f"/bulk/{started['id']}")["done"] == 1
    other = api.post("/bulk", 202, json={"action": "delete", "ids": [mine]})
    assert api.post(f"/bulk/{other['id']}/abort")["state"] == "aborted"
    bulks(api.site.state)
    assert api.site.job(mine).state == "cancelled"


@pytest.mark.parametrize(
    "body",
    [
        {"action": "explode", "ids": ["x"]},
        {"action": "delete", "ids": []},
        {"action": "retry", "filter": {"status": ["completed"]}},
        {"action": "delete", "filter": {"status": ["failed"], "createdBefore": "0001-01-01T00:00:00+14:00"}},
        {"action": "retry"},
        {"action": "retry", "filter": {}},
        {"action": "retry", "filter": {"status": ["failed"]}, "ids": ["x"]},
        {"action": "retry", "filter": {"colour": "red"}},
        {"action": "retry", "filter": {"status": ["gone"]}},
        {"action": "retry", "filter": {"status": ["failed"]}, "limit": 0},
    ],
)
def test_a_wrong_bulk_is_refused(sqlite_api: Api, body: dict[str, Any]) -> None:
    sqlite_api.post("/bulk", 422, json=body)


def test_a_bulk_means_the_states_that_allow_it(api: Api) -> None:
    failed, waiting = api.fail(), api.send("a")

    dry = api.post("/bulk", json={"action": "retry", "filter": {"tag": [], "status": [], "q": ""}, "dryRun": True})
    api.post("/bulk", 202, json={"action": "retry", "filter": {"status": ["failed", "waiting"]}})
    bulks(api.site.state)

    assert dry["matched"] == 1
    assert api.site.job(failed).state == "waiting"
    assert [line["kind"] for line in api.get(f"/{waiting}/logs")["data"]] == []


def test_the_audit_tells_what_a_bulk_meant_and_did(api: Api) -> None:
    api.fail("disk 1")

    order = {"action": "delete", "filter": {"status": ["failed"], "payload": ["text:disk 1"]}}
    id = api.post("/bulk", 202, json=order)["id"]
    bulks(api.site.state)

    end, start = api.get("/audit")["data"][:2]
    assert (start["action"], start["target"], end["action"], end["target"]) == ("bulk.start", id, "bulk.end", id)
    assert start["detail"]["filter"] == {"status": ["failed"], "payload": ["text"]}
    assert end["detail"] == {"action": "delete", "matched": 1, "done": 1, "skipped": 0}
    assert (end["subject"], end["tenant"]) == ("olga", "acme")


@pytest.mark.requirement("S02")
def test_the_audit_of_a_tenant_tells_what_operators_did_to_its_jobs(api: Api) -> None:
    operator = api.as_("head-office", "olaf", f"{EVERY_SCOPE} tenants")
    one, gone = api.fail("disk 1"), api.send("a")
    api.fail("disk 2", tenant="other")

    operator.post(f"/{one}/retry")
    operator.delete(f"/{gone}")
    operator.post("/tenants/acme/pause")
    id = operator.post("/bulk", 202, json={"action": "delete", "filter": {"status": ["failed"]}})["id"]
    named = operator.post("/bulk", 202, json={"action": "cancel", "filter": {"tenant": "acme"}})["id"]

    told = [(line["action"], line["target"], line["subject"]) for line in reversed(api.get("/audit")["data"])]
    assert told == [
        ("job.retry", one, "olaf"),
        ("job.delete", gone, "olaf"),
        ("tenant.pause", "acme", "olaf"),
        ("bulk.start", named, "olaf"),
    ]
    [line] = api.as_(tenant="other").get("/audit")["data"]
    assert (line["target"], line["detail"]) == (id, {"action": "delete", "expected": 1})
    assert [line["target"] for line in api.as_(tenant="head-office").get("/audit")["data"]] == [id]


def test_a_callers_own_acts_are_told_to_its_own_tenant(api: Api) -> None:
    theirs = api.send("a", tenant="other")

    api.post(f"/{theirs}/cancel", 404)
    api.post("/bulk", 202, json={"action": "cancel", "ids": [theirs]})

    assert api.as_(tenant="other").get("/audit")["data"] == []
    assert [line["action"] for line in api.get("/audit")["data"]] == ["bulk.start"]


def test_a_bulk_tells_how_many_jobs_it_is_about_while_it_goes_on(api: Api) -> None:
    for n in range(5):
        api.send(str(n))
    order = {"action": "cancel", "filter": {"status": ["waiting"], "type": ["work"]}}

    dry = api.post("/bulk", json={**order, "dryRun": True, "limit": 3})
    limited = api.post("/bulk", 202, json={**order, "limit": 3})
    whole = api.post("/bulk", 202, json=order)
    bulk.step(api.site.state, whole["id"], 2)

    assert (dry["matched"], dry["touched"], len(dry["sample"])) == (5, 3, 3)
    assert (limited["expected"], whole["expected"]) == (3, 5)
    shown = api.get(f"/bulk/{whole['id']}")
    assert (shown["expected"], shown["matched"], shown["state"]) == (5, 2, "running")


@pytest.mark.requirement("O01")
def test_a_bulk_does_what_its_dry_run_said_and_nothing_else(api: Api) -> None:
    ids = [api.send(str(n), tags=["x"]) for n in range(2)]
    order = {"action": "cancel", "filter": {"tag": ["x"]}}
    dry = api.post("/bulk", json={**order, "dryRun": True})
    wait_for(lambda: moment(api.site.state) > datetime.fromisoformat(dry["asOf"]), "the database's clock to go on")
    late = api.send("late", tags=["x"])
    bound = {**order, "asOf": dry["asOf"], "expected": dry["touched"]}

    assert "would touch 3 jobs and not 2" in api.post("/bulk", 409, json={**order, "expected": 2})["detail"]
    assert api.post("/bulk", json={**bound, "dryRun": True})["touched"] == 2
    api.post("/bulk", 202, json=bound)
    bulks(api.site.state)

    assert [api.site.job(id).state for id in (*ids, late)] == ["cancelled", "cancelled", "waiting"]
    assert "would touch 0 jobs" in api.post("/bulk", 409, json=bound)["detail"]
    assert [line["action"] for line in api.get("/audit")["data"]].count("bulk.start") == 3  # two were dry runs


@pytest.mark.requirement("O01", "L06")
def test_jobs_that_wait_are_moved_and_the_answer_says_how_many_were_left(api: Api) -> None:
    moved, running, failed = api.send("1"), api.send("2"), api.fail("disk")
    api.site.claim(api.site.process(), running)
    order = {"action": "change_queue", "queue": "reports", "ids": [moved, running, failed]}

    dry = api.post("/bulk", json={**order, "dryRun": True})
    id = api.post("/bulk", 202, json=order)["id"]
    bulks(api.site.state)

    assert (dry["matched"], dry["touched"], dry["left"]) == (1, 1, 2)
    assert [job["id"] for job in dry["sample"]] == [moved]
    shown = api.get(f"/bulk/{id}")
    assert (shown["done"], shown["skipped"], shown["queue"], shown["priority"]) == (1, 2, "reports", None)
    assert api.site.job(moved).queue == "reports"
    assert api.site.job(running).queue == "email"
    end, start, tried = api.get("/audit")["data"]
    assert start["detail"]["queue"] == tried["detail"]["queue"] == end["detail"]["queue"] == "reports"


def test_all_that_match_get_another_priority_or_run_now(api: Api) -> None:
    ids = [api.send(str(n), delay=3_600_000) for n in range(3)]
    theirs = api.send("x", delay=3_600_000, tenant="other")
    for order in ({"action": "change_priority", "priority": 9}, {"action": "run_now"}):
        api.post("/bulk", 202, json={**order, "filter": {"type": ["work"]}})
    bulks(api.site.state)

    assert {(api.site.job(id).priority, api.site.job(id).state) for id in ids} == {(9, "waiting")}
    assert api.site.job(theirs).state == "delayed"


@pytest.mark.parametrize(
    ("order", "pointer", "said"),
    [
        ({"action": "change_queue", "queue": "nowhere"}, "/queue", "No queue is named 'nowhere'. There are: "),
        ({"action": "change_queue"}, "/queue", "takes the new queue"),
        ({"action": "change_queue", "queue": "email", "priority": 1}, "/priority", "changes no priority"),
        ({"action": "change_priority", "queue": "email"}, "/queue", "takes the new priority"),
        ({"action": "change_priority", "priority": 1001}, "/priority", "less than or equal to 1000"),
        ({"action": "change_priority", "priority": "high"}, "/priority", "valid integer"),
        ({"action": "run_now", "queue": "email"}, "/queue", "changes no queue"),
        ({"action": "retry", "priority": 1}, "/priority", "changes no priority"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_change_that_cannot_be_is_refused_by_name(
    sqlite_api: Api, order: dict[str, Any], pointer: str, said: str, dry_run: bool
) -> None:
    id = sqlite_api.send("1")

    refused = sqlite_api.post("/bulk", 422, json={**order, "ids": [id], "dryRun": dry_run})

    assert [(error["pointer"], said in error["detail"]) for error in refused["errors"]] == [(pointer, True)]
    assert sqlite_api.get("/audit")["data"] == []


def test_failures_are_grouped_by_what_went_wrong(api: Api) -> None:
    for n in range(3):
        api.fail(f"disk {n} of '/srv/{n}' is full")
    api.fail("no", "key")
    api.fail("disk 9 of 'x' is full", tenant="other")

    groups = api.get("/failures")["data"]

    assert sorted(group["count"] for group in groups) == [1, 3]
    [disk] = [group for group in groups if group["count"] == 3]
    assert (disk["type"], disk["verdict"]) == ("broken", "open")
    assert "disk" in disk["error"]
    assert len(api.get(f"?fingerprint={disk['fingerprint']}")["data"]) == 3


def test_a_kind_of_failure_is_retried_ignored_and_resolved(api: Api) -> None:
    id = api.fail("disk 1")
    [group] = api.get("/failures")["data"]
    path = f"/failures/{group['fingerprint']}"

    assert api.post(f"{path}/resolve")["verdict"] == "resolved"
    assert api.get("/failures")["data"] == []
    api.fail("disk 2")
    assert [group["count"] for group in api.get("/failures")["data"]] == [2]
    assert api.post(f"{path}/ignore")["verdict"] == "ignored"
    api.fail("disk 3")
    assert api.get("/failures")["data"] == []
    assert [group["verdict"] for group in api.get("/failures?verdict=all")["data"]] == ["ignored"]
    started = api.post(f"{path}/retry", 202)
    bulks(api.site.state)
    assert api.get(f"/bulk/{started['id']}")["done"] == 3
    assert api.site.job(id).state == "waiting"
    api.post("/failures/0000000000000000/ignore", 404)
    api.as_(tenant="other").post(f"{path}/retry", 404)


def test_workers_are_shown_and_drained(api: Api) -> None:
    process = api.site.process()
    operator = api.as_(scopes=f"{EVERY_SCOPE} tenants")
    api.site.claim(process, api.send("a"))
    api.get("/workers", 403)

    [worker] = operator.get("/workers")["data"]
    assert (worker["id"], worker["active"], worker["isAlive"], worker["drainedAt"]) == (process.id, 1, True, None)
    process.heartbeat.renew()
    assert not process.drained.is_set()
    operator.post(f"/workers/{process.id}/drain", 202)
    process.heartbeat.renew()
    assert process.drained.is_set()
    assert operator.get("/workers")["data"][0]["drainedAt"] is not None
    operator.post("/workers/nobody/drain", 404)
    operator.post(f"/workers/{process.id}/resume", 202)
    process.heartbeat.renew()
    assert not process.drained.is_set()
    api.post(f"/workers/{process.id}/resume", 403)
    operator.post("/workers/nobody/resume", 404)


def test_workers_tell_what_they_run_and_are_stopped_and_forgotten(api: Api) -> None:
    process, web = api.site.process(), api.site.process("web")
    operator = api.as_(scopes=f"{EVERY_SCOPE} tenants")
    first, second = api.send("a"), api.send("b", tenant="other")
    for job in (first, second):
        api.site.claim(process, job)
    started = {first: "-60", second: "-30"}
    for job, seconds in started.items():
        api.site.change(job, started_at=api.site.moment(float(seconds)))

    shown = {worker["id"]: worker for worker in operator.get("/workers")["data"]}

    told = [(job["id"], job["type"], job["queue"], job["tenant"]) for job in shown[process.id]["jobs"]]
    assert told == [(first, "work", "email", "acme"), (second, "work", "email", "other")]
    assert shown[web.id]["jobs"] == [] and shown[process.id]["memoryBytes"] > 0
    assert set(shown[process.id]["versions"]) == {"flask-understudy", "dramatiq", "python"}

    for method, path in (("POST", f"/workers/{process.id}/stop"), ("DELETE", f"/workers/{process.id}")):
        assert api(method, path).status_code == 403
    assert operator.post(f"/workers/{process.id}/stop", 202) == {"id": process.id, "others": []}
    assert [w["isStopping"] for w in operator.get("/workers")["data"] if w["id"] == process.id] == [True]
    assert "web process" in operator.post(f"/workers/{web.id}/stop", 409)["detail"]
    assert "lives" in operator.delete(f"/workers/{process.id}", 409)["detail"]
    operator.post("/workers/nobody/stop", 404)
    operator.delete("/workers/nobody", 404)

    api.site.kill(web)
    assert "has died" in operator.post(f"/workers/{web.id}/stop", 409)["detail"]
    operator.delete(f"/workers/{web.id}")
    api.site.kill(process)
    assert "died with 2 jobs" in operator.delete(f"/workers/{process.id}", 409)["detail"]
    assert [worker["id"] for worker in operator.get("/workers")["data"]] == [process.id]


def test_a_drained_worker_claims_nothing(carried_site: Site) -> None:
    api = open_api(carried_site)
    worker = carried_site.start_worker()
    api.as_(scopes=f"{EVERY_SCOPE} tenants").post(f"/workers/{worker.id}/drain", 202)
    wait_for(worker.drained.is_set, "the worker to learn of it", timeout_seconds=5)

    id = api.send("a")
    assert api.get(f"/{id}?wait=1")["state"] == "waiting"
    api.as_(scopes=f"{EVERY_SCOPE} tenants").post(f"/workers/{worker.id}/resume", 202)
    assert api.get(f"/{id}?wait=20")["state"] == "completed"


def test_each_act_is_one_line_of_the_audit(api: Api) -> None:
    id = api.fail()
    api.post(f"/{id}/retry")
    api.post(f"/{id}/cancel", json={"reason": "no"})
    api.as_(subject="otto").post("/reports/clean", json={"grace": 0, "status": "cancelled"})
    api.as_(tenant="other").post("", 202, json={"type": "work"})

    lines = api.get("/audit")["data"]

    assert [(line["subject"], line["action"], line["target"]) for line in lines] == [
        ("otto", "queue.clean", "reports"),
        ("olga", "job.cancel", id),
        ("olga", "job.retry", id),
    ]
    assert lines[0]["detail"] == {"removed": 1, "status": "cancelled"}
    page = api.get("/audit?limit=2")
    assert [line["id"] for line in api.get(f"/audit?before={page['next']}")["data"]] == [lines[2]["id"]]
    assert len(api.get("/audit?action=job.retry")["data"]) == 1
    api.as_(scopes="read payload enqueue operate").get("/audit", 403)
