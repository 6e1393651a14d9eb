"""A worker that cannot work ends at once with a code and a sentence, instead of consuming nothing in silence."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.integration.conftest import Install
from tests.integration.deployment import Deployment
from tests.integration.service.actors import quick
from tools.servers.process import free_port


def refused(service: Deployment, **environ: str) -> str:
    """Start a worker, expect it to end with an error, and return what it wrote."""
    with service.workers(ready=False, environ=environ) as workers:
        code = workers.leave(30)
    assert code not in {0, None}, workers.output()
    return workers.output()


@pytest.fixture
def service(sqlite_url: str, install: Install) -> Deployment:
    return install(sqlite_url, None)


@pytest.mark.requirement("G1")
def test_application_that_does_not_load_ends_the_worker(service: Deployment, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('the application is broken')")

    said = refused(service, FLASK_APP="broken", PYTHONPATH=f"{tmp_path}:{service.settings['PYTHONPATH']}")

    assert "The application could not be loaded, the worker ends: the application is broken" in said


@pytest.mark.requirement("G1")
def test_application_without_the_extension_ends_the_worker(service: Deployment, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("from flask import Flask\napp = Flask('plain')")

    said = refused(service, FLASK_APP="plain", PYTHONPATH=f"{tmp_path}:{service.settings['PYTHONPATH']}")

    assert "did not call jobs.init_app(app)" in said


@pytest.mark.requirement("G1")
def test_missing_tables_end_the_worker(install: Install, database_url: str) -> None:
    said = refused(install(database_url, None, tables=False))

    assert "The worker cannot start: The ledger cannot be used at" in said
    assert "Run `flask db upgrade`" in said


@pytest.mark.requirement("G1")
def test_database_that_cannot_be_reached_ends_the_worker(service: Deployment) -> None:
    said = refused(service, DATABASE_URL=f"postgresql+psycopg://anna:secret@127.0.0.1:{free_port()}/shop")

    assert "The worker cannot start: The ledger cannot be used at postgresql+psycopg://anna:***@127.0.0.1" in said
    assert "Is it running, and is DATABASE_URL right?" in said
    assert "secret" not in said


@pytest.mark.requirement("G1", "H16")
@pytest.mark.parametrize(
    ("key", "value", "answer"),
    [
        (
            "UNDERSTUDY_LEASE_SECONDS",
            "soon",
            "UNDERSTUDY_LEASE_SECONDS is 'soon'; it takes a number of seconds above 0.",
        ),
        ("UNDERSTUDY_LEASE_SECOND", "3", "Did you mean UNDERSTUDY_LEASE_SECONDS?"),
        ("REDIS_URL", "http://127.0.0.1/0", "is no transport"),
        ("UNDERSTUDY_ENABLED", "false", "UNDERSTUDY_ENABLED is off"),
    ],
)
def test_wrong_setting_ends_the_worker_with_what_would_be_right(
    service: Deployment, key: str, value: str, answer: str
) -> None:
    assert answer in refused(service, **{key: value})


@pytest.mark.requirement("G1", "G9")
def test_worker_boots_and_works_while_redis_is_down(sqlite_url: str, install: Install) -> None:
    service = install(sqlite_url, f"redis://127.0.0.1:{free_port()}/0")
    with service.workers():
        service.wait_for_end([service.send(quick)])
    service.check(faultless=True)


@pytest.mark.requirement("G3")
def test_worker_whose_master_died_while_it_booted_ends(service: Deployment, tmp_path: Path) -> None:
    booting, go_on = tmp_path / "booting", tmp_path / "go_on"
    (tmp_path / "hesitant.py").write_text(f"""
import pathlib
from tests.integration.service.wsgi import app
from tools.waiting import wait_for

pathlib.Path({str(booting)!r}).touch()
wait_for(pathlib.Path({str(go_on)!r}).exists, "leave to go on", timeout_seconds=30)
""")
    path = f"{tmp_path}:{service.settings['PYTHONPATH']}"

    with service.workers(ready=False, environ={"FLASK_APP": "hesitant", "PYTHONPATH": path}) as workers:
        workers.wait_until(booting.exists, "the worker to boot")
        (orphan,) = psutil.Process(workers.process.pid).children()
        workers.process.kill()
        workers.process.wait()
        go_on.touch()
        service.wait(lambda: not orphan.is_running(), "the orphaned worker to end", 20)

    assert not service.rows("SELECT id FROM understudy_workers WHERE kind = 'worker'")
