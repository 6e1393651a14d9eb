"""Sentry as a server sees it: what is reported, and what never leaves the process."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from app import monitoring
from tests.app.processes import ROOT, clean_environment, flask

CANARY = "CANARY-7c1"

SCRIPT = """
import sentry_sdk
from app import create_app

canary = "CANARY" + "-7c1"
app = create_app({"UNDERSTUDY_WORKER": "off"})

@app.post("/fail")
def fail():
    local = canary
    raise RuntimeError("broken on purpose")

answer = app.test_client().post(
    "/fail", json={"field": canary}, headers={"Authorization": "Basic " + canary}
)
assert answer.status_code == 500, answer.status_code
sentry_sdk.flush(10)
"""


JOB = """
import sentry_sdk
from app import create_app
from app.extensions import jobs
from flask_understudy.testing import TestWorker

@jobs.actor(actor_name="test:fail", max_retries=0)
def fail(word, to):
    local = word
    raise RuntimeError("broken on purpose")

app = create_app({"UNDERSTUDY_WORKER": "off"})
with app.app_context():
    fail.send("CANARY" + "-7c1", to="ada@aster.example")
with TestWorker(jobs) as worker:
    worker.drain()
sentry_sdk.flush(10)
"""


class Collector(HTTPServer):
    """A Sentry that keeps what it is sent."""

    bodies: list[str]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        self.server.bodies.append(raw.decode())  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sentry() -> Iterator[Collector]:
    server = Collector(("127.0.0.1", 0), Handler)
    server.bodies = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.requirement("M06")
def test_error_is_reported_without_body_credentials_or_locals(sentry: Collector, tmp_path: Path) -> None:
    environ = clean_environment() | {
        "SENTRY_DSN": f"http://key@127.0.0.1:{sentry.server_port}/1",
        "INSTANCE_PATH": str(tmp_path),
    }
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, env=environ, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    reported = "".join(sentry.bodies)
    assert "broken on purpose" in reported
    assert "POST" in reported and "/fail" in reported
    assert CANARY not in reported


@pytest.mark.requirement("M06")
def test_failure_of_a_job_is_reported_without_its_arguments(sentry: Collector, tmp_path: Path) -> None:
    environ = {
        "SENTRY_DSN": f"http://key@127.0.0.1:{sentry.server_port}/1",
        "INSTANCE_PATH": str(tmp_path),
    }
    flask({"INSTANCE_PATH": str(tmp_path)}, "db", "upgrade")
    done = subprocess.run(
        [sys.executable, "-c", JOB],
        cwd=ROOT,
        env=clean_environment() | environ,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    reported = "".join(sentry.bodies)
    assert "broken on purpose" in reported
    assert "test:fail" in reported
    assert CANARY not in reported
    assert "ada@aster.example" not in reported


@pytest.mark.requirement("M06")
@pytest.mark.parametrize("environ", [{}, {"SENTRY_DSN": ""}, {"SENTRY_DSN": "  "}])
def test_nothing_is_reported_without_a_dsn(environ: dict[str, str]) -> None:
    assert monitoring.start(environ) is False
