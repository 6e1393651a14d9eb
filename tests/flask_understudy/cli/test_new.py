"""`flask jobs new`: what it writes is found, passes the style check, and passes its own test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.flask_understudy.test_discovery import EXTENSIONS

ROOT = Path(__file__).parents[3]

WSGI = """
from flask import Flask
from shop.extensions import db, jobs


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///{folder}/shop.db"
    app.config["UNDERSTUDY_DISCOVER"] = "{discover}"
    app.config["TESTING"] = True
    db.init_app(app)
    jobs.init_app(app)
    return app
"""

CONFTEST = """
import pytest
from shop.extensions import db, jobs
from wsgi import create_app


@pytest.fixture
def app():
    app = create_app()
    with app.app_context():
        jobs.metadata.create_all(db.engine)
        yield app
        db.session.remove()
        jobs.metadata.drop_all(db.engine)
"""


class Project:
    """An application in a folder of its own."""

    def __init__(self, folder: Path, discover: str = "shop.jobs") -> None:
        self.folder = folder
        for name, text in {
            "shop/__init__.py": "",
            "shop/extensions.py": EXTENSIONS,
            "shop/jobs/__init__.py": "",
            "wsgi.py": WSGI.format(folder=folder, discover=discover),
            "tests/conftest.py": CONFTEST,
        }.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{self.folder}:{ROOT}", "FLASK_APP": "wsgi:create_app"},
            capture_output=True,
            text=True,
            timeout=100,
        )

    def new(self, *arguments: str, expect: int = 0) -> str:
        done = self.run("flask", "jobs", "new", *arguments)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout if expect == 0 else done.stderr

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*.py"))


@pytest.mark.timeout(240)
@pytest.mark.requirement("B16")
def test_what_it_writes_passes_the_style_check_and_its_own_tests(tmp_path: Path) -> None:
    project = Project(tmp_path)

    written = project.new("job", "send-digest").splitlines()
    project.new("event", "LeaveApproved")
    project.new("workflow", "onboard-employee")

    assert written == [
        str(tmp_path / "shop/jobs/send_digest.py"),
        str(tmp_path / "tests/shop/jobs/test_send_digest.py"),
    ]
    for check in (("check",), ("format", "--check")):
        arguments = ["ruff", *check, "--config", str(ROOT / "pyproject.toml"), "shop/jobs", "tests/shop"]
        style = project.run(*arguments)
        assert style.returncode == 0, style.stdout + style.stderr
    tests = project.run("pytest", "-q", "-p", "no:randomly", "-p", "no:valkey", "tests")
    assert tests.returncode == 0, tests.stdout
    assert "3 passed" in tests.stdout
    types = project.run("flask", "jobs", "types").stdout
    assert "send-digest" in types
    assert "onboard-employee" in types
    assert "on:leave.approved:hear_leave_approved" in types


@pytest.mark.timeout(240)
def test_nothing_is_overwritten_and_names_are_checked(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.new("job", "send-digest")
    (tmp_path / "tests/shop/jobs/test_taken.py").write_text("# mine\n")
    before = project.files()

    assert "is there already" in project.new("job", "send_digest", expect=1)
    assert "is there already" in project.new("event", "taken", expect=1)
    for name in ("../evil", "class", "1st", "naïve", "x" * 61, "a.b", "-", ""):
        said = project.new("job", "--", name, expect=2)
        assert "send-digest" in said, said
    assert "cannot be imported" in project.new("job", "one", "--package", "nowhere", expect=2)
    assert "a module and no package" in project.new("job", "one", "--package", "shop.extensions", expect=2)
    assert "such as app.extensions:jobs" in project.new("job", "one", "--from", "shop.extensions", expect=2)
    assert project.files() == before


@pytest.mark.timeout(120)
def test_without_a_package_it_says_which_setting_is_missing(tmp_path: Path) -> None:
    project = Project(tmp_path, discover="")

    assert "UNDERSTUDY_DISCOVER" in project.new("job", "send-digest", expect=1)
    assert "shop/jobs/send_digest.py" in project.new("job", "send-digest", "--package", "shop.jobs")
