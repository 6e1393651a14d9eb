"""An application with Flask-Mail, and SMTP servers that answer as told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flask_mail
import pytest
from aiosmtpd.controller import Controller
from flask import Flask

from tools.servers.process import free_port
from tools.smtp import SmtpCatcher

MakeApp = Callable[..., Flask]

SENDER = '"The Service" <no-reply@service.example>'


@pytest.fixture
def make_app() -> MakeApp:
    """Make an application that sends mail to a port on this machine."""

    def make(port: int = 9, **config: Any) -> Flask:
        app = Flask("mailing")
        app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port, MAIL_DEFAULT_SENDER=SENDER, **config)
        flask_mail.Mail(app)
        return app

    return make


@pytest.fixture
def context(make_app: MakeApp, smtp_server: SmtpCatcher) -> Iterator[Flask]:
    """Stay inside an application whose mail goes to `smtp_server`."""
    app = make_app(smtp_server.port)
    with app.app_context():
        yield app


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Start an SMTP server around a handler of aiosmtpd and return its port."""
    running: list[Controller] = []

    def start(handler: object, **options: Any) -> int:
        controller = Controller(handler, hostname="127.0.0.1", port=free_port(), **options)
        controller.start()
        running.append(controller)
        return controller.port

    yield start
    for controller in running:
        controller.stop(no_assert=True)
