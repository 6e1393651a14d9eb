"""The mail server."""

from __future__ import annotations

import os
import smtplib
from collections.abc import Iterator

from ...state import State
from .finding import ERROR, OK, WARNING, Finding

TIMEOUT_SECONDS = 2.0
LOCAL = {"localhost", "127.0.0.1", "::1"}


def reachable(state: State) -> Iterator[Finding]:
    """Look whether it takes a connection and answers EHLO."""
    config = state.app.config
    host = config.get("MAIL_SERVER") or config.get("SMTP_HOST") or os.environ.get("SMTP_HOST")
    if not host:
        return
    port = int(config.get("MAIL_PORT") or config.get("SMTP_PORT") or os.environ.get("SMTP_PORT") or 25)
    connect = smtplib.SMTP_SSL if config.get("MAIL_USE_SSL") else smtplib.SMTP
    try:
        with connect(str(host), port, local_hostname="localhost", timeout=TIMEOUT_SECONDS) as server:
            code, _ = server.ehlo()
    except (OSError, smtplib.SMTPException) as problem:
        is_meant = host not in LOCAL or "SMTP_HOST" in os.environ
        remedy = "Correct SMTP_HOST and SMTP_PORT, or let the firewall pass. Mails wait and are tried again."
        yield Finding(ERROR if is_meant else WARNING, f"{host}:{port} does not answer: {problem}", remedy)
        return
    if code != 250:
        yield Finding(ERROR, f"{host}:{port} answers EHLO with {code}", "Ask whoever runs the mail server.")
    else:
        yield Finding(OK, f"{host}:{port} answers")
