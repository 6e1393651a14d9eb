"""A test of who is told of alerts."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import sentry_sdk
from flask_mail import Mail

from flask_understudy import signals
from flask_understudy.operations import channels
from flask_understudy.operations.channels import Channels, Outcome
from flask_understudy.signals import AlertNotice
from tests.flask_understudy.clock.test_alerts import Ears, Hook, ears, hook  # noqa: F401 - two are fixtures
from tests.flask_understudy.conftest import MakeSite
from tools.servers.process import free_port
from tools.smtp import SmtpCatcher

pytestmark = pytest.mark.requirement("M08")

SAYS = "This is a test of the alerts, asked for by olga. Nothing is wrong."


def test_everybody_is_told_at_once_and_learns_that_it_is_a_test(
    make_site: MakeSite,
    sqlite_ledger: str,
    ears: Ears,  # noqa: F811
    hook: tuple[str, type[Hook]],  # noqa: F811
    smtp_server: SmtpCatcher,
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = make_site(
        sqlite_ledger,
        UNDERSTUDY_ALERT_EMAILS="ops@example.com,night@example.com",
        UNDERSTUDY_ALERT_WEBHOOK=hook[0],
        MAIL_SERVER=smtp_server.host,
        MAIL_PORT=smtp_server.port,
        MAIL_DEFAULT_SENDER="jobs@example.com",
        TESTING=False,
    )
    Mail(site.app)
    events: list[Any] = []
    with sentry_sdk.isolation_scope():
        before = sentry_sdk.get_global_scope().client
        sentry_sdk.init(
            dsn="http://key@127.0.0.1:9/1",
            before_send=lambda event, _: events.append(event),
            default_integrations=False,
        )
        try:
            outcomes = Channels(site.state).test("olga")
        finally:
            sentry_sdk.get_global_scope().set_client(before)

    assert outcomes == [
        Outcome("log", "", None),
        Outcome("signal", "", None),
        Outcome("Sentry", "", None),
        Outcome("mail", "ops@example.com", None),
        Outcome("mail", "night@example.com", None),
        Outcome("webhook", "", None),
    ]
    [record] = [record for record in caplog.records if SAYS in record.getMessage()]
    assert (record.levelno, record.event) == (logging.WARNING, "alert tested")  # type: ignore[attr-defined]
    [notice] = ears.raised
    assert (notice.is_test, notice.rule, notice.message) == (True, "test", SAYS)
    assert [event["message"] for event in events] == ["Test of the alerts: nothing is wrong"]
    assert {message["Subject"] for message in smtp_server.messages} == {"Test of the alerts: nothing is wrong"}
    assert sorted(message["To"] for message in smtp_server.messages) == ["night@example.com", "ops@example.com"]
    assert SAYS in smtp_server.messages[0].get_content()
    [body] = hook[1].bodies
    assert (body["event"], body["rule"], body["message"]) == ("alert.test", "test", SAYS)


def test_where_nobody_listens_only_the_log_is_told(make_site: MakeSite, sqlite_ledger: str) -> None:
    assert Channels(make_site(sqlite_ledger).state).test("olga") == [Outcome("log", "", None)]


def test_who_cannot_be_reached_is_told_without_secrets(make_site: MakeSite, sqlite_ledger: str) -> None:
    def broken(sender: Any, alert: AlertNotice) -> None:
        raise ValueError("the pager is gone; token=xoxb-1234567890")

    signals.alert_raised.connect(broken)
    site = make_site(
        sqlite_ledger,
        UNDERSTUDY_ALERT_EMAILS="ops@example.com",
        UNDERSTUDY_ALERT_WEBHOOK=f"http://localhost:{free_port()}/services/T0/sesame?key=hush",
    )

    outcomes = {outcome.channel: outcome.error for outcome in Channels(site.state).test("olga")}

    assert outcomes["log"] is None
    assert outcomes["signal"] == "ValueError: the pager is gone; token=***"
    assert "has no Flask-Mail" in str(outcomes["mail"])
    assert "refused" in str(outcomes["webhook"])
    for secret in ("sesame", "hush", "localhost"):
        assert secret not in str(outcomes["webhook"])


@pytest.mark.parametrize("status", [302, 500])
def test_what_the_webhook_answers_is_told(
    make_site: MakeSite,
    sqlite_ledger: str,
    hook: tuple[str, type[Hook]],  # noqa: F811
    status: int,
) -> None:
    hook[1].statuses.append(status)
    site = make_site(sqlite_ledger, UNDERSTUDY_ALERT_WEBHOOK=hook[0])
    assert Channels(site.state).test("olga")[1] == Outcome("webhook", "", f"RuntimeError: it answered {status}")
    assert len(hook[1].bodies) == 1


def test_who_hangs_is_not_waited_for(
    make_site: MakeSite,
    sqlite_ledger: str,
    hook: tuple[str, type[Hook]],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels, "TEST_SECONDS", 0.2)
    hook[1].hold.clear()
    site = make_site(sqlite_ledger, UNDERSTUDY_ALERT_WEBHOOK=hook[0])
    assert "did not answer within" in str(Channels(site.state).test("olga")[1].error)
