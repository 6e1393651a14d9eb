"""What must not be shown is shown nowhere."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flask_understudy import current_job
from flask_understudy.ledger import queries
from flask_understudy.redaction import WITHHELD, redacted, redacted_arguments, redacted_text
from tests.flask_understudy.conftest import MakeSite, Site


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "smtp_pass",
        "SECRET",
        "api_key",
        "apikey",
        "api-key",
        "access_token",
        "Authorization",
        "sessionId",
        "card_number",
        "cvv",
        "iban",
        "ssn",
        "otp",
        "private_key",
        "credentials",
        "cookie",
        "signature",
    ],
)
def test_secrets_are_known_by_their_names(name: str) -> None:
    value = {"to": "a", name: "s3cret", "deep": [{"x": {name: ["s3cret"]}}]}
    assert redacted(value) == {"to": "a", name: WITHHELD, "deep": [{"x": {name: WITHHELD}}]}


def test_everything_else_is_shown() -> None:
    value = {"to": "a@example.com", "n": 1, "list": [True, None, 2.5], "keyboard": "x"}
    assert redacted(value) == value


@pytest.fixture
def arguments(sqlite_site: Site) -> Any:
    @sqlite_site.jobs.actor(sensitive=("pin",))
    def named(to: str, pin: str, password: str, data: dict, *more: Any, **rest: Any) -> None: ...

    @sqlite_site.jobs.actor(sensitive=True)
    def hidden(to: str, **rest: Any) -> None: ...

    return {"named": named, "hidden": hidden, "unknown": None}


def test_parameters_are_redacted_by_name_wherever_they_stand(arguments: Any) -> None:
    shown = redacted_arguments(
        arguments["named"], ("a", "1234", "pw", {"token": "t", "x": 1}, "more"), {"api_key": "k"}
    )
    assert shown == (("a", WITHHELD, WITHHELD, {"token": WITHHELD, "x": 1}, "more"), {"api_key": WITHHELD})
    assert redacted_arguments(arguments["named"], (), {"pin": "1", "password": "p", "to": "a"}) == (
        (),
        {"pin": WITHHELD, "password": WITHHELD, "to": "a"},
    )


@pytest.mark.parametrize("which", ["hidden", "unknown"])
def test_of_a_sensitive_or_unknown_actor_nothing_is_shown(arguments: Any, which: str) -> None:
    assert redacted_arguments(arguments[which], ("a", 1), {"b": 2}) == ((WITHHELD, WITHHELD), {"b": WITHHELD})


def test_a_message_that_callbacks_are_given_is_redacted_as_its_own_actor_asks(sqlite_site: Site, heard: list) -> None:
    site = sqlite_site

    @site.jobs.actor()
    def told(message: dict, outcome: Any) -> None: ...

    @site.jobs.actor(sensitive=("code",), on_failure=told, on_retry_exhausted=told, max_retries=0)
    def reset(to: str, code: str) -> None:
        raise ValueError

    reset.send("a@example.com", "s3cret")
    site.worker.drain()
    notices = [notice for _, notice in heard if notice.actor == "told"]
    assert len(notices) == 6
    assert "s3cret" not in repr(notices)
    assert "a@example.com" in repr(notices)
    assert [job.args[0]["args"] for job in site.worker.sent(told)] == [["a@example.com", "s3cret"]] * 2


def test_no_notice_and_no_log_line_holds_a_secret(
    make_site: MakeSite, sqlite_ledger: str, heard: list, caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site(sqlite_ledger)

    @site.jobs.actor(sensitive=("code",), max_retries=1)
    def reset(to: str, code: str, data: dict) -> None:
        if to == "explode":
            raise ValueError("bad luck")

    with caplog.at_level(logging.DEBUG, "flask_understudy"), caplog.at_level(logging.INFO, "dramatiq"):
        for to in ("a@example.com", "explode"):
            reset.send(to, "s3cret-1", data={"password": "s3cret-2"})
            reset.send(to, code="s3cret-1", data={"nested": [{"token": "s3cret-2"}]})
        site.worker.drain(include_delayed=True)
        site.jobs.cancel(reset.send("x", "s3cret-1", {"secret": "s3cret-2"}).message_id)

    assert len(heard) >= 14
    assert "s3cret" not in repr(heard)
    assert "s3cret" not in caplog.text
    assert "a@example.com" in repr(heard)


CARD = "4111 1111 1111 1111"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"token {JWT} here", "token *** here"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----!", "***!"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "***"),
        ("key AKIAIOSFODNN7EXAMPLE", "key ***"),
        ("sk_live_abcdefgh12345678", "***"),
        ("xoxb-123456789-abc", "***"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ("postgresql://ada:pw@db/x", "postgresql://***@db/x"),
        (f"card {CARD}.", "card ***."),
        ("card 4111-1111-1111-1112", "card 4111-1111-1111-1112"),
        ("order 12345678901234567890123", "order 12345678901234567890123"),
        ("5f0c9e3c-7f0a-4f3d-9d43-1f4f4f5a7b11", "5f0c9e3c-7f0a-4f3d-9d43-1f4f4f5a7b11"),
        ("https://example.com/a:b@c", "https://example.com/a:b@c"),
    ],
)
def test_what_looks_like_a_secret_is_withheld_wherever_it_stands(text: str, shown: str) -> None:
    assert redacted_text(text) == shown
    assert redacted({"note": [text]}) == {"note": [shown]}


def test_errors_and_log_lines_are_kept_without_secrets(sqlite_site: Site) -> None:
    site = sqlite_site

    @site.jobs.actor(max_retries=0)
    def leak() -> None:
        current_job.log("paid with %s", CARD)
        raise ValueError(f"refused: {JWT}")

    id = leak.send().message_id
    site.worker.run(id)

    [attempt] = queries.attempts(site.state.database, id)
    [line] = queries.timeline(site.state.database, id)
    assert site.job(id).error == attempt.error == "ValueError: refused: ***"
    assert JWT not in str(attempt.traceback)
    assert line.message == "paid with ***"
