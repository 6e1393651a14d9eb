"""A new job is a new file: the modules of the packages that are named are imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_understudy.discovery import discover
from flask_understudy.errors import ConfigError
from tests.flask_understudy.conftest import MakeSite

ROOT = Path(__file__).parents[2]
Write = Callable[[dict[str, str]], None]

ACTOR = "import dramatiq\n\n@dramatiq.actor(actor_name={0!r})\ndef work() -> None: ...\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules that can be imported: path to text."""

    def make(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / "project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    (tmp_path / "project").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "project"))
    known = set(sys.modules)
    yield make
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in {"shop", "other"}:
            del sys.modules[name]


@pytest.mark.requirement("B02")
def test_all_modules_below_a_package_are_imported(write: Write, make_site: MakeSite, sqlite_ledger: str) -> None:
    write(
        {
            "shop/__init__.py": "",
            "shop/jobs/__init__.py": "",
            "shop/jobs/mail.py": ACTOR.format("mail"),
            "shop/jobs/deep/__init__.py": ACTOR.format("deep"),
            "shop/jobs/deep/er.py": ACTOR.format("deeper"),
            "shop/jobs/__main__.py": "raise SystemExit('not for import')",
            "shop/elsewhere.py": ACTOR.format("elsewhere"),
            "other.py": ACTOR.format("other"),
        }
    )

    site = make_site(sqlite_ledger, UNDERSTUDY_DISCOVER="shop.jobs, other")

    assert sorted(site.jobs.broker.actors) == ["deep", "deeper", "mail", "other"]


def test_nothing_is_imported_unless_it_is_asked_for(write: Write, make_site: MakeSite, sqlite_ledger: str) -> None:
    write({"shop/__init__.py": "", "shop/jobs.py": ACTOR.format("work")})

    assert not make_site(sqlite_ledger).jobs.broker.actors
    assert not make_site(sqlite_ledger, UNDERSTUDY_DISCOVER="").jobs.broker.actors


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import nowhere_at_all", "'shop.jobs.broken'.*ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("1 / 0", "'shop.jobs.broken'.*ZeroDivisionError"),
        ("def f(:", "'shop.jobs.broken'.*SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(write: Write, text: str, told: str) -> None:
    write({"shop/__init__.py": "", "shop/jobs/__init__.py": "", "shop/jobs/broken.py": text})

    with pytest.raises(ConfigError, match=told):
        discover(["shop"])


def test_a_package_that_is_not_there_is_named(make_site: MakeSite, sqlite_ledger: str) -> None:
    with pytest.raises(ConfigError, match=r"UNDERSTUDY_DISCOVER: the module 'shop.jobs' cannot be imported"):
        make_site(sqlite_ledger, UNDERSTUDY_DISCOVER=["shop.jobs"])


@pytest.mark.parametrize("value", ["app jobs", "../jobs", "app..jobs", 7, "app/jobs"])
def test_what_is_no_package_is_refused(make_site: MakeSite, sqlite_ledger: str, value: Any) -> None:
    with pytest.raises(ConfigError, match="names of packages such as app.jobs"):
        make_site(sqlite_ledger, UNDERSTUDY_DISCOVER=value)


WSGI = """
from flask import Flask
from shop.extensions import db, jobs

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///{database}"
app.config["UNDERSTUDY_DISCOVER"] = "shop.jobs"
db.init_app(app)
jobs.init_app(app)
"""

EXTENSIONS = """
from flask_sqlalchemy import SQLAlchemy
from flask_understudy import Understudy

db = SQLAlchemy()
jobs = Understudy(db)
"""

MAIL = """
from shop.extensions import jobs

@jobs.actor(queue_name="mail")
def mail() -> str:
    return "sent"
"""


@pytest.mark.timeout(120)
@pytest.mark.requirement("B02")
def test_a_worker_runs_what_only_discovery_finds(write: Write, tmp_path: Path, sqlite_ledger: str) -> None:
    """`dramatiq` is told of a module without actors; the application's discovery brings them, and their queue."""
    write(
        {
            "shop/__init__.py": "",
            "shop/extensions.py": EXTENSIONS,
            "shop/jobs/__init__.py": "",
            "shop/jobs/mail.py": MAIL,
            "wsgi.py": WSGI.format(database=sqlite_ledger.removeprefix("sqlite:///")),
        }
    )
    folder = tmp_path / "project"
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{folder}:{ROOT}", "UNDERSTUDY_WORKER": "off"}
    arguments = ["-m", "dramatiq", "shop.extensions", "--processes", "1", "--threads", "1"]
    worker = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    user = """
from wsgi import app, jobs
from tools.waiting import wait_for
actor = jobs.broker.actors["mail"]
with app.app_context():
    message = actor.send()
wait_for(lambda: jobs.get(message.message_id).state == "completed", "the job", timeout_seconds=45)
print(jobs.get(message.message_id).result)
"""
    try:
        done = subprocess.run(
            [sys.executable, "-c", user], cwd=folder, env=environ, capture_output=True, text=True, timeout=60
        )
    finally:
        worker.terminate()
        worker.wait(30)

    assert done.stdout.strip() == "sent", done.stderr
