"""What an operator reads when something is wrong with the surroundings: one line, no traceback, an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.processes import ROOT, clean_environment
from tools.servers.process import free_port

KEY = {"SECRET_KEY": "a key for tests only"}
AWAY = KEY | {"DATABASE_URL": "postgresql://ada:hunter2@127.0.0.1:1/x"}
UPGRADE = ["flask", "db", "upgrade"]
DEMO = ["tools.demo"]

CASES = [
    ({"INSTANCE_PATH": "/proc/foo"}, "INSTANCE_PATH", DEMO),
    ({"INSTANCE_PATH": "/etc/passwd"}, "INSTANCE_PATH", DEMO),
    ({"INSTANCE_PATH": "/proc/foo"}, "INSTANCE_PATH: '/proc/foo' cannot be used", UPGRADE),
    (AWAY, "the database cannot be reached at postgresql+psycopg://ada:***@127.0.0.1:1/x: ", UPGRADE),
    (AWAY, "the database cannot be reached", DEMO),
    (AWAY, "the database cannot be reached", ["flask", "demo"]),
    (KEY | {"DATABASE_URL": "postgresql://u:hunter2@h:notaport/x"}, "DATABASE_URL: got (not shown)", UPGRADE),
    (KEY | {"DATABASE_URL": "postgresql://u:hunter2@h:notaport/x"}, "DATABASE_URL: got (not shown)", DEMO),
    ({"SMTP_PORT": "abc"}, "SMTP_PORT: got 'abc'", ["flask", "tokens", "list", "--tenant", "x"]),
    ({"LOG_LEVEL": "abc"}, "LOG_LEVEL: got 'abc'", DEMO),
    ({"UNDERSTUDY_RUNWAY": "abc"}, "UNDERSTUDY_RUNWAY is 'abc'", UPGRADE),
]


@pytest.mark.requirement("H17")
@pytest.mark.parametrize(("environ", "message", "command"), CASES, ids=str)
def test_what_is_wrong_is_one_line(tmp_path: Path, environ: dict[str, str], message: str, command: list[str]) -> None:
    surroundings = {"INSTANCE_PATH": str(tmp_path / "instance"), "PORT": str(free_port()), "FLASK_APP": "wsgi.py"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=clean_environment() | surroundings | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
