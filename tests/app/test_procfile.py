"""The commands of the platforms, run on this machine against a real PostgreSQL and Redis."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.processes import Running, export, flask, is_ready
from tools.servers.process import free_port

Environment = dict[str, str]


@pytest.fixture
def environ(postgres_databases: Any, redis_url: str, tmp_path: Path) -> Iterator[Environment]:
    url = postgres_databases.create()
    # As Heroku writes it.
    heroku_url = url.replace("postgresql+psycopg://", "postgres://", 1)
    yield {
        "DATABASE_URL": heroku_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": "a key for tests only",
        "INSTANCE_PATH": str(tmp_path / "instance"),
        "UNDERSTUDY_WORKER": "off",
        "WEB_CONCURRENCY": "1",
        "PORT": str(free_port()),
    }
    postgres_databases.drop(url)


@pytest.fixture
def token(environ: Environment) -> str:
    """Run the release command, load the demo data and return a member's token."""
    flask(environ, "db", "upgrade")
    return dict(line.split() for line in flask(environ, "demo").splitlines())["member"]


@pytest.fixture(params=["honcho", "entrypoint"])
def running(request: pytest.FixtureRequest, environ: Environment, token: str, tmp_path: Path) -> Iterator[Running]:
    command = {
        "honcho": [sys.executable, "-m", "honcho", "start", "-p", environ["PORT"], "web", "worker"],
        "entrypoint": ["docker/entrypoint", "serve"],
    }[request.param]
    with Running(command, environ, tmp_path / "log") as running:
        yield running


@pytest.mark.timeout(180)
@pytest.mark.requirement("R01", "R06", "V11", "I02")
def test_export_goes_from_the_web_through_redis_to_a_worker(running: Running, environ: Environment, token: str) -> None:
    url = f"http://127.0.0.1:{environ['PORT']}"
    running.wait_until(lambda: is_ready(url), "the web")

    content = export(running, url, token)

    assert content.count(b"\n") > 25
    running.wait_until(lambda: any(line["event"] == "job completed" for line in running.lines()), "the log")
    events = [line["event"] for line in running.lines() if line.get("queue") == "exports"]
    assert events == ["job added", "job processing", "job completed"]

    running.stop()
