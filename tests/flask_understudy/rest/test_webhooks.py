"""Webhooks over HTTP: subscriptions, single ones, deliveries; each tenant by itself."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from flask_understudy.contrib.webhooks import SignatureInvalid, sign, verify_headers
from flask_understudy.contrib.webhooks.sending import Webhooks
from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.rest.conftest import Api, open_api
from tools.receiver import Receiver, Reply

ENDPOINTS = "/webhooks/endpoints"
DELIVERIES = "/webhooks/deliveries"
NOBODY_S = "00000000-0000-0000-0000-000000000000"


class Hooks(Api):
    """The API of a site that sends webhooks."""

    @property
    def webhooks(self) -> Webhooks:
        found: Webhooks = self.site.jobs.broker.companions["webhooks"]
        return found

    def publish(self, event: str = "incident.created", tenant: str = "acme") -> list[str]:
        with self.site.app.app_context():
            return [one.id for one in self.webhooks.publish(event, {"event": event}, tenant)]

    def subscribe(self, url: str, *events: str, **more: Any) -> Any:
        return self.post(ENDPOINTS, 201, json={"url": url, "events": events or ["incident.created"], **more})

    def deliver(self) -> list[Any]:
        return self.site.worker.drain("webhooks", include_delayed=True)

    def kept(self) -> str:
        """All that the database holds, as text."""
        with self.site.app.app_context():
            engine = self.site.db.engine
            with engine.connect() as connection:
                tables = sa.inspect(engine).get_table_names()
                return "".join(str(connection.execute(sa.text(f"SELECT * FROM {table}")).all()) for table in tables)

    def audited(self) -> list[str]:
        return [line["action"] for line in reversed(self.get("/audit")["data"])]


def hooks_of(api: Api) -> Hooks:
    Webhooks(api.site.jobs)
    return Hooks(api.site, api.caller, api.actors)


@pytest.fixture
def api(make_site: MakeSite, ledger_url: str) -> Hooks:
    return hooks_of(open_api(make_site(ledger_url, UNDERSTUDY_WEBHOOK_ALLOW="127.0.0.0/8")))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def fits(secret: str, got: Any) -> bool:
    try:
        verify_headers(secret, got.headers, got.body)
    except SignatureInvalid:
        return False
    return True


@pytest.mark.requirement("I17", "C33")
def test_a_single_webhook_is_sent_and_its_secret_is_nowhere(api: Hooks, receiver: Receiver) -> None:
    secret = "webhook-secret-canary"
    body = {"url": receiver.url, "payload": {"event": "test"}, "secret": secret, "eventType": "test.event"}

    answers = [api("POST", "/webhooks", json=body, headers={"Idempotency-Key": "one"}) for _ in range(2)]

    first, again = answers
    assert [answer.status_code for answer in answers] == [202, 202] and again.json == first.json
    assert first.json is not None
    [job] = api.site.all_jobs()
    assert (job.tenant, job.owner, job.id) == ("acme", "olga", first.json["jobId"])
    api.deliver()
    [got] = receiver.requests
    assert got.body == b'{"event":"test"}' and fits(secret, got)
    shown = api("GET", f"{DELIVERIES}/{first.json['id']}")
    assert shown.json is not None
    assert (shown.json["delivery"]["state"], shown.json["url"]) == ("delivered", receiver.url)
    for text in (first.text, shown.text, api.kept()):
        assert secret not in text
    assert api.audited() == ["webhook.send"]


@pytest.mark.requirement("K06")
def test_a_secret_is_shown_once_and_one_that_was_chosen_never(api: Hooks, receiver: Receiver) -> None:
    made = api.subscribe(receiver.url)
    chosen = api.subscribe(receiver.url, secret="chosen-by-the-caller")

    assert made["secret"].startswith("whsec_") and chosen["secret"] is None
    for path in (ENDPOINTS, f"{ENDPOINTS}/{made['endpoint']['id']}"):
        text = api("GET", path).text
        assert made["secret"] not in text and "secret" not in text.replace("oldSecretUntil", "")
    assert made["secret"] not in api.kept() and "chosen-by-the-caller" not in api.kept()


def test_a_secret_asked_for_again_with_its_key_is_the_same_and_stands_nowhere_in_clear(
    api: Hooks, receiver: Receiver
) -> None:
    def twice(path: str, body: object) -> Any:
        first, again = (api("POST", path, json=body, headers={"Idempotency-Key": path}) for _ in range(2))
        assert first.status_code < 300 and again.text == first.text, first.text
        assert again.headers["Idempotent-Replayed"] == "true"
        return first.json

    made = twice(ENDPOINTS, {"url": receiver.url, "events": ["*"]})
    rotated = twice(f"{ENDPOINTS}/{made['endpoint']['id']}/rotate", {})

    assert made["secret"] != rotated["secret"]
    for secret in (made["secret"], rotated["secret"]):
        assert secret not in api.kept()
    assert len(api.get(ENDPOINTS)["data"]) == 1
    assert api.audited() == ["webhook.create", "webhook.rotate"]


@pytest.mark.requirement("K06")
def test_a_rotation_signs_with_both_secrets_for_a_while(api: Hooks, receiver: Receiver) -> None:
    made = api.subscribe(receiver.url)
    path = f"{ENDPOINTS}/{made['endpoint']['id']}/rotate"

    rotated = api.post(path)
    api.publish()
    api.deliver()
    at_once = api.post(path, json={"overlapHours": 0})
    api.publish()
    api.deliver()

    old, new, last = made["secret"], rotated["secret"], at_once["secret"]
    first, second = receiver.requests
    assert [fits(secret, first) for secret in (old, new, last)] == [True, True, False]
    assert [fits(secret, second) for secret in (old, new, last)] == [False, False, True]
    assert first.headers["x-webhook-signature"] == sign(new, first.headers["webhook-timestamp"], first.body)
    assert first.headers["x-webhook-signature-previous"] == sign(old, first.headers["webhook-timestamp"], first.body)
    assert "x-webhook-signature-previous" not in second.headers
    assert rotated["endpoint"]["oldSecretUntil"] is not None


def test_a_subscription_is_changed_and_deleted(api: Hooks, receiver: Receiver) -> None:
    made = api.subscribe(receiver.url)["endpoint"]
    path = f"{ENDPOINTS}/{made['id']}"

    changed = api.patch(path, json={"enabled": False, "description": "later"})
    expected = {"enabled": False, "disabledReason": "by_hand", "description": "later", "updatedAt": ""}
    assert changed | {"updatedAt": ""} == made | expected
    assert api.publish() == []
    assert "disabled" in api.post(f"{path}/test", 409)["detail"]

    api.patch(path, json={"enabled": True})
    api.publish()
    api.delete(path)
    api.get(path, 404)
    assert [job.result["skipped"] for job in api.deliver()] == [True]
    assert receiver.requests == []
    lines = api.get(f"/audit?target={made['id']}")["data"]
    assert [line["action"] for line in reversed(lines)] == [
        "webhook.create",
        "webhook.change",
        "webhook.change",
        "webhook.delete",
    ]
    assert lines[2]["detail"]["fields"] == ["description", "enabled"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": "https://localhost"}, "/url"),
        ({"url": None}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["a b"]}, "/events"),
        ({"events": "a"}, "/events"),
        ({"description": "a\u0007b"}, "/description"),
        ({"enabled": "yes"}, "/enabled"),
        ({"secret": "not by this road"}, "/secret"),
        ({"tenant": "b"}, "/tenant"),
    ],
)
def test_a_change_that_cannot_be_made_changes_nothing(
    api: Hooks, receiver: Receiver, body: dict[str, Any], pointer: str
) -> None:
    made = api.subscribe(receiver.url)["endpoint"]

    answer = api.patch(f"{ENDPOINTS}/{made['id']}", 422, json={"description": "new"} | body)

    assert answer["errors"][0]["pointer"].startswith(pointer)
    assert api.get(f"{ENDPOINTS}/{made['id']}") == made
    assert api.audited() == ["webhook.create"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"url": "https://169.254.169.254/latest"}, "/url"),
        ({"url": "https://user:pw@example.com"}, "/url"),
        ({"url": "file:///etc/passwd"}, "/url"),
        ({"url": ""}, "/url"),
        ({"url": 7}, "/url"),
        ({"secret": "short"}, "/secret"),
        ({"secret": None}, "/secret"),
        ({"eventType": "no event"}, "/eventType"),
        ({"tenant": "other"}, "/tenant"),
    ],
)
def test_a_single_webhook_that_cannot_be_sent_is_a_422(api: Hooks, change: dict[str, Any], pointer: str) -> None:
    body = {"url": "https://example.com", "payload": {}, "secret": "webhook-secret", "eventType": "test.event"}

    answer = api("POST", "/webhooks", json=body | change)

    assert answer.status_code == 422 and answer.json is not None
    assert [entry["pointer"] for entry in answer.json["errors"]] == [pointer]
    assert "pw@" not in answer.text and "short" not in answer.text.replace("too short", "")
    assert api.site.all_jobs() == [] and api.audited() == []


def test_a_test_is_delivered_whatever_the_endpoint_listens_to(api: Hooks, receiver: Receiver) -> None:
    made = api.subscribe(receiver.url)["endpoint"]

    api.post(f"{ENDPOINTS}/{made['id']}/test", 202)
    api.deliver()

    assert json.loads(receiver.requests[0].body) == {"event": "webhook.test", "data": {"endpointId": made["id"]}}


def test_a_tenant_tests_ten_times_an_hour(api: Hooks, receiver: Receiver) -> None:
    here, there = (api.subscribe(receiver.url)["endpoint"]["id"] for _ in range(2))
    theirs = api.as_(tenant="birch")
    other = theirs.subscribe(receiver.url)["endpoint"]["id"]
    api.publish()

    for id in [here, there] * 5:
        api.post(f"{ENDPOINTS}/{id}/test", 202)
    answer = api("POST", f"{ENDPOINTS}/{here}/test")

    assert answer.status_code == 429 and "10" in answer.text
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    assert len(api.site.all_jobs()) == 12 and api.audited().count("webhook.test") == 10
    theirs.post(f"{ENDPOINTS}/{other}/test", 202)
    api.site.execute(f"UPDATE understudy_webhook_deliveries SET created_at = {api.site.moment(-3601)}")
    api.post(f"{ENDPOINTS}/{here}/test", 202)


def test_what_failed_is_seen_and_delivered_again_under_the_same_id(api: Hooks, receiver: Receiver) -> None:
    made = api.subscribe(receiver.url)["endpoint"]
    receiver.replies = [Reply(404, body=b"nothing here")] * 10
    api.publish()
    api.publish()
    api.deliver()

    listed = api.get(f"{ENDPOINTS}/{made['id']}/deliveries?state=failed")["data"]
    assert [(row["state"], row["status"], row["attempts"]) for row in listed] == [("failed", 404, 5)] * 2
    one = listed[0]["id"]
    shown = api.get(f"{DELIVERIES}/{one}")
    assert [attempt["response"] for attempt in shown["tries"]] == ["nothing here"] * 5
    assert json.loads(shown["body"])["event"] == "incident.created"
    hidden = api.as_(scopes="read").get(f"{DELIVERIES}/{one}")
    assert hidden["body"] is None and hidden["tries"][0]["response"] is None

    api.post(f"{DELIVERIES}/{one}/replay", 202)
    api.post(f"{DELIVERIES}/{one}/replay", 409)
    moment = dt.datetime.now(dt.UTC)
    since, late = ({"since": (moment + dt.timedelta(hours=n)).isoformat()} for n in (-1, 1))
    assert api.post(f"{ENDPOINTS}/{made['id']}/replay", 202, json=since) == {"replayed": 1}
    api.deliver()

    assert [row["state"] for row in api.get(DELIVERIES)["data"]] == ["delivered", "delivered"]
    assert len({got.headers["webhook-id"] for got in receiver.requests}) == 2
    assert api.post(f"{ENDPOINTS}/{made['id']}/replay", 202, json=late) == {"replayed": 0}


def test_an_endpoint_says_how_it_does(api: Hooks, receiver: Receiver) -> None:
    path = f"{ENDPOINTS}/{api.subscribe(receiver.url)['endpoint']['id']}"
    other = api.subscribe(receiver.url, "nothing")["endpoint"]
    receiver.replies = [Reply(404)] * 5 + [Reply(204)]
    for _ in range(2):
        api.publish()
        api.deliver()
    receiver.replies = [Reply(500)] * 5
    [flaky] = api.publish()
    job = api.get(f"{DELIVERIES}/{flaky}")["delivery"]["jobId"]
    api.site.worker.run(job)

    def how(shown: dict[str, Any]) -> tuple[Any, ...]:
        return shown["deliveries"], shown["failed"], shown["failures"], shown["restingUntil"] is not None

    assert how(api.get(path)) == (3, 1, 1, False)
    for _ in range(4):
        api.site.worker.run(job)
    assert how(api.get(path)) == (3, 2, 5, True)
    api.site.execute(
        f"UPDATE understudy_webhook_deliveries SET created_at = {api.site.moment(-90_000)} WHERE state = 'failed'"
    )
    assert [how(shown) for shown in api.get(ENDPOINTS)["data"]] == [(1, 0, 5, True), (0, 0, 0, False)]
    assert api.get(ENDPOINTS)["data"][1]["id"] == other["id"]
    assert how(api.patch(path, json={"enabled": True})) == (1, 0, 0, False)


def test_lists_lead_on(api: Hooks, receiver: Receiver) -> None:
    made = [api.subscribe(receiver.url, *events)["endpoint"]["id"] for events in ((), ("a",), ("b",))]
    published = [api.publish()[0] for _ in range(3)]

    for path, ids in ((ENDPOINTS, made), (DELIVERIES, published[::-1])):
        first = api.get(f"{path}?limit=2")
        rest = api.get(f"{path}?limit=2&cursor={first['nextCursor']}")
        assert [row["id"] for row in first["data"] + rest["data"]] == ids and rest["nextCursor"] is None
    for query in ("cursor=forged", "limit=0", "limit=201", "limit=x", "state=odd", "unknown=1"):
        api.get(f"{DELIVERIES}?{query}", 422)


def test_a_delivery_whose_job_was_cancelled_has_failed(api: Hooks, receiver: Receiver) -> None:
    api.subscribe(receiver.url)
    api.publish()
    [pending] = api.get(DELIVERIES)["data"]

    assert api("POST", f"/{pending['jobId']}/cancel").status_code in {200, 202}

    [row] = api.get(DELIVERIES)["data"]
    assert (row["state"], row["error"]) == ("failed", "its_job_ended")


@pytest.mark.requirement("P03", "P04")
def test_another_tenant_s_webhooks_do_not_exist(api: Hooks, receiver: Receiver) -> None:
    made = api.subscribe(receiver.url)["endpoint"]
    [delivery] = api.publish()
    theirs = api.as_(tenant="birch")
    since = {"since": dt.datetime.now(dt.UTC).isoformat()}

    for method, path, body in (
        ("GET", f"{ENDPOINTS}/%s", None),
        ("PATCH", f"{ENDPOINTS}/%s", {"enabled": False}),
        ("DELETE", f"{ENDPOINTS}/%s", None),
        ("POST", f"{ENDPOINTS}/%s/rotate", {}),
        ("POST", f"{ENDPOINTS}/%s/test", None),
        ("POST", f"{ENDPOINTS}/%s/replay", since),
        ("GET", f"{ENDPOINTS}/%s/deliveries", None),
        ("GET", f"{DELIVERIES}/%s", None),
        ("POST", f"{DELIVERIES}/%s/replay", None),
    ):
        own, answers = (delivery if path.startswith(DELIVERIES) else made["id"]), set()
        for id in (own, NOBODY_S, "1%20OR%201=1", "%00", "x" * 5_000):
            answer = theirs(method, path % id, json=body)
            answers.add((answer.status_code, (answer.json or {})["detail"]))
        assert answers == {(404, "There is nothing here under this id.")}, path
    assert theirs.get(ENDPOINTS)["data"] == []
    assert theirs.get(f"{DELIVERIES}?endpoint={made['id']}")["data"] == []
    assert api.get(f"{ENDPOINTS}/{made['id']}") == made | {"deliveries": 1}


@pytest.mark.requirement("P05")
def test_who_sees_every_tenant_acts_on_all_and_the_tenant_s_audit_tells(api: Hooks, receiver: Receiver) -> None:
    made = api.subscribe(receiver.url)["endpoint"]
    [delivery] = api.publish()
    operator = api.as_(tenant="staff", subject="otto", scopes="read operate admin tenants")

    assert [(one["id"], one["tenant"]) for one in operator.get(ENDPOINTS)["data"]] == [(made["id"], "acme")]
    assert operator.get(f"{DELIVERIES}/{delivery}")["delivery"]["tenant"] == "acme"
    operator.patch(f"{ENDPOINTS}/{made['id']}", json={"description": "by otto"})
    operator.post(f"{ENDPOINTS}/{made['id']}/test", 202)
    operator.delete(f"{ENDPOINTS}/{made['id']}")

    lines = [(line["subject"], line["action"]) for line in api.get("/audit")["data"]]
    assert lines[:3] == [("otto", "webhook.delete"), ("otto", "webhook.test"), ("otto", "webhook.change")]


def test_a_url_s_query_is_for_those_who_may_change_it(api: Hooks, receiver: Receiver) -> None:
    api.subscribe(f"{receiver.url}?key=hidden")
    [delivery] = api.publish()

    for path in (ENDPOINTS, f"{DELIVERIES}/{delivery}"):
        assert "hidden" in api("GET", path).text
        assert "hidden" not in api.as_(scopes="read payload operate")("GET", path).text


def test_a_tenant_has_fifty_endpoints_at_the_most(api: Hooks, receiver: Receiver) -> None:
    for _ in range(50):
        api.subscribe(receiver.url)

    answer = api.post(ENDPOINTS, 409, json={"url": receiver.url, "events": ["*"]})

    assert "50" in answer["detail"]
    listed = api.get(ENDPOINTS)
    assert (len(listed["data"]), listed["nextCursor"]) == (50, None)


def test_an_application_without_webhooks_says_so_and_describes_none(sqlite_api: Api) -> None:
    for method, path in (("GET", ENDPOINTS), ("POST", ENDPOINTS), ("POST", "/webhooks"), ("GET", f"{DELIVERIES}/1")):
        answer = sqlite_api(method, path)
        assert answer.status_code == 404 and answer.json is not None
        assert answer.json["detail"] == "This application has no webhooks."
    assert not [path for path in sqlite_api.get("/openapi.json")["paths"] if "webhooks" in path]
    hooks_of(sqlite_api)
    assert len([path for path in sqlite_api.get("/openapi.json")["paths"] if "webhooks" in path]) == 10


def test_the_api_needs_neither_the_tables_nor_the_extra_of_what_sends() -> None:
    look = (
        "import sys; sys.modules['cryptography'] = None\n"
        "import flask_understudy.rest\n"
        "print([name for name in sys.modules if name.startswith('flask_understudy.contrib.webhooks.')])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert "tables" not in done.stdout and "sending" not in done.stdout
