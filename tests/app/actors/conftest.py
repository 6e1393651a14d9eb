"""The service with its mail caught, and a worker for its jobs."""

from typing import Any

import pytest
from flask import Flask

from app.extensions import jobs
from flask_understudy.testing import TestWorker
from tools.smtp import SmtpCatcher


@pytest.fixture
def mailing(make_app: Any, sqlite_url: str, smtp_server: SmtpCatcher) -> Any:
    """The app, its mail caught by `smtp_server`."""
    app: Flask = make_app(
        sqlite_url,
        SMTP_HOST="127.0.0.1",
        SMTP_PORT=smtp_server.port,
        SMTP_FROM='"Cofactor Club" <no-reply@cofactor.example>',
        APP_URL="https://app.example.com",
        MAIL_SUPPRESS_SEND=False,
    )
    with app.app_context():
        yield app


@pytest.fixture
def worker(mailing: Flask) -> Any:
    with TestWorker(jobs) as worker:
        yield worker
