"""What only shows between the web server and its clients."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.app.processes import Running, call, flask
from tools.servers.process import free_port
from tools.waiting import wait_for


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """How the service runs: one process, and nobody does jobs."""
    return {
        "PORT": str(free_port()),
        "INSTANCE_PATH": str(tmp_path / "instance"),
        "UNDERSTUDY_WORKER": "off",
        "WEB_CONCURRENCY": "1",
    }


@pytest.fixture
def port(environ: dict[str, str], tmp_path: Path) -> Iterator[int]:
    """The port of the service under gunicorn."""
    port = int(environ["PORT"])
    with Running([sys.executable, "-m", "gunicorn", "wsgi:app"], environ, tmp_path / "log") as running:
        running.wait_until(lambda: call(f"http://127.0.0.1:{port}/api/health/live")[0] == 200, "the service")
        yield port


def post_in_chunks(port: int, path: str, body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    chunks = (body[start : start + 16_384] for start in range(0, len(body), 16_384))
    connection.request("POST", path, chunks, {"Content-Type": "application/json"}, encode_chunked=True)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Transfer-Encoding": "chunked"}, b"zz\r\n"),
        ({"Transfer-Encoding": "chunked"}, b"5\r\nab"),
        ({"Content-Length": "500"}, b'{"email": "a@b.c", "password": "x"}'),
    ],
)
def test_body_that_does_not_come_to_its_end_is_the_client_s_fault(
    port: int, headers: dict[str, str], body: bytes
) -> None:
    lines = {"Host": "127.0.0.1", "Content-Type": "application/json", "Connection": "close", **headers}
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"POST /api/auth/login HTTP/1.1\r\n{head}\r\n".encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def test_only_refusals_say_when_to_come_back(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")

    headers = connection.getresponse().headers
    assert [name for name in headers if "retry" in name.lower()] == []
    assert headers["X-RateLimit-Limit"]


def test_refusal_keeps_its_own_time_to_come_back(environ: dict[str, str], port: int) -> None:
    flask(environ, "db", "upgrade")
    with sqlite3.connect(Path(environ["INSTANCE_PATH"]) / "app.db") as database:
        database.execute("DROP TABLE users")

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    person = json.dumps({"email": "ada@example.com", "password": "x" * 12})
    connection.request("POST", "/api/auth/login", person, {"Content-Type": "application/json"})
    answer = connection.getresponse()

    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.requirement("C12")
def test_body_in_chunks_is_refused_above_the_limit_and_read_below(port: int) -> None:
    person = json.dumps({"email": "ada@example.com", "extra": 1}).encode()

    small = post_in_chunks(port, "/api/auth/login", person.ljust(200_000))
    padded = post_in_chunks(port, "/api/auth/login", person.ljust(300_000))
    filled = post_in_chunks(port, "/api/auth/login", b'{"email": "' + b"a" * 300_000 + b'"}')

    assert small[0] == 422
    for status, problem in (padded, filled):
        assert (status, "262144 bytes" in problem["detail"]) == (413, True)


@pytest.mark.parametrize("path", ["/api/jobs/{id}?wait=20", "/api/jobs/{id}/events"])
def test_requests_that_wait_leave_threads_to_the_others(environ: dict[str, str], port: int, path: str) -> None:
    flask(environ, "db", "upgrade")
    token = dict(line.split() for line in flask(environ, "demo").splitlines() if len(line.split()) == 2)["member"]
    mail = {"to": "a@example.com", "subject": "s", "text": "t"}
    status, sent = call(f"http://127.0.0.1:{port}/api/jobs", token, {"type": "email:send", "payload": mail})
    assert status == 202, sent
    url = f"http://127.0.0.1:{port}{path.format(id=json.loads(sent)['id'])}"

    with ThreadPoolExecutor(40) as crowd:
        answers = [crowd.submit(call, url, token) for _ in range(40)]
        wait_for(lambda: sum(answer.done() for answer in answers) >= 36, "those without a place to be answered")
        status, _ = call(f"http://127.0.0.1:{port}/api/health/live")
        waiting = sum(not answer.done() for answer in answers)

    assert (status, waiting) == (200, 4)
