"""Which programs are run, and with which arguments."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import click
import pytest

from flask_understudy.cli import serving
from flask_understudy.cli.group import Refused
from tests.flask_understudy.cli.conftest import Typist
from tests.flask_understudy.conftest import MakeSite


@pytest.fixture
def here(sqlite_cli: Typist) -> Iterator[Typist]:
    """Inside a command of the site."""
    with sqlite_cli.site.app.app_context(), click.Context(click.Command("here")):
        yield sqlite_cli


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


@pytest.mark.requirement("R06", "S03", "S13")
def test_worker_becomes_dramatiq_with_the_modules_of_the_actors(here: Typist) -> None:
    command = serving.worker_command((), "email,reports", 7, 3)

    assert command[:4] == [sys.executable, "-m", "dramatiq", "tests.flask_understudy.cli.conftest"]
    assert (option(command, "--threads"), option(command, "--processes")) == ("7", "3")
    assert command[-3:] == ["--queues", "email", "reports"]


@pytest.mark.requirement("R08")
def test_environment_decides_what_the_worker_s_command_does_not(
    make_site: MakeSite, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_CONCURRENCY", "11")
    cli = Typist(make_site(sqlite_ledger))
    with cli.site.app.app_context(), click.Context(click.Command("here")):
        assert option(serving.worker_command(("app.actors",), None, None, 1), "--threads") == "11"
        assert option(serving.worker_command(("app.actors",), None, 4, 1), "--threads") == "4"


def test_worker_of_an_unknown_queue_is_refused(sqlite_cli: Typist) -> None:
    assert "There are: email, reports, urgent" in sqlite_cli.fails("worker", "--queues", "nope", code=4)


def test_worker_that_could_run_nothing_is_refused(make_site: MakeSite, sqlite_ledger: str) -> None:
    cli = Typist(make_site(sqlite_ledger, UNDERSTUDY_ENABLED=False))

    assert "UNDERSTUDY_ENABLED is off" in cli.fails("worker", code=1)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("shop", "shop:site"),
        ("shop.py", "shop:site"),
        ("shop:site", "shop:site"),
        ("shop:make", "shop:make()"),
        ("shop:make('x')", "shop:make('x')"),
    ],
)
def test_web_server_serves_the_application_of_the_command(
    here: Typist, monkeypatch: pytest.MonkeyPatch, path: str, expected: str
) -> None:
    module = ModuleType("shop")
    module.site, module.make = here.site.app, lambda name="": here.site.app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop", module)
    monkeypatch.setenv("FLASK_APP", path)

    assert serving.wsgi_path(here.site.app) == expected


def test_application_that_cannot_be_named_is_asked_for(here: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setenv("FLASK_APP", "shop")

    with pytest.raises(Refused, match="--wsgi module:app"):
        serving.wsgi_path(here.site.app)
