"""The commands that run programs, as an operator starts them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.app.processes import Running, flask, is_ready
from tools.servers.process import free_port

Environment = dict[str, str]


@pytest.fixture
def environ(postgres_databases: Any, redis_url: str, tmp_path: Path) -> Iterator[Environment]:
    url = postgres_databases.create()
    environ = {
        "DATABASE_URL": url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": "a key for tests only",
        "INSTANCE_PATH": str(tmp_path / "instance"),
        "WEB_CONCURRENCY": "1",
        "PORT": str(free_port()),
    }
    flask(environ, "jobs", "db", "upgrade")
    yield environ
    postgres_databases.drop(url)


def jobs(environ: Environment, *arguments: str) -> Any:
    return json.loads(flask(environ, "jobs", *arguments, "--json"))


def workers(environ: Environment) -> list[dict[str, Any]]:
    return [row for row in jobs(environ, "workers")["data"] if row["isAlive"] and row["kind"] != "web"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flask", "jobs", *arguments]


@pytest.mark.timeout(240)
@pytest.mark.requirement("R01", "R06", "S01", "C28")
def test_serve_runs_web_and_worker_and_mends_them(environ: Environment, tmp_path: Path) -> None:
    with Running(command("serve", "--concurrency", "2"), environ, tmp_path / "log") as running:
        running.wait_until(lambda: is_ready(f"http://127.0.0.1:{environ['PORT']}"), "the web")
        running.wait_until(lambda: workers(environ), "the worker")
        assert jobs(environ, "enqueue", "cleanup:sessions", "--wait", "60")["state"] == "completed"

        dramatiq = next(p for p in psutil.Process(running.process.pid).children() if "dramatiq" in p.cmdline())
        dramatiq.kill()
        running.wait_until(lambda: "started anew" in running.output(), "the supervisor to notice")
        assert jobs(environ, "enqueue", "cleanup:sessions", "--wait", "60")["state"] == "completed"

        assert running.stop() == 0
    assert workers(environ) == []


@pytest.mark.timeout(120)
@pytest.mark.requirement("R06", "R08")
def test_worker_takes_its_threads_from_the_environment(environ: Environment, tmp_path: Path) -> None:
    environ = {**environ, "QUEUE_CONCURRENCY": "3"}
    with Running(command("worker", "--queues", "cleanup"), environ, tmp_path / "log") as running:
        [worker] = running.wait_until(lambda: workers(environ), "the worker")

        assert (worker["threads"], worker["queues"], worker["kind"]) == (3, ["cleanup"], "worker")
        assert running.stop() == 0


@pytest.mark.timeout(180)
@pytest.mark.requirement("R07", "S01")
def test_dev_runs_a_worker_before_the_first_request(environ: Environment, tmp_path: Path) -> None:
    port = str(free_port())
    with Running(command("dev", "--port", port), environ, tmp_path / "log") as running:
        [worker] = running.wait_until(lambda: workers(environ), "the worker")

        assert worker["kind"] == "in-process"
        running.wait_until(lambda: is_ready(f"http://127.0.0.1:{port}"), "the web")
        assert jobs(environ, "enqueue", "cleanup:sessions", "--wait", "60")["state"] == "completed"
        running.stop()
