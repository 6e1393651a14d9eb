"""What only shows between the web server and its clients."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.processes import Running, call
from tools.servers.process import free_port


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of the service under gunicorn."""
    port = free_port()
    environ = {
        "PORT": str(port),
        "INSTANCE_PATH": str(tmp_path / "instance"),
        "UNDERSTUDY_WORKER": "off",
        "WEB_CONCURRENCY": "1",
    }
    with Running([sys.executable, "-m", "gunicorn", "wsgi:app"], environ, tmp_path / "log") as running:
        running.wait_until(lambda: call(f"http://127.0.0.1:{port}/api/health/live")[0] == 200, "the service")
        yield port


def post_in_chunks(port: int, path: str, body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    chunks = (body[start : start + 16_384] for start in range(0, len(body), 16_384))
    connection.request("POST", path, chunks, {"Content-Type": "application/json"}, encode_chunked=True)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.requirement("C12")
def test_body_in_chunks_is_refused_above_the_limit_and_read_below(port: int) -> None:
    person = json.dumps({"email": "ada@example.com", "extra": 1}).encode()

    small = post_in_chunks(port, "/api/auth/login", person.ljust(200_000))
    padded = post_in_chunks(port, "/api/auth/login", person.ljust(300_000))
    filled = post_in_chunks(port, "/api/auth/login", b'{"email": "' + b"a" * 300_000 + b'"}')

    assert small[0] == 422
    for status, problem in (padded, filled):
        assert (status, "262144 bytes" in problem["detail"]) == (413, True)
