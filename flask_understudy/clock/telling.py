"""Telling people of alerts: the log at once, all others from a thread, so that none of them holds up the clock."""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from typing import Any

import urllib3
from urllib3.util import Timeout

from .. import signals
from ..signals import AlertNotice
from ..state import State

logger = logging.getLogger("flask_understudy")

TRIES = 5
TIMEOUT_SECONDS = 5.0
MOST_PENDING = 1000
LAST_WORD_SECONDS = 1.0


@dataclass(slots=True)
class Errand:
    """A notice on its way to one destination."""

    destination: str
    deliver: Callable[[AlertNotice], None]
    notice: AlertNotice
    tries: int = 0


class Telling:
    """Tells alerts to the log, to subscribers of the signals, to Sentry, by mail and to a webhook.

    A destination that fails is tried again with the next evaluation, five times in all.

    Args:
        state: The application's side of the library.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._inbox: queue.SimpleQueue[Errand | threading.Event] = queue.SimpleQueue()
        self._failed: queue.SimpleQueue[Errand] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pool: urllib3.PoolManager | None = None

    def tell(self, notices: list[AlertNotice]) -> None:
        """Tell what is new, and once more what could not be delivered before; returns at once."""
        errands: list[Errand] = []
        while not self._failed.empty():
            errands.append(self._failed.get())
        for notice in notices:
            _log(notice)
            errands += [Errand(name, deliver, notice) for name, deliver in self._destinations(notice)]
        if not errands:
            return
        if self._inbox.qsize() > MOST_PENDING:
            logger.error("%d notices of alerts are dropped: too many wait to be delivered.", len(errands))
            return
        for errand in errands:
            self._inbox.put(errand)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="understudy-alerts", daemon=True)
            self._thread.start()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was handed in so far was tried; tell whether it was, within `timeout` s."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._inbox.put(done)
        return done.wait(timeout)

    def stop(self) -> None:
        """Deliver what is left, for a second at the most."""
        self.flush(LAST_WORD_SECONDS)

    def _run(self) -> None:
        while True:
            errand = self._inbox.get()
            if isinstance(errand, threading.Event):
                errand.set()
                continue
            errand.tries += 1
            try:
                errand.deliver(errand.notice)
            except Exception as problem:
                again = errand.tries < TRIES
                logger.log(
                    logging.WARNING if again else logging.ERROR,
                    "Alert %d could not be told by %s (try %d of %d): %s",
                    errand.notice.id,
                    errand.destination,
                    errand.tries,
                    TRIES,
                    f"{type(problem).__name__}: {str(problem)[:200]}",
                )
                if again:
                    self._failed.put(errand)

    def _destinations(self, notice: AlertNotice) -> list[tuple[str, Callable[[AlertNotice], None]]]:
        found: list[tuple[str, Callable[[AlertNotice], None]]] = [("signal", self._signal)]
        if notice.muted:
            return found
        sentry = sys.modules.get("sentry_sdk")
        if sentry is not None and sentry.is_initialized():
            found.append(("Sentry", lambda told: _capture(sentry, told)))
        for address in self.state.config.alert_emails:
            found.append(("mail", partial(self._mail, address)))
        if self.state.config.alert_webhook:
            found.append(("webhook", self._post))
        return found

    def _signal(self, notice: AlertNotice) -> None:
        with self.state.app.app_context():
            what = signals.alert_raised if notice.ended_at is None else signals.alert_cleared
            signals.emit(what, self.state.app, alert=notice)

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


def payload(notice: AlertNotice) -> dict[str, Any]:
    """Return what the webhook is sent."""
    return {
        "event": "alert.raised" if notice.ended_at is None else "alert.cleared",
        "id": notice.id,
        "rule": notice.rule,
        "subject": notice.subject,
        "beganAt": notice.began_at.isoformat(),
        "endedAt": None if notice.ended_at is None else notice.ended_at.isoformat(),
        "value": notice.value,
        "threshold": notice.threshold,
        "message": notice.message,
    }


def _log(notice: AlertNotice) -> None:
    raised = notice.ended_at is None
    fields = {name: value for name, value in asdict(notice).items() if name != "message"}
    logger.log(
        logging.WARNING if raised else logging.INFO,
        "Alert: %s" if raised else "Recovered: %s",
        notice.message,
        extra={"event": "alert raised" if raised else "alert cleared", "alert": fields},
    )


def _capture(sentry: Any, notice: AlertNotice) -> None:
    level = "warning" if notice.ended_at is None else "info"
    sentry.capture_message(_subject(notice), level=level)


def _subject(notice: AlertNotice) -> str:
    what = f"{notice.rule} of {notice.subject}" if notice.subject else notice.rule
    return f"{'Alert' if notice.ended_at is None else 'Recovered'}: {what}"[:200]


def _text(notice: AlertNotice) -> str:
    lines = [notice.message, "", f"Rule: {notice.rule}, allowed: {notice.threshold:g}, found: {notice.value:g}"]
    lines.append(f"Since: {notice.began_at:%Y-%m-%d %H:%M:%S} UTC")
    if notice.ended_at is not None:
        lines.append(f"Over:  {notice.ended_at:%Y-%m-%d %H:%M:%S} UTC")
    return "\n".join(lines) + "\n"
