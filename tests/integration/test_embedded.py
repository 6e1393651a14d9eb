"""Nothing configured: a file for a database, and the worker inside one of the web server's processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.app.processes import Running
from tests.integration.conftest import Install
from tests.integration.deployment import Deployment
from tools.servers.process import free_port


class Web(Running):
    """A web server with the service in it."""

    def __init__(self, service: Deployment, command: list[str], port: int) -> None:
        super().__init__(command, service.settings, service.log())
        self.url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        try:
            return urllib.request.urlopen(self.url, timeout=5).status == 200
        except OSError:
            return False

    def send(self, actor: str, *args: object) -> str:
        request = urllib.request.Request(f"{self.url}/send/{actor}", json.dumps(args).encode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(json.load(answer)["id"])

    def kill_all(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def __exit__(self, *error: object) -> None:
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        super().__exit__(*error)
        psutil.wait_procs(family, timeout=5)


def gunicorn(service: Deployment, workers: int = 2) -> Web:
    port, config = free_port(), service.folder / "gunicorn.conf.py"
    config.write_text("control_socket_disable = True")  # no hooks either: the library must do without
    options = ["--config", str(config), "--workers", str(workers), "--threads", "4", "--graceful-timeout", "20"]
    app = "tests.integration.service.wsgi:app"
    return Web(service, ["gunicorn", "--bind", f"127.0.0.1:{port}", *options, app], port)


def embedded(service: Deployment) -> list[int]:
    """The pids of the web processes that run a worker."""
    alive = service.rows("SELECT pid FROM understudy_workers WHERE kind = 'in-process'")
    return [row.pid for row in alive if psutil.pid_exists(row.pid)]


@pytest.fixture
def service(sqlite_url: str, install: Install) -> Deployment:
    return install(sqlite_url, None)


def wake_all(web: Web, service: Deployment, processes: int = 2) -> None:
    """Ask until each process of the server has been asked: the worker starts with the first request."""
    web.wait_until(web.is_ready, "the web server")
    for _ in range(10 * processes):
        assert web.is_ready()
    service.wait(lambda: embedded(service), "the embedded worker", 20)


@pytest.mark.requirement("G1", "promise-G11", "I9", "V06", "G06")
def test_one_of_two_web_processes_runs_the_jobs_and_sigterm_ends_it_in_good_order(service: Deployment, figure) -> None:
    with gunicorn(service) as web:
        wake_all(web, service)
        ids = [web.send("quick", n) for n in range(12)]
        service.wait_for_end(ids)
        assert len(embedded(service)) == 1
        assert {effect.pid for effect in service.effects()} == set(embedded(service))

        slow = [web.send("slow", 1.0) for _ in range(9)]
        service.wait(lambda: len(service.effects("start")) >= 3, "running jobs")
        began = time.monotonic()
        assert web.stop(seconds=30) == 0
        figure("s from SIGTERM to the end of the server", time.monotonic() - began)

    assert {effect.job_id for effect in service.effects("start")} <= {effect.job_id for effect in service.effects()}
    assert not embedded(service)
    service.check(settled=False, faultless=True)

    with gunicorn(service, 1) as web:
        wake_all(web, service, 1)
        service.wait_for_end([*ids, *slow])
    service.check(faultless=True)


@pytest.mark.requirement("G1", "G3", "promise-G10", "V06")
def test_jobs_survive_a_killed_web_server(service: Deployment, figure) -> None:
    with gunicorn(service) as web:
        wake_all(web, service)
        ids = [web.send("slow", 0.5) for _ in range(8)]
        service.wait(lambda: len(service.effects("start")) >= 2, "running jobs")
        web.kill_all()

    with gunicorn(service) as web:
        wake_all(web, service)
        back = time.monotonic()
        service.wait_for_end(ids)
        figure("s from the restart to the end of all jobs", time.monotonic() - back)

    assert {effect.job_id for effect in service.effects()} == set(ids)
    service.check()


@pytest.mark.requirement("G1", "promise-G10", "V06")
def test_another_web_process_runs_the_jobs_when_the_one_that_did_is_killed(service: Deployment, figure) -> None:
    with gunicorn(service) as web:
        wake_all(web, service)
        ids = [web.send("slow", 0.5) for _ in range(8)]
        service.wait(lambda: len(service.effects("start")) >= 2, "running jobs")
        (pid,) = embedded(service)
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        wake_all(web, service)
        service.wait_for_end(ids)
        figure("s from the kill to the end of all jobs", time.monotonic() - killed)

    service.check()


@pytest.mark.requirement("V06", "G06")
def test_reloader_of_a_development_server_leaves_one_worker(service: Deployment, tmp_path: Path) -> None:
    port, touched = free_port(), tmp_path / "touched.txt"
    touched.write_text("1")
    command = [sys.executable, "-m", "flask", "run", "--debug", "--port", str(port), "--extra-files", str(touched)]
    with Web(service, command, port) as web:
        wake_all(web, service, 1)
        first = web.send("quick")
        service.wait_for_end([first])
        (before,) = embedded(service)

        touched.write_text("22")
        service.wait(lambda: not psutil.pid_exists(before), "the reload", 30)
        wake_all(web, service, 1)
        second = web.send("quick")
        service.wait_for_end([second])
        (after,) = embedded(service)

    assert {effect.pid for effect in service.effects(job_id=first)} == {before}
    assert {effect.pid for effect in service.effects(job_id=second)} == {after}
    service.check(faultless=True)
