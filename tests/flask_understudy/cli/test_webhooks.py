"""Webhooks from the command line: subscriptions, and what they were sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_understudy.contrib.webhooks import verify_headers
from flask_understudy.contrib.webhooks.sending import Webhooks
from tests.flask_understudy.cli.conftest import Typist
from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.contrib.webhooks.conftest import SECRET, SETTINGS
from tools.receiver import Receiver, Reply

Fails = Callable[..., str]


class WebhookTypist(Typist):
    """Types commands of a site that sends webhooks."""

    def __init__(self, site: Any) -> None:
        super().__init__(site)
        self.webhooks = Webhooks(site.jobs)

    def publish(self, tenant: str = "acme") -> str:
        with self.site.app.app_context():
            return self.webhooks.publish("told", {"canary": "in the payload"}, tenant)[0].id

    def add(self, url: str, *more: str, tenant: str = "acme") -> dict[str, Any]:
        made = self("webhooks", "endpoints", "add", url, "--tenant", tenant, "--json", *more).json
        assert made["endpoint"]["tenant"] == tenant
        return made  # type: ignore[no-any-return]


@pytest.fixture
def cli(make_site: MakeSite, ledger_url: str) -> WebhookTypist:
    return WebhookTypist(make_site(ledger_url, **SETTINGS))


@pytest.fixture
def sqlite_cli(make_site: MakeSite, sqlite_ledger: str) -> WebhookTypist:
    return WebhookTypist(make_site(sqlite_ledger, **SETTINGS))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_an_endpoint_is_added_listed_switched_and_deleted(cli: WebhookTypist, receiver: Receiver) -> None:
    made = cli.add(f"{receiver.url}?key=1", "--event", "told", "--event", "shown", "--description", "of theirs")
    other = cli.add(receiver.url, tenant="birch")["endpoint"]
    id, secret = made["endpoint"]["id"], made["secret"]

    assert made["endpoint"]["events"] == ["told", "shown"] and other["events"] == ["*"]
    listed = cli("webhooks", "endpoints", "list", "--json").json
    assert [row["id"] for row in listed["data"]] == [id, other["id"]] and listed["more"] is False
    of_one = cli("webhooks", "endpoints", "list", "--tenant", "acme", "--json").json["data"]
    assert [row["url"] for row in of_one] == [f"{receiver.url}?key=1"]
    first = cli("webhooks", "endpoints", "list", "--limit", "1")
    assert id in first.out and other["id"] not in first.out and "there are more" in first.err
    disabled = cli("webhooks", "endpoints", "disable", id, "--json").json
    assert (disabled["enabled"], disabled["disabledReason"]) == (False, "by_hand")
    assert "disabled: by_hand" in cli("webhooks", "endpoints", "list").out
    assert "is disabled" in cli.fails("webhooks", "endpoints", "ping", id, code=1)
    assert "is enabled" in cli("webhooks", "endpoints", "enable", id).out
    shown = cli("webhooks", "endpoints", "show", id)
    assert "of theirs" in shown.out and secret not in shown.out
    assert "gone" in cli("webhooks", "endpoints", "delete", id, "--yes").out
    assert "There is no endpoint" in cli.fails("webhooks", "endpoints", "show", id, code=4)
    assert [action for action, target in cli.audit() if target == id] == [
        "webhook.delete",
        "webhook.change",
        "webhook.change",
        "webhook.create",
    ]


def test_a_secret_is_shown_once_and_one_from_a_file_never(
    cli: WebhookTypist, receiver: Receiver, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("chosen-by-hand\n")
    made = cli.add(receiver.url, "--secret-file", str(file))
    id = made["endpoint"]["id"]
    rotated = cli("webhooks", "endpoints", "rotate-secret", id, "--json").json
    said = cli("webhooks", "endpoints", "rotate-secret", id, "--overlap-hours", "2").out
    delivery = cli.publish()
    cli.site.worker.drain(raise_errors=True)

    assert made["secret"] is None and rotated["secret"].startswith("whsec_")
    [got] = receiver.requests
    assert verify_headers(rotated["secret"], got.headers, got.body) == delivery
    assert verify_headers(said.split()[-1], got.headers, got.body) == delivery
    assert rotated["secret"] not in str(cli("webhooks", "endpoints", "show", id, "--json").json)
    assert SECRET not in said


def test_deliveries_are_listed_shown_and_replayed(cli: WebhookTypist, receiver: Receiver) -> None:
    receiver.always = Reply(410, body=b"answer canary")
    id = cli.add(receiver.url)["endpoint"]["id"]
    ids = [cli.publish(), cli.publish()]
    cli.site.worker.drain()
    cli("webhooks", "endpoints", "enable", id)
    receiver.always = None

    failed = cli("webhooks", "deliveries", "list", "--state", "failed", "--json").json["data"]
    assert {row["id"] for row in failed} == set(ids)
    assert {row["error"] for row in failed} == {"http_410", "endpoint_disabled"}
    refused = next(row["id"] for row in failed if row["error"] == "http_410")
    assert "http_410" in cli("webhooks", "deliveries", "list", "--endpoint", id, "--tenant", "acme").out
    assert cli("webhooks", "deliveries", "list", "--tenant", "birch", "--json").json["data"] == []
    shown = cli("webhooks", "deliveries", "show", refused, "--json")
    assert shown.json["tries"][0]["status"] == 410 and "canary" not in shown.out
    revealed = cli("webhooks", "deliveries", "show", refused, "--payload")
    assert "in the payload" in revealed.out and "answer canary" in revealed.out
    again = cli("webhooks", "deliveries", "replay", refused, "--json").json
    assert (again["id"], again["state"]) == (refused, "pending")
    assert "pending" in cli.fails("webhooks", "deliveries", "replay", refused, code=1)
    assert "1 failed webhook " in cli("webhooks", "deliveries", "replay", "--endpoint", id, "--since", "1h").out
    cli.site.worker.drain(raise_errors=True)
    assert cli("webhooks", "deliveries", "list", "--state", "delivered", "--json").json["data"][1]["attempts"] >= 1
    assert [action for action, _ in cli.audit()][:3] == ["webhook.replay", "webhook.replay", "webhook.payload"]


def test_an_endpoint_is_pinged(cli: WebhookTypist, receiver: Receiver) -> None:
    id = cli.add(receiver.url, "--event", "other")["endpoint"]["id"]

    said = cli("webhooks", "endpoints", "ping", id, "--json").json
    cli.site.worker.drain(raise_errors=True)

    assert said["event"] == "webhook.test"
    assert [got.headers["webhook-id"] for got in receiver.requests] == [said["id"]]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["endpoints", "add", "https://10.0.0.1/"], 2, "nothing is sent to"),
        (["endpoints", "add", "https://example.com/", "--event", "a b"], 2, "is no event"),
        (["endpoints", "list", "--limit", "0"], 2, "is not in the range"),
        (["endpoints", "rotate-secret", "x", "--overlap-hours", "999"], 2, "is not in the range"),
        (["endpoints", "enable", "x"], 4, "There is no endpoint 'x'"),
        (["endpoints", "delete", "x", "--yes"], 4, "There is no endpoint 'x'"),
        (["deliveries", "show", "x"], 4, "There is no delivery 'x'"),
        (["deliveries", "replay", "x"], 4, "There is no delivery 'x'"),
        (["deliveries", "replay"], 2, "Give the id of a delivery"),
        (["deliveries", "replay", "x", "--endpoint", "y", "--since", "1h"], 2, "Give the id of a delivery"),
        (["deliveries", "replay", "--endpoint", "y"], 2, "Give the id of a delivery"),
        (["deliveries", "replay", "--endpoint", "y", "--since", "1h"], 4, "There is no endpoint 'y'"),
        (["deliveries", "list", "--state", "lost"], 2, "'lost' is not one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_line(sqlite_cli: WebhookTypist, arguments: list[str], code: int, said: str) -> None:
    assert said in sqlite_cli.fails("webhooks", *arguments, code=code)
    assert sqlite_cli("webhooks", "endpoints", "list").out.strip() == "Nobody has subscribed."
    assert sqlite_cli.audit() == []


def test_a_deletion_that_is_not_confirmed_deletes_nothing(sqlite_cli: WebhookTypist, receiver: Receiver) -> None:
    id = sqlite_cli.add(receiver.url)["endpoint"]["id"]

    sqlite_cli("webhooks", "endpoints", "delete", id, expect=1)

    assert id in sqlite_cli("webhooks", "endpoints", "list").out


def test_an_application_without_webhooks_says_so(make_site: MakeSite, sqlite_ledger: str) -> None:
    said = Typist(make_site(sqlite_ledger)).fails("webhooks", "endpoints", "list", code=1)

    assert "sends no webhooks" in said
