"""`flask jobs dev` in an application that says nothing about who calls."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flask_understudy.cli.serving import open_to_developer
from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.rest.conftest import open_api
from tools.waiting import wait_for

DASHBOARD = "/api/jobs/dashboard"

HELLO = """
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_understudy import Understudy

db = SQLAlchemy()
jobs = Understudy(db)
app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///hello.db"
db.init_app(app)
jobs.init_app(app)
with app.app_context():
    jobs.metadata.create_all(db.engine)
"""


@pytest.mark.requirement("L01", "V14")
@pytest.mark.parametrize(
    ("address", "headers", "code"),
    [
        ("127.0.0.1", {"Host": "localhost:8288"}, 200),
        ("127.0.0.1", {"Host": "127.0.0.1:8288"}, 200),
        ("::1", {"Host": "[::1]:8288"}, 200),
        ("127.0.0.1", {"Host": "evil.example:8288"}, 401),
        ("127.0.0.1", {"Host": "localhost:8288", "X-Forwarded-For": "127.0.0.1"}, 401),
        ("192.0.2.7", {"Host": "localhost:8288"}, 401),
    ],
)
def test_it_is_open_to_browsers_of_this_machine_alone(
    make_site: MakeSite, sqlite_ledger: str, address: str, headers: dict[str, str], code: int
) -> None:
    site = make_site(sqlite_ledger)
    with site.app.app_context():
        open_to_developer(site.app)
    answer = site.app.test_client().get(DASHBOARD, headers=headers, environ_overrides={"REMOTE_ADDR": address})
    assert answer.status_code == code


def test_an_authoriser_is_asked_as_everywhere(make_site: MakeSite, sqlite_ledger: str) -> None:
    api = open_api(make_site(sqlite_ledger))
    with api.site.app.app_context():
        open_to_developer(api.site.app)
    assert api.site.app.test_client().get(DASHBOARD).status_code == 401


@pytest.mark.timeout(120)
@pytest.mark.requirement("L01", "R07")
def test_a_bare_application_shows_its_jobs_without_set_up(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "flask", "--app", "hello", "jobs", "dev", "--port", str(port)]
    url = f"http://127.0.0.1:{port}{DASHBOARD}"

    def page() -> str:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:
            return ""

    with (tmp_path / "log").open("w") as log:
        environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
        running = subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=log)
        try:
            assert "All is well" in wait_for(page, "the dashboard", timeout_seconds=90, every_seconds=0.2)
        finally:
            running.terminate()
            running.wait(30)
    assert f"{url}  is the dashboard." in (tmp_path / "log").read_text()
