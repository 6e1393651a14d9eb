"""The fixture that projects have with Flask-Understudy installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

PROJECT = """
import pytest
from tests.flask_understudy.conftest import build

site = build({url!r})

@site.jobs.actor()
def double(n: int) -> int:
    return 2 * n

@pytest.fixture
def app():
    return site.app

def test_a(understudy):
    assert understudy.run(double.send(21)).result == 42
    double.send(1)
    understudy.assert_sent(double, times=2)
    assert [job.result for job in understudy.drain()] == [2]
    assert len(understudy.sent(double)) == 2

def test_b():
    with site.state.database.statement() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM understudy_workers").scalar_one() == 0
"""


def pytest_of(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_project.py").write_text(source)
    installed = any(point.value == "flask_understudy.pytest_plugin" for point in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "flask_understudy.pytest_plugin"]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-pno:randomly",
            "-pno:cacheprovider",
            "-pno:valkey",
            *plugin,
            f"--rootdir={folder}",
            folder,
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_pytest_fixture_works_in_a_project_of_its_own(sqlite_ledger: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    done = pytest_of(folder, PROJECT.format(url=sqlite_ledger))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_pytest_fixture_says_when_the_app_has_no_jobs(tmp_path: Path) -> None:
    source = """
import flask, pytest

@pytest.fixture
def app():
    return flask.Flask("plain")

def test_a(understudy): ...
"""
    done = pytest_of(tmp_path, source)
    assert "no application that jobs.init_app(app) was called for" in done.stdout
