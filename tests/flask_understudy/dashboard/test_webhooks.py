"""Webhooks on pages: endpoints and how they do, their secrets shown once, what was sent, and sending it again."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, fields_of, signed_in
from tests.flask_understudy.dashboard.test_jobs import audited
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, Api, open_api
from tests.flask_understudy.rest.test_webhooks import Hooks, hooks_of
from tools.receiver import Receiver, Reply


@pytest.fixture
def hooks(make_site: MakeSite, ledger_url: str) -> Hooks:
    return hooks_of(open_api(make_site(ledger_url, UNDERSTUDY_WEBHOOK_ALLOW="127.0.0.0/8")))


@pytest.fixture
def olga(hooks: Hooks) -> Person:
    return signed_in(hooks)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def filled(page: str, **fields: str) -> dict[str, str]:
    """The form of a page, filled in."""
    return {**fields_of(page.partition('class="stack"')[2]), **fields}


def secret_on(page: str) -> str:
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", html.unescape(page))
    assert found is not None
    return found[0]


def test_an_application_without_webhooks_has_no_such_page(sqlite_api: Api) -> None:
    olga = signed_in(sqlite_api)
    csrf = olga.csrf()
    assert f"{PREFIX}/webhooks" not in olga.see()
    for path in ("/webhooks", "/webhooks/new", "/webhooks/1", "/deliveries/1"):
        assert "This application has no webhooks." in olga.see(path, 404)
    olga.send("/webhooks/save", {"csrf": csrf, "url": "https://example.com", "events": "*"}, 404)


def test_without_endpoints_the_page_says_what_to_do(olga: Person) -> None:
    assert f'href="{PREFIX}/webhooks"' in olga.see()
    page = olga.see("/webhooks")
    assert "Nobody has subscribed." in page and "Nothing was sent yet." in page and f"{PREFIX}/webhooks/new" in page


@pytest.mark.requirement("K06", "O01")
def test_an_endpoint_is_made_and_its_secret_is_shown_once(olga: Person, hooks: Hooks, receiver: Receiver) -> None:
    form = filled(olga.see("/webhooks/new"), url=receiver.url, events="told, shown", description="of theirs")
    answer = olga.send("/webhooks/save", form, 200)

    secret = secret_on(answer.text)
    [made] = hooks.get("/webhooks/endpoints")["data"]
    assert (made["url"], made["events"], made["description"]) == (receiver.url, ["told", "shown"], "of theirs")
    assert answer.headers["Cache-Control"] == "no-store" and secret not in str(answer.headers)
    for path in ("/webhooks", f"/webhooks/{made['id']}", f"/webhooks/{made['id']}/edit", "/audit"):
        assert secret not in olga.see(path)
    assert secret not in hooks.kept()
    assert audited(hooks) == [("webhook.create", made["id"])]

    chosen = olga.send("/webhooks/save", {**form, "secret": "chosen-by-olga"}, 200).text
    assert "chosen-by-olga" not in chosen and "the secret that you chose" in chosen


@pytest.mark.requirement("K06")
def test_a_secret_is_rotated_with_an_overlap(olga: Person, hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.subscribe(receiver.url)
    path = f"/webhooks/{made['endpoint']['id']}"
    csrf = fields_of(olga.see(path))["csrf"]

    answer = olga.send(f"{path}/rotate", {"csrf": csrf, "overlap": "48"}, 200)

    assert secret_on(answer.text) != made["secret"] and secret_on(answer.text) not in str(answer.headers)
    until = hooks.get(f"/webhooks/endpoints/{made['endpoint']['id']}")["oldSecretUntil"].replace("Z", "+00:00")
    for page in (answer.text, olga.see(path)):
        assert f'datetime="{until}"' in page
    olga.send(f"{path}/rotate", {"csrf": csrf, "overlap": "1000"})
    assert "overlap" in olga.see(path)
    assert [action for action, _ in audited(hooks)] == ["webhook.create", "webhook.rotate"]


@pytest.mark.requirement("O01")
def test_an_endpoint_is_changed_switched_tested_and_deleted(olga: Person, hooks: Hooks, receiver: Receiver) -> None:
    id = hooks.subscribe(receiver.url)["endpoint"]["id"]
    page = olga.see(f"/webhooks/{id}/edit")
    assert f'value="{receiver.url}"' in page and 'value="incident.created"' in page
    answer = olga.send("/webhooks/save", filled(page, url=receiver.url, events="*", description="all of it"))
    assert answer.headers["Location"] == f"{PREFIX}/webhooks/{id}"
    assert hooks.get(f"/webhooks/endpoints/{id}")["events"] == ["*"]

    olga.press(olga.see(f"/webhooks/{id}"), "change_endpoint")
    assert "disabled by hand" in olga.see("/webhooks")
    olga.press(olga.see("/webhooks"), "change_endpoint")
    olga.press(olga.see("/webhooks"), "test_endpoint")
    hooks.deliver()
    assert len(receiver.requests) == 1
    asked = olga.press(olga.see(f"/webhooks/{id}"), "delete_endpoint", 200)
    hooks.get(f"/webhooks/endpoints/{id}")
    olga.press(asked.text, "delete_endpoint")
    hooks.get(f"/webhooks/endpoints/{id}", 404)
    actions = ["create", "change", "change", "change", "test", "delete"]
    assert audited(hooks) == [(f"webhook.{action}", id) for action in actions]


def test_how_an_endpoint_does_is_told_in_words(olga: Person, hooks: Hooks, receiver: Receiver) -> None:
    id = hooks.subscribe(receiver.url)["endpoint"]["id"]
    assert "works" in olga.see("/webhooks")
    receiver.replies = [Reply(500)] * 5
    [delivery] = hooks.publish()
    job = hooks.get(f"/webhooks/deliveries/{delivery}")["delivery"]["jobId"]
    hooks.site.worker.run(job)
    assert "failed 1 time in a row" in olga.see("/webhooks")
    for _ in range(4):
        hooks.site.worker.run(job)

    assert "rests" in olga.see("/webhooks")
    page = olga.see(f"/webhooks/{id}")
    assert "open, 5 failures in a row" in page and "1 delivery, 1 failed" in page
    hooks.site.execute(f"UPDATE understudy_webhook_breakers SET open_until = {hooks.site.moment(-1)}")
    assert "tried again by the next delivery" in olga.see("/webhooks")


def test_a_delivery_is_shown_with_its_attempts_and_sent_again(olga: Person, hooks: Hooks, receiver: Receiver) -> None:
    id = hooks.subscribe(receiver.url)["endpoint"]["id"]
    receiver.replies = [Reply(404, body=HOSTILE.encode())] * 10
    first, second = hooks.publish()[0], hooks.publish()[0]
    hooks.deliver()

    assert "None is delivered." in olga.see("/webhooks?state=delivered")
    for path in ("/webhooks?state=failed", f"/webhooks/{id}"):
        page = olga.see(path)
        assert f"{PREFIX}/deliveries/{first}" in page and f"{PREFIX}/deliveries/{second}" in page
    page = olga.see(f"/deliveries/{first}")
    assert page.count(html.escape(HOSTILE, quote=False).replace("'", "&#39;").replace('"', "&#34;")) == 5
    assert "<script>alert" not in page and receiver.url in page and "&#34;incident.created&#34;" in page
    hidden = signed_in(hooks, "read").see(f"/deliveries/{first}")
    assert "alert(1)" not in hidden and "takes the scope" in hidden

    olga.press(page, "replay_delivery")
    olga.press(olga.see(f"/webhooks/{id}"), "replay_endpoint", **{"since:utc": "2020-01-01T00:00"})
    assert "1 delivery is sent again." in olga.see(f"/webhooks/{id}")
    hooks.deliver()
    assert [row["state"] for row in hooks.get("/webhooks/deliveries")["data"]] == ["delivered"] * 2
    assert [target for _, target in audited(hooks)] == [id, first, id]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": "https://localhost"}, "url"),
        ({"url": "http://10.0.0.1"}, "url"),
        ({"events": "a!b"}, "events"),
        ({"events": " , "}, "events"),
        ({"secret": "short"}, "secret"),
    ],
)
def test_what_cannot_be_is_said_beside_what_was_typed(
    hooks: Hooks, olga: Person, receiver: Receiver, changed: dict[str, str], said: str
) -> None:
    wanted = {"url": receiver.url, "events": "told", "description": HOSTILE[:40], **changed}
    page = olga.send("/webhooks/save", filled(olga.see("/webhooks/new"), **wanted), 422).text
    assert 'role="alert"' in page and f"{said}: " in page
    assert "&lt;script&gt;" in page and "<script>alert" not in page and "short" not in page.partition("<form")[2]
    assert hooks.get("/webhooks/endpoints")["data"] == []


def test_hostile_words_are_shown_as_words(olga: Person, hooks: Hooks, receiver: Receiver) -> None:
    id = hooks.subscribe(receiver.url, description=HOSTILE)["endpoint"]["id"]
    for path in ("/webhooks", f"/webhooks/{id}", f"/webhooks/{id}/edit"):
        page = olga.see(path)
        assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page and "<img" not in page


@pytest.mark.requirement("P03", "P04")
def test_another_tenant_sees_and_changes_nothing(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.subscribe(receiver.url)["endpoint"]
    [delivery] = hooks.publish()
    eve = signed_in(hooks, tenant="birch")
    page = eve.see("/webhooks")
    assert receiver.url not in page and delivery not in page
    for path in (f"/webhooks/{made['id']}", f"/webhooks/{made['id']}/edit", f"/deliveries/{delivery}"):
        eve.see(path, 404)
    csrf = eve.csrf()
    eve.send("/webhooks/save", {"csrf": csrf, "known": made["id"], "url": receiver.url, "events": "*"}, 404)
    eve.send(f"/webhooks/{made['id']}/rotate", {"csrf": csrf}, 404)
    eve.send("/do/delete_endpoint", {"csrf": csrf, "endpoint_id": made["id"], "confirmed": "yes"})
    assert hooks.get(f"/webhooks/endpoints/{made['id']}") == made | {"deliveries": 1}


@pytest.mark.parametrize(("scopes", "acts"), [("read payload", False), ("read operate", True)])
def test_who_may_not_act_has_no_buttons_and_is_refused(
    hooks: Hooks, receiver: Receiver, scopes: str, acts: bool
) -> None:
    made = hooks.subscribe(f"{receiver.url}?key=hidden")["endpoint"]
    [delivery] = hooks.publish()
    hooks.deliver()
    reader = signed_in(hooks, scopes)
    pages = "".join(reader.see(path) for path in ("/webhooks", f"/webhooks/{made['id']}", f"/deliveries/{delivery}"))
    assert "hidden=" not in pages and "key=hidden" not in pages
    for door in ("test_endpoint", "replay_endpoint", "replay_delivery"):
        assert (f"/do/{door}" in pages) is acts
    for words in ("/do/change_endpoint", "/do/delete_endpoint", "/rotate", "/webhooks/new", "/edit"):
        assert words not in pages
    reader.see("/webhooks/new", 403)
    reader.see(f"/webhooks/{made['id']}/edit", 403)
    csrf = fields_of(reader.see(""))["csrf"]
    refused: list[tuple[str, dict[str, Any]]] = [
        ("/webhooks/save", {"url": receiver.url, "events": "*"}),
        (f"/webhooks/{made['id']}/rotate", {}),
        ("/do/delete_endpoint", {"endpoint_id": made["id"], "confirmed": "yes"}),
    ]
    for path, fields in refused:
        reader.send(path, {"csrf": csrf, **fields}, 403)
    assert len(hooks.get("/webhooks/endpoints")["data"]) == 1
    assert audited(hooks) == [("webhook.create", made["id"])]


def test_a_form_of_another_site_makes_no_secret(hooks: Hooks, olga: Person, receiver: Receiver) -> None:
    id = hooks.subscribe(receiver.url)["endpoint"]["id"]
    olga.send(f"/webhooks/{id}/rotate", {}, 403)
    olga.send("/webhooks/save", {"url": receiver.url, "events": "*"}, 403)
    assert audited(hooks) == [("webhook.create", id)]


def test_an_operator_sees_whose_it_is(hooks: Hooks, receiver: Receiver) -> None:
    hooks.as_(tenant="birch").subscribe(receiver.url)
    assert "birch" in signed_in(hooks, f"{EVERY_SCOPE} tenants").see("/webhooks")
