"""Every route × every role × a foreign tenant, generated from the routes there are."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from werkzeug.routing import Rule

from flask_understudy import Event, Principal, step
from flask_understudy.contrib.webhooks.sending import Webhooks
from flask_understudy.operations import approvals
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, PREFIX, Api


class Said(Event):
    words: str


SCOPES = ["read", "payload", "enqueue", "operate", "admin", "tenants"]
BODIES: dict[str, Any] = {
    "send_job": {"type": "work"},
    "start_bulk": {"action": "retry", "ids": []},
    "amend_job": {"priority": 2},
    "limit_queue": {"concurrency": 5},
    "limit_tenant": {"concurrency": 5},
    "mute_alert": {"minutes": 5},
    "send_event": {"name": "nothing"},
    "register_schedule": {"name": "digest", "type": "work", "schedule": "@daily"},
    "preview_schedule": {"schedule": "@daily"},
    "amend_schedule": {"missed": "all"},
    "send_batch": {"jobs": [{"type": "work"}]},
    "limit_key": {"concurrency": 5},
    "create_endpoint": {"url": "https://example.com/hook", "events": ["*"]},
    "change_endpoint": {"description": "theirs"},
    "replay_endpoint": {"since": "2026-01-01T00:00:00Z"},
    "send_webhook": {
        "url": "https://example.com/hook",
        "payload": {},
        "secret": "webhook-secret",
        "eventType": "told",
    },
}


def routes(api: Api) -> list[tuple[Rule, str, Any]]:
    """The library's routes: rule, method and view."""
    found = []
    for rule in api.site.app.url_map.iter_rules():
        if rule.endpoint.startswith("understudy."):
            view: Any = api.site.app.view_functions[rule.endpoint]
            found += [(rule, method, view) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    return found


def call(api: Api, rule: Rule, method: str, **values: str) -> Any:
    def value(placeholder: re.Match[str]) -> str:
        return values.get(placeholder["name"], "1" if placeholder["kind"] == "int:" else "nothing")

    path = re.sub(r"<(?P<kind>\w+:)?(?P<name>\w+)>", value, rule.rule.removeprefix(PREFIX))
    body = BODIES.get(rule.endpoint.removeprefix("understudy."))
    return api(method, path, **({"json": body} if body is not None else {}))


@pytest.fixture
def api(api: Api) -> Api:
    """The API of a site that sends webhooks, too."""
    Webhooks(api.site.jobs)
    return api


@pytest.fixture
def sqlite_api(sqlite_api: Api) -> Api:
    """The same on SQLite."""
    Webhooks(sqlite_api.site.jobs)
    return sqlite_api


@pytest.fixture(autouse=True)
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_understudy.rest.following.STREAM_SECONDS", 0.01)
    for module in ("following", "stream"):
        monkeypatch.setattr(f"flask_understudy.rest.{module}.LOOK_SECONDS", 0.01)


@pytest.mark.requirement("P01")
def test_nobody_gets_in(sqlite_api: Api) -> None:
    for rule, method, view in routes(sqlite_api):
        expected = {"public": 200, "link": 404}.get(view.__guard__, 401)
        answer = call(sqlite_api.anonymous(), rule, method)
        assert answer.status_code == expected, f"{method} {rule.rule}"
        if expected == 401:
            assert "WWW-Authenticate" in answer.headers


@pytest.mark.requirement("P01")
def test_each_route_opens_to_its_scope_and_no_other(sqlite_api: Api) -> None:
    for (rule, method, view), scope in itertools.product(routes(sqlite_api), SCOPES):
        if view.__guard__ in {"public", "link"}:
            continue
        status = call(sqlite_api.as_(tenant="", scopes=scope), rule, method).status_code
        where = f"{method} {rule.rule} with {scope}: {status}"
        is_shared = view.__guard__ == "tenants" and method != "GET"
        assert status < 500, where
        assert (status != 403) == (scope == view.__guard__ and not is_shared), where


@pytest.mark.requirement("P01")
def test_what_tenants_share_is_changed_by_operators_and_seen_by_others(sqlite_api: Api) -> None:
    for rule, method, view in routes(sqlite_api):
        if view.__guard__ == "tenants" and method != "GET":
            looking, acting = (sqlite_api.as_(tenant="", scopes=s) for s in ("read tenants", "operate tenants"))
            assert call(looking, rule, method).status_code == 403, f"{method} {rule.rule}"
            assert call(acting, rule, method).status_code != 403, f"{method} {rule.rule}"


def test_every_route_that_changes_something_is_audited(sqlite_api: Api) -> None:
    for rule, method, view in routes(sqlite_api):
        if view.__guard__ not in {"public", "link"}:
            assert (view.__audit__ is not None) == (method != "GET"), f"{method} {rule.rule}"


@pytest.mark.requirement("P02", "P03", "P04", "P05")
def test_another_tenant_s_things_are_not_there(api: Api) -> None:
    """Each route, called with somebody else's ids, answers exactly as with ids that nobody has."""
    theirs = {
        "job_id": api.fail("their own words", tenant="other"),
        "queue_name": "reports",
        "type_name": "work",
        "worker_id": "nobody",
        "fingerprint": "",
        "bulk_id": "",
        "name": "other",
        "alert_id": "1",
        "event_id": "",
        "approval_id": "",
        "schedule_name": "secret digest",
        "batch_id": "",
        "key": "their-key",
        "endpoint_id": "",
        "delivery_id": "",
    }

    @api.site.jobs.actor(queue_name="email")
    def asks() -> None:
        step.approve("manager", prompt="their own words")

    api.actors["asks"] = asks
    api.site.worker.run(api.send(tenant="other", actor="asks"))
    theirs["approval_id"] = approvals.listing(api.site.state)[0].id
    other = api.as_(tenant="other", scopes=EVERY_SCOPE)
    theirs["fingerprint"] = str(api.site.job(theirs["job_id"]).fingerprint)
    theirs["bulk_id"] = other.post("/bulk", 202, json={"action": "retry", "ids": [theirs["job_id"]]})["id"]
    theirs["event_id"] = api.site.jobs.publish(Said(words="their own words"), tenant="other").id
    their_schedule = {
        "name": "secret digest",
        "type": "work",
        "schedule": "@daily",
        "payload": {"to": "their own words"},
    }
    other.post("/schedules", 201, json=their_schedule)
    schedule = other.get("/schedules/secret digest")
    api.post("/schedules", 201, json=BODIES["register_schedule"])
    theirs["batch_id"] = other.post("/batches", 202, json={"jobs": [{"type": "broken"}]})["id"]
    api.send("their own words", tenant="other", concurrency_key="their-key")
    hook = {**BODIES["create_endpoint"], "description": "their own words"}
    endpoint = theirs["endpoint_id"] = other.post("/webhooks/endpoints", 201, json=hook)["endpoint"]["id"]
    theirs["delivery_id"] = other.post(f"/webhooks/endpoints/{endpoint}/test", 202)["id"]
    nowhere = ("event_id", "job_id", "approval_id", "batch_id", "endpoint_id", "delivery_id")
    unknown = {
        **theirs,
        **dict.fromkeys(nowhere, "0" * 36),
        "schedule_name": "nothing",
        "key": "nobody-s-key",
        "fingerprint": "0" * 16,
        "bulk_id": "0" * 36,
    }
    before, subscribed = api.site.job(theirs["job_id"]), other.get(f"/webhooks/endpoints/{endpoint}")

    for rule, method, view in routes(api):
        if view.__guard__ in {"public", "tenants", "link"}:
            continue
        foreign, missing = call(api, rule, method, **theirs), call(api, rule, method, **unknown)
        where = f"{method} {rule.rule}"
        assert foreign.status_code == missing.status_code, where
        if foreign.status_code >= 400:
            assert foreign.json["detail"] == missing.json["detail"], where
        assert "their own words" not in foreign.text, where
        assert theirs["job_id"] not in foreign.text.replace(foreign.request.path, ""), where

    after = api.site.job(theirs["job_id"])
    assert other.get("/schedules/secret digest") == schedule
    assert other.get(f"/webhooks/endpoints/{endpoint}") == subscribed
    assert (after.state, after.fence, after.priority, after.run_at) == (
        before.state,
        before.fence,
        before.priority,
        before.run_at,
    )


@pytest.mark.parametrize(
    "id",
    [
        "1%20OR%201=1",
        "00000000-0000-0000-0000-000000000000",
        "%7B0%7D",
        "..%2F..%2Fetc",
        "x" * 10_000,
        "%00",
        "%F0%9F%92%A9",
    ],
)
def test_a_strange_id_is_not_found(api: Api, id: str) -> None:
    for method, path in (("GET", ""), ("GET", "/logs"), ("POST", "/retry"), ("POST", "/cancel"), ("DELETE", "")):
        answer = api(method, f"/{id}{path}")
        assert answer.status_code in {400, 404}, answer.text[:300]


@pytest.mark.parametrize("method", ["PUT", "TRACE", "OPTIONS", "HEAD"])
def test_other_methods_change_nothing(sqlite_api: Api, method: str) -> None:
    id = sqlite_api.send("a")

    status = sqlite_api(method, f"/{id}", headers={"X-HTTP-Method-Override": "DELETE"}).status_code

    assert status in {200, 405}
    assert sqlite_api.site.job(id).state == "waiting"


class TestForgery:
    """A session of the application opens the API; a page of another site must not be able to use it."""

    @pytest.fixture
    def job(self, sqlite_api: Api) -> str:
        sqlite_api.site.jobs.authorizer(lambda request: Principal("olga", "acme", frozenset({"read", "operate"})))
        return sqlite_api.send()

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        ],
        ids=["origin", "hidden", "cross", "sibling"],
    )
    def test_other_sites_change_nothing(self, sqlite_api: Api, job: str, headers: dict[str, str]) -> None:
        answer = sqlite_api.anonymous()("POST", f"/{job}/cancel", headers=headers)

        assert answer.status_code == 403 and "another site" in answer.json["detail"]
        assert sqlite_api.site.job(job).state == "waiting"
        assert sqlite_api.anonymous()("GET", f"/{job}", headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": "http://localhost"},
            {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind-a-proxy.example"},
            {"Origin": "https://app.example", "Authorization": "Bearer acme/olga/read operate"},
        ],
        ids=["program", "origin", "proxy", "token"],
    )
    def test_programs_own_pages_and_tokens_do(self, sqlite_api: Api, job: str, headers: dict[str, str]) -> None:
        assert sqlite_api.anonymous()("POST", f"/{job}/cancel", headers=headers).status_code == 200
        assert sqlite_api.site.job(job).state == "cancelled"
