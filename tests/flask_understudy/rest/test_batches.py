"""Batches and limits by key over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flask_understudy.rest.conftest import EVERY_SCOPE, Api


def order(n: int = 1, **more: Any) -> dict[str, Any]:
    return {"jobs": [{"type": "work", "payload": {"n": i}} for i in range(n)], **more}


@pytest.mark.requirement("A11", "A12")
def test_a_batch_is_sent_followed_and_its_failed_jobs_retried(api: Api) -> None:
    body = order(2, name="Letters", concurrency=2, onComplete={"type": "work", "payload": {"to": "the end"}})
    body["jobs"].append({"type": "broken"})

    sent = api.post("/batches", 202, json=body)
    assert (sent["name"], sent["state"], sent["total"], sent["percent"]) == ("Letters", "running", 3, 0)
    assert (sent["tenant"], sent["owner"]) == ("acme", "olga")
    api.site.worker.drain()
    ended = api.get(f"/batches/{sent['id']}")
    [failure] = api.get(f"/batches/{sent['id']}/failures")["data"]
    again = api.post(f"/batches/{sent['id']}/retry-failed")

    assert (ended["state"], ended["completed"], ended["failed"]) == ("failed", 2, 1)
    assert (failure["type"], failure["error"]) == ("broken", "ValueError: boom 1")
    assert (again["retried"], again["batch"]["state"]) == (1, "running")
    assert sum(job.kwargs == {"to": "the end"} for job in api.site.all_jobs()) == 1


def test_a_callback_is_given_the_batch_s_id(api: Api) -> None:
    @api.site.jobs.actor(queue_name="email", api=True)
    def told(what: str, batch_id: str) -> str:
        return f"{what} {batch_id}"

    order = {"jobs": [{"type": "work"}], "onComplete": {"type": "told", "payload": {"what": "done"}}}
    id = api.post("/batches", 202, json=order)["id"]
    api.site.worker.drain()

    assert [job.result for job in api.site.all_jobs() if job.actor == "told"] == [f"done {id}"]
    api.post("/batches", 422, json={**order, "onComplete": {"type": "told"}})


def test_the_rest_of_a_batch_is_cancelled(api: Api) -> None:
    id = api.post("/batches", 202, json=order(3))["id"]

    assert api.post(f"/batches/{id}/cancel")["cancelled"] == 3
    assert api.get(f"/batches/{id}")["state"] == "cancelled"
    assert "has ended" in api.post(f"/batches/{id}/cancel", 409)["detail"]
    assert "no failed job" in api.post(f"/batches/{id}/retry-failed", 409)["detail"]


def test_batches_lead_on_and_other_tenants_see_none(api: Api) -> None:
    ids = [api.post("/batches", 202, json=order(0))["id"] for _ in range(3)]

    first = api.get("/batches?limit=2")
    second = api.get(f"/batches?limit=2&cursor={first['nextCursor']}")

    assert [batch["id"] for batch in [*first["data"], *second["data"]]] == ids[::-1]
    assert second["nextCursor"] is None
    assert api.as_(tenant="birch").get("/batches")["data"] == []
    api.as_(tenant="birch").get(f"/batches/{ids[0]}", 404)
    api.get("/batches?cursor=made-up", 422)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jobs": [{"type": "private"}]},
        {"jobs": [{"type": "work", "payload": {"n": "many"}}]},
        {"jobs": [{"type": "work"}, {"type": "work", "delay": 5}]},
        {"jobs": [{"type": "work"}], "concurrency": 0},
        {"jobs": [{"type": "work"}], "name": "x" * 201},
        {"jobs": [{"type": "work"}], "onComplete": {"type": "nobody"}},
        {"jobs": [{"type": "work", "concurrencyKey": "a"}], "concurrency": 2},
    ],
)
def test_a_batch_that_cannot_be_stores_nothing(sqlite_api: Api, body: dict[str, Any]) -> None:
    sqlite_api.post("/batches", 422, json=body)

    assert sqlite_api.site.all_jobs() == []
    assert sqlite_api.get("/batches")["data"] == []


@pytest.mark.requirement("invariant-I10")
def test_keys_are_listed_set_and_given_back_to_the_code(api: Api) -> None:
    for n in range(3):
        api.post("", 202, json={"type": "work", "payload": {"n": n}, "concurrencyKey": "disk"})
    before = api.get("/limits/disk")

    changed = api.patch("/limits/disk", json={"concurrency": 2, "rate": "100/minute"})
    kept = api.patch("/limits/disk", json={"concurrency": 2})
    api.patch("/limits/disk", 422, json={})
    listed = api.get("/limits")["data"]
    api.delete("/limits/disk")

    assert (before["concurrency"], before["isSet"], before["heldBack"]) == (1, False, 2)
    assert (changed["concurrency"], changed["rate"], changed["isSet"]) == (2, "100/minute", True)
    assert kept["rate"] == "100/minute"
    assert [key["heldBack"] for key in listed] == [1]
    assert (api.get("/limits/disk")["concurrency"], api.get("/limits/disk")["isSet"]) == (1, False)


def test_a_key_of_another_tenant_is_not_there(api: Api) -> None:
    api.post("", 202, json={"type": "work", "concurrencyKey": "disk"})
    other = api.as_(tenant="birch")

    other.get("/limits/disk", 404)
    other.get("/limits/disk?tenant=acme", 403)
    other.get("/limits?tenant=acme", 403)
    other.delete("/limits/disk", 404)
    assert other.get("/limits")["data"] == []
    operator = api.as_(tenant="ops", scopes="read operate tenants")
    assert operator.patch("/limits/disk?tenant=acme", json={"concurrency": 7})["tenant"] == "acme"


def test_keys_come_in_pages_and_by_tenant(api: Api) -> None:
    for key in ("disk", "printer", "tape"):
        api.patch(f"/limits/{key}", json={"concurrency": 2})
    first = api.get("/limits?limit=2")
    second = api.get(f"/limits?limit=2&cursor={first['nextCursor']}")
    assert [row["key"] for row in first["data"] + second["data"]] == ["disk", "printer", "tape"]
    assert second["nextCursor"] is None

    operator = api.as_("house", "oscar", f"{EVERY_SCOPE} tenants")
    assert len(operator.get("/limits?tenant=acme")["data"]) == 3
    assert not operator.get("/limits?tenant=house")["data"]
    assert "another query" in operator.get(f"/limits?cursor={first['nextCursor']}&tenant=acme", 422)["detail"]


@pytest.mark.parametrize("body", [{"concurrency": 0}, {"rate": "fast"}, {"rate": "0/minute"}, {"often": 2}])
def test_a_limit_that_cannot_be_is_refused(sqlite_api: Api, body: dict[str, Any]) -> None:
    sqlite_api.patch("/limits/disk", 422, json=body)

    assert sqlite_api.get("/limits")["data"] == []


def test_keys_lead_on(sqlite_api: Api) -> None:
    for key in ("a", "b", "c"):
        sqlite_api.patch(f"/limits/{key}", json={"concurrency": 1})

    first = sqlite_api.get("/limits?limit=2")
    second = sqlite_api.get(f"/limits?limit=2&cursor={first['nextCursor']}")

    assert [key["key"] for key in [*first["data"], *second["data"]]] == ["a", "b", "c"]
    sqlite_api.get("/limits?cursor=made-up", 422)


def test_sends_are_debounced_and_throttled(api: Api) -> None:
    key = {"type": "work", "deduplicationKey": "page"}
    first = api.post("", 202, json={**key, "debounceMs": 60_000, "payload": {"n": 1}})
    second = api.post("", 200, json={**key, "debounceMs": 60_000, "payload": {"n": 2}})
    third = api.post("", 202, json={**key, "throttleMs": 60_000})
    fourth = api.post("", 200, json={**key, "throttleMs": 60_000})

    assert (first["id"], second["duplicate"], second["payload"]["n"]) == (second["id"], True, 2)
    assert (third["id"], fourth["duplicate"]) == (fourth["id"], True)
    api.post("", 422, json={"type": "work", "debounceMs": 60_000})
    api.post("", 422, json={**key, "debounceMs": 0})
