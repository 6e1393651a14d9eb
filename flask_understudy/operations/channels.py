"""Who is told of alerts besides the log: subscribers of the signals, Sentry, addresses of mail, a webhook."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.util import Timeout

from .. import signals
from ..errors import described
from ..redaction import WITHHELD, redacted_text
from ..signals import AlertNotice
from ..state import State

logger = logging.getLogger("flask_understudy")

TIMEOUT_SECONDS = 5.0
TEST_SECONDS = 12.0
MOST_AT_A_TIME = 8
LONGEST_REASON = 200
TEST = "test"


@dataclass(frozen=True, slots=True)
class Channel:
    """Who is told.

    Attributes:
        name: `signal`, `Sentry`, `mail`, `webhook`.
        deliver: Tells a notice; raises when it cannot.
        to: Whom, where several have the name.
    """

    name: str
    deliver: Callable[[AlertNotice], None]
    to: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a test.

    Attributes:
        channel: Who was to be told: `log`, or the name of a channel.
        to: Whom, where several have the name.
        error: Why it was not; None = it was.
    """

    channel: str
    to: str
    error: str | None


class Channels:
    """Delivers notices.

    Args:
        state: The application's side of the library.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._pool: urllib3.PoolManager | None = None

    def of(self, notice: AlertNotice) -> list[Channel]:
        """Return who is to be told of a notice."""
        found = [Channel("signal", self._signal)]
        if notice.muted:
            return found
        sentry = sys.modules.get("sentry_sdk")
        if sentry is not None and sentry.is_initialized():
            found.append(Channel("Sentry", lambda told: _capture(sentry, told)))
        for address in self.state.config.alert_emails:
            found.append(Channel("mail", partial(self._mail, address), address))
        if self.state.config.alert_webhook:
            found.append(Channel("webhook", self._post))
        return found

    def test(self, by: str) -> list[Outcome]:
        """Tell everybody once that this is a test, at once and all together; return what became of it.

        Args:
            by: Who asks for it.
        """
        notice = _test_notice(by)
        log(notice)
        told = self.of(notice)
        if not signals.alert_raised.has_receivers_for(self.state.app):
            told = told[1:]
        pool = ThreadPoolExecutor(MOST_AT_A_TIME, thread_name_prefix="understudy-alert-test")
        tries = [(channel, pool.submit(channel.deliver, notice)) for channel in told]
        pool.shutdown(wait=False)
        wait_for_all([one for _, one in tries], TEST_SECONDS)
        return [
            Outcome("log", "", None),
            *(Outcome(channel.name, channel.to, self._failure(one)) for channel, one in tries),
        ]

    def _failure(self, tried: Future[None]) -> str | None:
        if not tried.done():
            tried.cancel()
            return f"It did not answer within {TEST_SECONDS:.0f} s."
        error = tried.exception()
        return None if error is None else self.reason(error)

    def reason(self, error: BaseException) -> str:
        """Return why a delivery failed, without the webhook's address and the mail's password."""
        text = described(error)
        for secret in self._secrets():
            text = text.replace(secret, WITHHELD)
        return redacted_text(text)[:LONGEST_REASON]

    def _secrets(self) -> list[str]:
        url = urlsplit(self.state.config.alert_webhook)
        secrets = [self.state.config.alert_webhook, url.netloc, url.hostname, url.path, url.query, url.fragment]
        secrets += [str(self.state.app.config.get(key) or "") for key in ("MAIL_PASSWORD", "MAIL_USERNAME")]
        return sorted((secret for secret in secrets if secret and len(secret) > 1), key=len, reverse=True)

    def _signal(self, notice: AlertNotice) -> None:
        app, what = self.state.app, signals.alert_raised if notice.ended_at is None else signals.alert_cleared
        with app.app_context():
            if notice.is_test:
                what.send(app, alert=notice)  # whoever asked for it shall learn of a subscriber that raises
            else:
                signals.emit(what, app, alert=notice)

    def _mail(self, address: str, notice: AlertNotice) -> None:
        if "mail" not in self.state.app.extensions:
            raise RuntimeError("UNDERSTUDY_ALERT_EMAILS is set, and the application has no Flask-Mail")
        mail: Any = import_module("flask_understudy.contrib.mail")  # needs the extra `mail`
        with self.state.app.app_context():
            letter = mail.compose(address, _subject(notice), text=_text(notice))
            mail.deliver(letter, timeout_seconds=TIMEOUT_SECONDS)

    def _post(self, notice: AlertNotice) -> None:
        if self._pool is None:
            self._pool = urllib3.PoolManager(retries=False, timeout=Timeout(total=TIMEOUT_SECONDS))
        answer = self._pool.request(
            "POST",
            self.state.config.alert_webhook,
            body=json.dumps(payload(notice)).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "flask-understudy"},
            redirect=False,
            preload_content=False,
        )
        answer.close()  # whatever it says, its status is enough
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"it answered {answer.status}")


def _test_notice(by: str) -> AlertNotice:
    message = f"This is a test of the alerts, asked for by {by[:100] or 'an operator'}. Nothing is wrong."
    return AlertNotice(
        id=0,
        rule=TEST,
        subject="",
        began_at=datetime.now(UTC),
        ended_at=None,
        value=0,
        threshold=0,
        message=message,
        is_test=True,
    )


def payload(notice: AlertNotice) -> dict[str, Any]:
    """Return what the webhook is sent."""
    event = "alert.raised" if notice.ended_at is None else "alert.cleared"
    return {
        "event": "alert.test" if notice.is_test else event,
        "id": notice.id,
        "rule": notice.rule,
        "subject": notice.subject,
        "beganAt": notice.began_at.isoformat(),
        "endedAt": None if notice.ended_at is None else notice.ended_at.isoformat(),
        "value": notice.value,
        "threshold": notice.threshold,
        "message": notice.message,
    }


def log(notice: AlertNotice) -> None:
    """Tell a notice to the log."""
    raised = notice.ended_at is None
    fields = {name: value for name, value in asdict(notice).items() if name != "message"}
    event = "alert raised" if raised else "alert cleared"
    logger.log(
        logging.WARNING if raised else logging.INFO,
        "Alert: %s" if raised else "Recovered: %s",
        notice.message,
        extra={"event": "alert tested" if notice.is_test else event, "alert": fields},
    )


def _capture(sentry: Any, notice: AlertNotice) -> None:
    level = "warning" if notice.ended_at is None else "info"
    sentry.capture_message(_subject(notice), level=level)


def _subject(notice: AlertNotice) -> str:
    if notice.is_test:
        return "Test of the alerts: nothing is wrong"
    what = f"{notice.rule} of {notice.subject}" if notice.subject else notice.rule
    return f"{'Alert' if notice.ended_at is None else 'Recovered'}: {what}"[:200]


def _text(notice: AlertNotice) -> str:
    if notice.is_test:
        return f"{notice.message}\n"
    lines = [notice.message, "", f"Rule: {notice.rule}, allowed: {notice.threshold:g}, found: {notice.value:g}"]
    lines.append(f"Since: {notice.began_at:%Y-%m-%d %H:%M:%S} UTC")
    if notice.ended_at is not None:
        lines.append(f"Over:  {notice.ended_at:%Y-%m-%d %H:%M:%S} UTC")
    return "\n".join(lines) + "\n"
