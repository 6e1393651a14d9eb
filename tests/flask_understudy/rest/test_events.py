"""Published events over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_understudy import Event, step
from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.rest.conftest import Api, open_api


class ParcelSent(Event, api=True, version=2, sensitive=["address"]):
    """A parcel is on its way.

    It was handed over.
    """

    parcel_id: int
    address: str = ""
    token: str = ""
    lines: list[int] = []

    @classmethod
    def upcast(cls, payload: dict[str, Any], version: int) -> dict[str, Any]:
        return {"parcel_id": payload["id"]}


class ParcelLost(Event):
    parcel_id: int


def listen(api: Api) -> None:
    @api.site.jobs.on(ParcelSent, queue_name="email")
    def tell(event: ParcelSent) -> int:
        return event.parcel_id

    @api.site.jobs.on(ParcelSent, where=lambda event: event.parcel_id > 100)
    def insure(event: ParcelSent) -> None: ...


def test_an_event_is_published_in_the_caller_s_name(api: Api) -> None:
    listen(api)

    answer = api("POST", "/events", json={"name": "parcel.sent", "payload": {"parcel_id": 101, "address": "Elm 1"}})

    assert answer.status_code == 202, answer.text
    sent = answer.json
    assert answer.headers["Location"] == f"/api/jobs/events/{sent['id']}"
    jobs = [api.site.job(id) for id in sent["jobs"]]
    assert [job.actor for job in jobs] == ["on:parcel.sent:tell", "on:parcel.sent:insure"]
    assert {(job.tenant, job.owner, job.event_id) for job in jobs} == {("acme", "olga", sent["id"])}
    assert (sent["name"], sent["version"], sent["tenant"], sent["subject"]) == ("parcel.sent", 2, "acme", "olga")
    api.site.worker.drain(raise_errors=True)
    detail = api.get(f"/events/{sent['id']}")
    assert sorted((job["type"], job["state"], job["eventId"]) for job in detail["jobs"]) == [
        ("on:parcel.sent:insure", "completed", sent["id"]),
        ("on:parcel.sent:tell", "completed", sent["id"]),
    ]
    assert api.get("/audit")["data"][0]["action"] == "event.publish"
    assert api.get("/audit")["data"][0]["target"] == sent["id"]


def test_secrets_of_an_event_are_withheld(api: Api) -> None:
    payload = {"parcel_id": 1, "address": "Elm 1", "token": "t", "lines": [1]}
    id = api.post("/events", 202, json={"name": "parcel.sent", "payload": payload})["id"]

    assert api.get(f"/events/{id}")["payload"] == {**payload, "address": "***", "token": "***"}
    assert api.as_(scopes="read").get(f"/events/{id}")["payload"] is None


def test_the_log_tells_how_many_jobs_heard_and_what_was_carried(api: Api) -> None:
    payload = {"parcel_id": 101, "address": "Elm 1", "token": "t"}
    api.post("/events", 202, json={"name": "parcel.sent", "payload": payload})
    listen(api)
    for number in (1, 101):
        api.post("/events", 202, json={"name": "parcel.sent", "payload": {**payload, "parcel_id": number}})

    listed = api.get("/events?withPayload=true")["data"]

    assert [event["jobCount"] for event in listed] == [2, 1, 0]
    assert listed[0]["payload"] == {**payload, "lines": [], "address": "***", "token": "***"}
    assert [event["payload"] for event in api.get("/events")["data"]] == [None] * 3
    assert [e["payload"] for e in api.as_(scopes="read").get("/events?withPayload=true")["data"]] == [None] * 3


def test_an_older_version_is_brought_up(sqlite_api: Api) -> None:
    listen(sqlite_api)

    sent = sqlite_api.post("/events", 202, json={"name": "parcel.sent", "payload": {"id": 7}, "version": 1})

    assert sqlite_api.site.job(sent["jobs"][0]).kwargs["parcel_id"] == 7


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"name": "parcel.sent"}, ["/payload/parcel_id"]),
        ({"name": "parcel.sent", "payload": {"parcel_id": "7"}}, ["/payload/parcel_id"]),
        ({"name": "parcel.sent", "payload": {"parcel_id": 1, "lines": [1, "x"]}}, ["/payload/lines/1"]),
        (
            {"name": "parcel.sent", "payload": {"parcel_id": None, "colour": 1}},
            ["/payload/parcel_id", "/payload/colour"],
        ),
        ({"name": "parcel.sent", "payload": {"parcel_id": 1}, "version": 3}, ["/payload"]),
        ({"name": "parcel.sent", "payload": {}, "version": 1}, ["/payload"]),
        ({"name": "parcel.sent", "version": 0}, ["/version"]),
        ({"name": "parcel.sent", "version": "1"}, ["/version"]),
        ({"name": "parcel.lost", "payload": {"parcel_id": 1}}, ["/name"]),
        ({"name": "os.system"}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"payload": {}}, ["/name"]),
        ({"name": "parcel.sent", "payload": []}, ["/payload"]),
        ({"name": "parcel.sent", "payload": {"parcel_id": 1}, "colour": 1}, ["/colour"]),
        ({"name": "parcel.sent", "payload": {"parcel_id": 1}, "correlationId": ""}, ["/correlationId"]),
    ],
)
def test_what_does_not_fit_is_pointed_at_and_nothing_is_stored(
    sqlite_api: Api, body: dict[str, Any], pointers: list[str]
) -> None:
    answer = sqlite_api("POST", "/events", json=body)

    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json["errors"]] == pointers
    assert sqlite_api.get("/events")["data"] == []
    assert sqlite_api.get("/audit")["data"] == []


def test_the_same_request_again_publishes_once(api: Api) -> None:
    listen(api)
    body, key = {"name": "parcel.sent", "payload": {"parcel_id": 1}}, {"Idempotency-Key": "parcel-1"}

    first = api.post("/events", 202, json=body, headers=key)
    again = api.post("/events", 202, json=body, headers=key)

    assert first == again
    assert len(api.get("/events")["data"]) == len(api.site.all_jobs()) == 1


def test_events_are_found_by_name_and_time_a_page_at_a_time(api: Api) -> None:
    ids = [
        api.post("/events", 202, json={"name": "parcel.sent", "payload": {"parcel_id": n}, "correlationId": f"c{n}"})[
            "id"
        ]
        for n in range(5)
    ]
    api.site.tick()
    lost = api.site.jobs.publish(ParcelLost(parcel_id=1), tenant="acme").id
    api.site.execute(f"UPDATE understudy_events SET at = {api.site.moment(-3600)} WHERE id = '{ids[0]}'")

    first = api.get("/events?limit=4")
    rest = api.get(f"/events?limit=4&cursor={first['nextCursor']}")

    assert [event["id"] for event in [*first["data"], *rest["data"]]] == [lost, *reversed(ids)]
    assert rest["nextCursor"] is None
    assert first["data"][0]["payload"] is None

    def found(query: str) -> list[str]:
        return [event["id"] for event in api.get(f"/events?{query}")["data"]]

    hour = (datetime.now(UTC) - timedelta(minutes=30)).isoformat().replace("+00:00", "Z")
    assert found("name=parcel.lost") == [lost]
    assert found("name=parcel.lost&name=parcel.sent") == [lost, *reversed(ids)]
    assert found(f"before={hour}") == ids[:1]
    assert found(f"after={hour}&name=parcel.sent") == list(reversed(ids[1:]))
    assert found("correlationId=c3") == [ids[3]]
    for query in ("limit=0", "cursor=x", "after=yesterday", "colour=red", "before=2026-01-01T00:00:00"):
        assert api("GET", f"/events?{query}").status_code == 422, query


@pytest.mark.requirement("P03", "P04")
def test_tenants_do_not_see_each_other_s_events(api: Api) -> None:
    mine = api.post("/events", 202, json={"name": "parcel.sent", "payload": {"parcel_id": 1}})["id"]
    other, operator = api.as_(tenant="other"), api.as_(tenant="", scopes="read enqueue tenants")

    assert other.get("/events")["data"] == []
    assert other("GET", f"/events/{mine}").status_code == 404
    assert other("POST", f"/events/{mine}/replay").status_code == 404
    assert other("GET", "/events?tenant=acme").status_code == 403
    forged = {"name": "parcel.sent", "payload": {"parcel_id": 1}, "tenant": "acme"}
    assert other("POST", "/events", json=forged).status_code == 403
    assert [event["id"] for event in operator.get("/events?tenant=acme")["data"]] == [mine]
    assert operator.get("/events?tenant=nobody")["data"] == []
    assert operator.post("/events", 202, json=forged)["tenant"] == "acme"


def test_an_event_is_replayed_to_all_or_to_one(api: Api) -> None:
    listen(api)
    id = api.post("/events", 202, json={"name": "parcel.sent", "payload": {"parcel_id": 101}})["id"]

    again = api.post(f"/events/{id}/replay", 202)
    one = api.post(f"/events/{id}/replay", 202, json={"to": "on:parcel.sent:tell"})

    assert (again["replayOf"], len(again["jobs"]), len(one["jobs"])) == (id, 2, 1)
    assert api("POST", f"/events/{id}/replay", json={"to": "nobody"}).status_code == 422
    assert api("POST", f"/events/{'0' * 36}/replay").status_code == 404
    assert [line["action"] for line in api.get("/audit")["data"][:2]] == ["event.replay"] * 2


@pytest.mark.requirement("B12")
def test_the_kinds_of_events_are_described(sqlite_api: Api) -> None:
    listen(sqlite_api)

    kinds = {kind["name"]: kind for kind in sqlite_api.get("/events/types")["data"]}

    sent = kinds["parcel.sent"]
    assert (sent["version"], sent["canBeSent"], sent["description"]) == (2, True, "A parcel is on its way.")
    assert sent["subscribers"] == ["on:parcel.sent:tell", "on:parcel.sent:insure"]
    assert sent["payloadSchema"]["required"] == ["parcel_id"]
    assert (kinds["parcel.lost"]["canBeSent"], kinds["parcel.lost"]["subscribers"]) == (False, [])


def waiting_for(api: Api, parcel: int, tenant: str = "acme") -> str:
    """A run in which a step waits for a parcel to be sent."""
    if "await" not in api.actors:

        @api.site.jobs.actor(queue_name="email", actor_name="parcel:await", workflow=True, max_retries=0)
        def await_(parcel_id: int) -> Any:
            event = step.wait_for("sent", ParcelSent, match={"parcel_id": parcel_id}, timeout=timedelta(days=1))
            return event and event.parcel_id

        api.actors["await"] = await_
    id = api.send(parcel, actor="await", tenant=tenant)
    api.site.worker.run(id)
    assert api.site.job(id).state == "delayed"
    return id


@pytest.mark.requirement("B12", "B14")
def test_a_run_that_waits_for_an_event_is_told_of_as_those_who_listen_are(api: Api) -> None:
    runs = [waiting_for(api, 7), waiting_for(api, 7), waiting_for(api, 8)]
    waiting_for(api, 7, tenant="other")
    api.post(f"/{waiting_for(api, 9)}/cancel")

    def waiting(caller: Api = api) -> dict[str, int]:
        return {kind["name"]: kind["waitingRuns"] for kind in caller.get("/events/types")["data"]}

    assert (waiting()["parcel.sent"], waiting()["parcel.lost"]) == (3, 0)
    assert waiting(api.as_(scopes="read tenants"))["parcel.sent"] == 4
    missed = api.post("/events", 202, json={"name": "parcel.sent", "payload": {"parcel_id": 1}})["id"]
    met = api.post("/events", 202, json={"name": "parcel.sent", "payload": {"parcel_id": 7}})["id"]

    assert waiting()["parcel.sent"] == 1
    counts = {event["id"]: (event["jobCount"], event["runCount"]) for event in api.get("/events")["data"]}
    assert counts == {missed: (0, 0), met: (0, 2)}
    assert [job["id"] for job in api.get(f"/events/{met}")["runs"]] == sorted(
        runs[:2], key=lambda id: (api.site.job(id).created_at, id)
    )
    assert api.get(f"/events/{missed}")["runs"] == []


# -- the key -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("H01")
@pytest.mark.parametrize("setting", ["UNDERSTUDY_EVENT_KEY", "JOBS_EVENT_KEY", "INNGEST_EVENT_KEY"])
def test_the_event_key_publishes_events(make_site: MakeSite, sqlite_ledger: str, setting: str) -> None:
    api = open_api(make_site(sqlite_ledger, **{setting: "k3y for events"}))
    key = {"Authorization": "Bearer k3y for events"}
    body = {"name": "parcel.sent", "payload": {"parcel_id": 1}, "tenant": "acme"}

    sent = api.anonymous().post("/events", 202, json=body, headers=key)

    assert (sent["tenant"], sent["subject"]) == ("acme", "event-key")
    for wrong in ("", "x", "k3y for event"):
        answer = api.anonymous()("POST", "/events", json=body, headers={"Authorization": f"Bearer {wrong}"})
        assert answer.status_code == 401


@pytest.mark.requirement("H01")
def test_the_event_key_does_nothing_else(make_site: MakeSite, sqlite_ledger: str) -> None:
    api = open_api(make_site(sqlite_ledger, UNDERSTUDY_EVENT_KEY="k3y"))
    key, refused = {"Authorization": "Bearer k3y"}, 0

    for rule in api.site.app.url_map.iter_rules():
        view: Any = api.site.app.view_functions[rule.endpoint]
        if not rule.endpoint.startswith("understudy.") or view.__guard__ in {"public", "link"}:
            continue
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = rule.rule.removeprefix("/api/jobs").replace("<int:", "<").replace("<path:", "<")
            for name in rule.arguments:
                path = path.replace(f"<{name}>", "1")
            status = api.anonymous()(method, path, headers=key, json={"type": "work"}).status_code
            if (rule.endpoint, method) == ("understudy.send_event", "POST"):
                assert status == 422
            else:
                assert status == 403, f"{method} {path}: {status}"
                refused += 1
    assert refused > 50
    assert api.site.all_jobs() == []


def test_without_a_key_nobody_has_it(sqlite_api: Api) -> None:
    for given in ("Bearer ", "Bearer", "bearer  "):
        assert sqlite_api.anonymous()("POST", "/events", headers={"Authorization": given}).status_code == 401
