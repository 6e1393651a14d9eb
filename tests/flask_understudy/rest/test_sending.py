"""Sending jobs over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.flask_understudy.rest.conftest import Api


def stored(api: Api) -> int:
    return len(api.site.all_jobs())


def test_a_job_is_sent_in_the_caller_s_name(api: Api) -> None:
    answer = api(
        "POST",
        "",
        json={"type": "work", "payload": {"to": "a@b.c", "n": 2}, "priority": 1, "tags": ["red"], "attempts": 7},
    )

    assert answer.status_code == 202
    assert answer.json["payload"] == {"to": "a@b.c", "n": 2}
    job = api.site.job(answer.json["id"])
    assert answer.headers["Location"] == f"/api/jobs/{job.id}"
    assert (job.tenant, job.owner, job.queue, job.priority, job.tags, job.max_attempts) == (
        "acme",
        "olga",
        "email",
        1,
        ["red"],
        7,
    )
    api.site.worker.run(job.id)
    assert api.get(f"/{job.id}")["result"] == "done for a@b.c"


@pytest.mark.requirement("C10")
def test_slash_and_colon_name_the_same_type(sqlite_api: Api) -> None:
    @sqlite_api.site.jobs.actor(actor_name="email:welcome", api=True)
    def welcome() -> None: ...

    assert sqlite_api.post("", 202, json={"type": "email/welcome"})["type"] == "email:welcome"
    assert sqlite_api.get("/types/email/welcome")["name"] == "email:welcome"


@pytest.mark.requirement("K02")
def test_arguments_are_named_in_camel_case_too(api: Api) -> None:
    """As the names of the API itself are; the ledger has the actor's own."""

    @api.site.jobs.actor(queue_name="reports", actor_name="report:send", api=True, workflow=True)
    def send(report_id: str, user_id: int = 0) -> str:
        return f"{report_id} for {user_id}"

    @api.site.jobs.actor(queue_name="reports", actor_name="report:sent", api=True)
    def sent(batch_id: str, report_id: str) -> None:
        """Follows a batch."""

    given, own = {"reportId": "r1", "userId": 7}, {"report_id": "r1", "user_id": 7}
    order = {"type": "report:send", "payload": given}
    job = api.post("", 202, json=order)
    run = api.post("/workflows/report:send/runs", 202, json={"payload": given})
    again = api.post(f"/{job['id']}/replay", 202, json={"payload": given})
    other = api.post(f"/{job['id']}/replay", 202, json={"payload": {**given, "userId": 8}})
    api.patch(f"/{run['id']}", json={"payload": given})
    follows = {"type": "report:sent", "payload": {"reportId": "r1"}}
    batch = api.post("/batches", 202, json={"jobs": [order, order], "onComplete": follows})
    rows = [row for row in api.site.all_jobs() if row.batch_id == batch["id"]]

    assert job["payload"] == run["payload"] == again["payload"] == own
    assert other["payload"] == {**own, "user_id": 8}
    assert [api.site.job(id).kwargs for id in (job["id"], run["id"])] == [row.kwargs for row in rows] == [own, own]
    for row in (*rows, job):
        api.site.worker.run(row["id"] if row is job else row.id)
    assert api.get(f"/{job['id']}")["result"] == "r1 for 7"
    [followed] = [row for row in api.site.all_jobs() if row.actor == "report:sent"]
    assert followed.kwargs == {"batch_id": batch["id"], "report_id": "r1"}

    twice = api.post("", 422, json={**order, "payload": {**given, "report_id": "r2"}})
    assert "report_id is there twice, also as reportId" in twice["detail"]
    assert "colour" in api.post("", 422, json={**order, "payload": {**given, "colour": 1}})["detail"]


def test_a_job_is_sent_for_later_and_into_another_queue(api: Api) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    assert api.post("", 202, json={"type": "work", "scheduledFor": later})["state"] == "delayed"
    assert api.post("", 202, json={"type": "work", "delay": 60_000})["state"] == "delayed"
    assert api.post("", 202, json={"type": "work", "queue": "reports"})["queue"] == "reports"
    assert api.post("", 202, json={"type": "work", "timeout": 5000})["id"]


def test_a_live_twin_is_answered_instead(api: Api) -> None:
    first = api.post("", 202, json={"type": "work", "deduplicationKey": "one"})
    again = api.post("", 200, json={"type": "work", "deduplicationKey": "one"})

    assert (again["id"], again["duplicate"], first["duplicate"]) == (first["id"], True, False)
    other = api.as_(tenant="other").post("", 202, json={"type": "work", "deduplicationKey": "one"})
    assert other["id"] != first["id"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "private"},
        {"type": "os.system"},
        {"type": "__init__"},
        {"type": "work", "payload": {"colour": "red"}},
        {"type": "work", "payload": {"n": "seven"}},
        {"type": "work", "payload": []},
        {"type": "work", "queue": "default.DQ"},
        {"type": "work", "queue": "*"},
        {"type": "work", "delay": -1},
        {"type": "work", "delay": 10**15},
        {"type": "work", "delay": 1.5},
        {"type": "work", "scheduledFor": "2020-01-01T00:00:00Z"},
        {"type": "work", "scheduledFor": "9999-01-01T00:00:00Z"},
        {"type": "work", "scheduledFor": "0001-01-01T00:00:00Z"},
        {"type": "work", "scheduledFor": "2099-01-01T00:00:00"},
        {"type": "work", "scheduledFor": "2099-01-01T24:61:00Z"},
        {"type": "work", "scheduledFor": 1},
        {"type": "work", "priority": 10**9},
        {"type": "work", "priority": "high"},
        {"type": "work", "expiresAt": "2020-01-01T00:00:00Z"},
        {"type": "work", "delay": 1000, "scheduledFor": "2027-01-01T00:00:00Z"},
        {"type": "work", "attempts": 1_000_000},
        {"type": "work", "tags": [""]},
        {"type": "work", "attempts": 0},
        {"type": "work", "attempts": -1},
        {"type": "work", "attempts": 1.5},
        {"type": "work", "attempts": True},
        {"type": "work", "attempts": 3, "maxRetries": 7},
        {"type": "work", "timeout": 0},
        {"type": "work", "deduplicationKey": ""},
        {"type": "work", "deduplicationKey": "x" * 10_000},
        {"type": "work", "deduplicationKey": "a\nb"},
        {"type": "work", "tags": "red"},
        {"type": "work", "tags": ["x"] * 51},
        {"type": "work", "tenant": "other"},
        {"type": "work", "unknown": 1},
        {"type": "work", "payload": {f"k{n}": n for n in range(9_000)}},
        {"type": "work", "payload": {"__proto__": {}}},
        {"type": "work", "payload": {"constructor": 1}},
        {"type": "work\n"},
    ],
)
def test_a_wrong_order_is_refused_and_nothing_is_stored(sqlite_api: Api, body: dict[str, Any]) -> None:
    answer = sqlite_api("POST", "", json=body)

    assert answer.status_code == 422, answer.text
    assert answer.content_type == "application/problem+json"
    assert stored(sqlite_api) == 0
    assert sqlite_api.get("/audit")["data"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"x"', 422),
        (b'{"type": "work"', 400),
        (b'{"type": "work", "payload": {"n": NaN}}', 400),
        (b'{"type": "work", "payload": {"n": Infinity}}', 400),
        (b'{"type": "work", "payload": {"n": 1e400}}', 400),
        (b'{"type": "work", "payload": {"n": ' + b"9" * 5000 + b"}}", 400),
        (b'{"type": "work", "payload": {"n": 9007199254740993}}', 400),
        (b'{"type": "work", "type": "work"}', 400),
        (b'{"type": "work", "payload": ' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}", 400),
        (b"[" * 100_000, 400),
        (b'{"type": "work", "payload": {"to": [' + b"1," * 20_000 + b"1]}}", 400),
        (b'{"type": "work", "' + b"k" * 200_000 + b'": 1}', 422),
        (b'{"type": "work", "payload": {"to": "' + b"x" * 300_000 + b'"}}', 413),
        (b'{"type": "work", "payload": {"to": "\\u0000"}}', 400),
        (b'{"type": "work", "payload": {"a\\u0000": 1}}', 400),
        (b'{"type": "work", "payload": {"to": "\\ud800"}}', 400),
        (b'{"type": "work", "payload": {"to": "\xff"}}', 400),
        ('{"type": "work"}'.encode("utf-16"), 400),
        (b'\xef\xbb\xbf{"type": "work"}', 400),
        (b'{"type": "work", "payload": {"py/object": "os.system"}}', 422),
        (b'!!python/object/apply:os.system ["id"]', 400),
        (b"gASVHQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJpZJSFlFKULg==", 400),
    ],
)
def test_a_body_that_is_no_good_json_is_refused(sqlite_api: Api, body: bytes, status: int) -> None:
    answer = sqlite_api("POST", "", data=body, content_type="application/json")

    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    assert stored(sqlite_api) == 0


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
def test_another_kind_of_body_is_refused(sqlite_api: Api, content_type: str | None) -> None:
    answer = sqlite_api("POST", "", data=b'{"type": "work"}', content_type=content_type)

    assert answer.status_code == 415
    assert sqlite_api("POST", "", json={"type": "work"}, headers={"Content-Encoding": "gzip"}).status_code == 415
    assert stored(sqlite_api) == 0


# -- once --------------------------------------------------------------------------------------------------------------


def test_the_same_request_again_gets_the_same_answer(api: Api) -> None:
    key = {"Idempotency-Key": "order-7"}
    first = api("POST", "", json={"type": "work"}, headers=key)
    again = api("POST", "", json={"type": "work"}, headers=key)

    assert (again.status_code, again.json, again.headers["Location"]) == (202, first.json, first.headers["Location"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.content_type == "application/json"
    assert stored(api) == 1
    assert api("POST", "", json={"type": "broken"}, headers=key).status_code == 422
    assert api.as_(subject="otto")("POST", "", json={"type": "work"}, headers=key).json["id"] != first.json["id"]
    assert api.as_(tenant="other")("POST", "", json={"type": "work"}, headers=key).json["id"] != first.json["id"]
    assert stored(api) == 3


def test_a_request_that_failed_releases_its_key(api: Api) -> None:
    key = {"Idempotency-Key": "order-7"}

    assert api("POST", "", json={"type": "private"}, headers=key).status_code == 422
    assert api("POST", "", json={"type": "work"}, headers=key).status_code == 202


def test_a_key_is_forgotten_after_a_day(api: Api) -> None:
    key = {"Idempotency-Key": "order-7"}
    api("POST", "", json={"type": "work"}, headers=key)
    api.site.execute(f"UPDATE understudy_idempotency_keys SET at = {api.site.moment(-86_500)}")

    assert api("POST", "", json={"type": "broken"}, headers=key).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel"])
def test_a_wrong_key_is_refused(sqlite_api: Api, key: str) -> None:
    answer = sqlite_api("POST", "", json={"type": "work"}, headers={"Idempotency-Key": key.encode().decode("latin-1")})

    assert answer.status_code == 400
    assert stored(sqlite_api) == 0


# -- types -------------------------------------------------------------------------------------------------------------


def test_types_tell_what_they_take(sqlite_api: Api) -> None:
    names = [known["name"] for known in sqlite_api.get("/types")["data"]]
    work = sqlite_api.get("/types/work")

    assert names == ["broken", "private", "work"]
    assert (work["queue"], work["canBeSent"]) == ("email", True)
    assert work["payloadSchema"]["properties"]["n"]["type"] == "integer"
    assert sqlite_api.get("/types/work/schema") == work["payloadSchema"]
    sqlite_api.get("/types/nothing", 404)
