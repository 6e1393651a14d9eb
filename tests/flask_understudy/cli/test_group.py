"""Errors are one line and a code that scripts can rely on."""

from __future__ import annotations

import click
import pytest

from flask_understudy.cli.group import jobs
from tests.flask_understudy.cli.conftest import Typist
from tests.flask_understudy.conftest import MakeSite
from tools.servers.process import free_port


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in sorted(group.commands.items()):
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", [path for path, _ in commands(jobs)], ids=" ".join)
def test_every_command_has_help_with_an_example(sqlite_cli: Typist, path: tuple[str, ...]) -> None:
    said = sqlite_cli(*path, "--help")

    assert "flask jobs " in said.out.partition("Example")[2] or path == ("db",)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["schedules"],
        ["types"],
        ["failures"],
        ["queues"],
        ["stats"],
        ["workers"],
        ["audit"],
        ["health"],
        ["verify"],
    ],
    ids=" ".join,
)
def test_every_list_is_one_json_document_when_asked(sqlite_cli: Typist, arguments: list[str]) -> None:
    assert isinstance(sqlite_cli(*arguments, "--json").json, dict)


def test_unknown_id_is_not_found(sqlite_cli: Typist) -> None:
    for arguments in (
        ["show"],
        ["replay"],
        ["run-now"],
        ["retry"],
        ["cancel"],
        ["delete"],
        ["amend", "--priority", "1"],
    ):
        assert "There is no job 'nope'." in sqlite_cli.fails(*arguments, "nope", code=4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "--state", "asleep"], "'asleep' is not one of"),
        (["list", "--payload", "order"], "no path and value"),
        (["list", "--created-after", "yesterday"], "'yesterday' is no time such as"),
        (["list", "--limit", "0"], "0 is not in the range"),
        (["list", "--limit", "9" * 20], "is not in the range 1<=x<=1000000"),
        (["list", "--created-after", "9999-12-31T23:59:59-14:00"], "after the year 9999 in UTC"),
        (["list", "--finished-before", "999999d"], "before the year 1"),
        (["amend", "x", "--run-at", "0001-01-01T00:00:00+14:00"], "before the year 1"),
        (["clean", "email", "--grace", "9" * 20, "--yes"], "is not in the range"),
        (["enqueue", "mail:send", "--payload", '["a"]', "--delay", "9" * 20], "ten years"),
        (["list", "--colour", "red"], "No such option"),
        (["retry"], "Give ids, or filters"),
        (["retry", "x", "--queue", "email"], "not both"),
        (["amend", "x"], "Say what to change"),
        (["replay", "x", "--payload", "[1]"], "JSON object"),
        (["replay", "x", "--payload", "{"], "it is no JSON"),
        (["enqueue", "mail:send", "--payload", "7"], "JSON object of arguments by name, or a list"),
        (["enqueue", "mail:send", "--payload", '{"from": 1}'], "The payload does not fit mail:send"),
        (["queues", "limit", "email", "0"], "no whole number from 1"),
        (["frobnicate"], "No such command 'frobnicate'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_line_that_says_what_is_valid(sqlite_cli: Typist, arguments: list[str], said: str) -> None:
    assert said in sqlite_cli.fails(*arguments, code=2)


def test_unreachable_database_is_one_line_without_its_password(make_site: MakeSite) -> None:
    cli = Typist(make_site(f"postgresql+psycopg://anna:secret@127.0.0.1:{free_port()}/shop"))

    for arguments in (
        ["list"],
        ["stats"],
        ["retry", "x"],
        ["enqueue", "mail:send", "--payload", '["a"]'],
        ["verify"],
    ):
        said = cli.fails(*arguments, code=1)
        assert "database" in said
        assert "secret" not in said


def test_missing_tables_name_the_remedy(make_site: MakeSite, database_url: str) -> None:
    cli = Typist(make_site(database_url))

    for arguments in (["list"], ["failures"], ["workers"], ["queues", "pause", "email"]):
        assert "flask db upgrade" in cli.fails(*arguments, code=1)


def test_broker_that_an_actor_cannot_do_without_has_a_code_of_its_own(make_site: MakeSite, sqlite_ledger: str) -> None:
    cli = Typist(make_site(sqlite_ledger, f"redis://127.0.0.1:{free_port()}/0"))

    said = cli("enqueue", "urgent", expect=3)

    assert "nothing was stored" in said.err
    assert cli.site.all_jobs() == []
