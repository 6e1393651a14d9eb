"""The service as its users run it: as processes, asked over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil

from tools.servers.guard import end_family, guard
from tools.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
Answer = tuple[int, bytes]


class Running:
    """A program of the service and its child processes; a context manager that leaves none."""

    def __init__(self, command: list[str], environ: dict[str, str], log: Path) -> None:
        self.command = command
        self.environ = clean_environment() | environ
        self.log = log

    def __enter__(self) -> Self:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        guard.watch_process(self.process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            end_family(psutil.Process(self.process.pid))
            self.process.wait()
        guard.forget_process(self.process.pid)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """What was logged as JSON, whatever a supervisor wrote in front of it."""
        found = (line[line.find("{") :] for line in self.output().splitlines() if "{" in line)
        return [json.loads(line) for line in found if line.startswith('{"event"')]

    def wait_until(self, fact: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Wait for a fact; a program that ended, or the deadline, shows its output."""

        def check() -> Any:
            if self.process.poll() is not None:
                raise AssertionError(f"it ended while waiting for {what}:\n{self.output()}")
            return fact()

        try:
            return wait_for(check, what, timeout_seconds=seconds, every_seconds=0.1)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 40) -> int:
        """Send a signal to the program alone; return its exit code once its whole family ended."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive, f"left running: {alive}\n{self.output()}"
        return code


def clean_environment() -> dict[str, str]:
    """The environment without what would decide how the service runs."""
    ours = ("UNDERSTUDY_", "QUEUE_", "SCHEDULER_", "SMTP_", "SENTRY_", "DATABASE_", "REDIS_")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {n: v for n, v in kept.items() if n not in {"PORT", "SECRET_KEY"}} | {"PATH": path}


def flask(environ: dict[str, str], *arguments: str) -> str:
    """Run a command of the service and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", *arguments],
        cwd=ROOT,
        env=clean_environment() | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def call(url: str, token: str | None = None, body: Any = None) -> Answer:
    """Send a request, POST when there is a body; return status and body, of errors too."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def is_ready(url: str) -> bool:
    return call(f"{url}/api/health/ready")[0] == 200


def export(running: Running, url: str, token: str) -> bytes:
    """Ask for an export of the wiki, wait until it is there, return the file."""
    status, body = call(f"{url}/api/exports", token, {"type": "WIKI_PAGES"})
    assert status == 201, body
    export_id = json.loads(body)["exportJob"]["id"]

    def file() -> bytes | None:
        status, body = call(f"{url}/api/exports/{export_id}/download", token)
        return body if status == 200 else None

    content = running.wait_until(file, "the file")
    assert isinstance(content, bytes)
    return content
