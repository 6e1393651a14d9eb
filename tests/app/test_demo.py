"""`make run`, as somebody runs it for the first time."""

from __future__ import annotations

import email
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from email import policy
from pathlib import Path

import pytest

from tests.app.processes import Running, call
from tools.servers.process import free_port

COMMAND = [sys.executable, "-m", "tools.demo"]


@pytest.fixture
def url() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def demo(url: str, tmp_path: Path) -> Iterator[Running]:
    environ = {"PORT": url.rpartition(":")[2], "INSTANCE_PATH": str(tmp_path / "instance")}
    with Running(COMMAND, environ, tmp_path / "log") as running:
        running.wait_until(lambda: "Ask for an export" in running.output(), "the welcome")
        yield running


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.timeout(180)
@pytest.mark.requirement("R07", "J06", "V06", "G06")
def test_printed_lines_give_a_file(demo: Running, tmp_path: Path) -> None:
    lines = re.findall(r"^  (?:EXPORT=|curl ).*$", demo.output(), re.MULTILINE)
    script = "\n".join(lines)

    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True)

    assert (len(lines), done.returncode, done.stderr) == (2, 0, "")
    assert (tmp_path / "wiki.csv").read_text().count("\n") > 25
    assert "title" in done.stdout


@pytest.mark.timeout(180)
def test_second_run_in_the_same_folder_is_refused_and_leaves_the_first_its_tokens(
    demo: Running, url: str, tmp_path: Path
) -> None:
    token = re.findall(r"^  viewer +(\S+)$", demo.output(), re.MULTILINE)[0]
    environ = {"PORT": str(free_port()), "INSTANCE_PATH": str(tmp_path / "instance")}
    with Running(COMMAND, environ, tmp_path / "second.log") as second:
        code = second.process.wait(30)

    assert code == 1
    assert "Another 'make run' is using" in second.output()
    assert call(f"{url}/api/exports", token)[0] == 200


@pytest.mark.timeout(180)
def test_mail_server_of_ones_own_is_named_instead_of_the_folder(tmp_path: Path) -> None:
    environ = {"PORT": str(free_port()), "INSTANCE_PATH": str(tmp_path / "instance"), "SMTP_HOST": "mail.example"}
    with Running(COMMAND, environ, tmp_path / "log") as running:
        running.wait_until(lambda: "Mail that it sends" in running.output(), "the welcome")

    assert "Mail that it sends goes to mail.example." in running.output()
    assert "is put into" not in running.output()


@pytest.mark.timeout(180)
@pytest.mark.requirement("J06", "V06", "A35")
def test_mail_of_the_service_is_caught(demo: Running, url: str, tmp_path: Path) -> None:
    person = {"email": "new@acorn.example", "name": "Nia", "password": "correct horse"}
    status, body = call(f"{url}/api/auth/signup", body=person | {"organization": "Nia's"})

    assert status == 201, body
    folder = tmp_path / "instance" / "mail"
    demo.wait_until(lambda: (folder / "list.txt").exists(), "the welcome mail")
    mail = email.message_from_bytes((folder / "0001.eml").read_bytes(), policy=policy.default)
    assert mail["To"] == "new@acorn.example"
    assert "new@acorn.example" in (folder / "list.txt").read_text()
    assert f"0001.eml  to new@acorn.example: {mail['Subject']}" in demo.output()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_stops_cleanly_and_leaves_no_process(demo: Running, url: str, number: signal.Signals) -> None:
    assert demo.stop(number) == 0
    assert "Traceback" not in demo.output()
    assert call(f"{url}/api/health/live")[0] == 0


def test_taken_port_is_named_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environ = {"PORT": str(port), "INSTANCE_PATH": str(tmp_path / "instance")}
        with Running(COMMAND, environ, tmp_path / "log") as running:
            code = running.process.wait(30)

    assert code == 1
    assert f"Port {port} cannot be used" in running.output()
    assert "PORT=8001 make run" in running.output()
    assert not (tmp_path / "instance").exists()


def test_odd_port_is_refused(tmp_path: Path) -> None:
    with Running(COMMAND, {"PORT": "http"}, tmp_path / "log") as running:
        assert running.process.wait(30) == 1

    assert "PORT is 'http'; it takes a number" in running.output()
