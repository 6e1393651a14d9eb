import datetime as dt
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db, jobs
from app.models.analytics_event import AnalyticsEvent
from app.models.api_token import ApiToken
from app.models.audit_log import AuditLog
from app.models.tenant import Tenant
from app.models.user import User
from app.models.wiki_page import WikiPage
from flask_understudy.testing import TestWorker


def run(app: Flask, *arguments: str) -> tuple[int, str, str]:
    result = app.test_cli_runner().invoke(args=arguments)
    return result.exit_code, result.stdout, result.stderr


def test_created_token_works_and_is_shown_once(app: Flask, client: FlaskClient, tenant_a: Tenant) -> None:
    code, secret, note = run(app, "tokens", "create", "--tenant", "aster", "--scope", "read")

    assert code == 0
    assert "shown this once" in note
    headers = {"Authorization": f"Bearer {secret.strip()}"}
    assert "redisConnected" in client.get("/api/health", headers=headers).json
    assert secret.strip() not in run(app, "tokens", "list", "--tenant", "aster")[1]


def test_created_token_can_act_for_a_person(app: Flask, user_a: User) -> None:
    arguments = ("--scope", "enqueue", "--scope", "read", "--user", user_a.email, "--days", "30")

    code, *_ = run(app, "tokens", "create", "--tenant", "aster", *arguments)

    assert code == 0
    with app.app_context():
        token = db.session.scalars(sa.select(ApiToken)).one()
        assert (token.user_id, token.scopes) == (user_a.id, ["read", "enqueue"])
        assert token.expires_at is not None
        assert round((token.expires_at - token.created_at) / dt.timedelta(days=1)) == 30
        assert db.session.scalars(sa.select(AuditLog.action)).all() == ["token.create"]


def test_listed_token_shows_state_and_prefix(app: Flask, tenant_a: Tenant) -> None:
    secret = run(app, "tokens", "create", "--tenant", tenant_a.id, "--scope", "read")[1]

    code, listing, _ = run(app, "tokens", "list", "--tenant", "aster")

    assert code == 0
    assert secret[:10] in listing
    assert "active" in listing and "never" in listing


def test_revoked_token_stops_working(app: Flask, client: FlaskClient, tenant_a: Tenant) -> None:
    secret = run(app, "tokens", "create", "--tenant", "aster", "--scope", "read")[1].strip()
    token_id = run(app, "tokens", "list", "--tenant", "aster")[1].split()[0]

    code, *_ = run(app, "tokens", "revoke", token_id)

    assert code == 0
    answer = client.get("/api/health", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401
    assert "revoked" in run(app, "tokens", "list", "--tenant", "aster")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "--tenant", "nobody", "--scope", "read"), "'nobody'; there are: aster"),
        (("create", "--tenant", "aster", "--scope", "root"), "'root' is not one of"),
        (("create", "--tenant", "aster"), "Missing option '--scope'"),
        (("create", "--tenant", "aster", "--scope", "read", "--user", "x@y.z"), "no member"),
        (("revoke", "7"), "no token has the id '7'"),
    ],
)
def test_wrong_argument_is_named_and_nothing_is_stored(
    app: Flask, tenant_a: Tenant, arguments: tuple[str, ...], message: str
) -> None:
    code, _, error = run(app, "tokens", *arguments)

    assert code != 0
    assert message in error
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(ApiToken)) == 0


def test_demo_data_is_loaded_once(app: Flask) -> None:
    def counts() -> list[int | None]:
        with app.app_context():
            return [
                db.session.scalar(sa.select(sa.func.count()).select_from(model))
                for model in (Tenant, User, WikiPage, AnalyticsEvent)
            ]

    assert "2 demo organisation(s) added, 38 job(s) sent." in run(app, "demo")[2]
    first = counts()
    assert "0 demo organisation(s) added, 0 job(s) sent." in run(app, "demo")[2]

    assert first == counts() == [2, 16, 50, 4_000]


@pytest.mark.requirement("R07")
def test_the_demo_has_jobs_of_every_outcome_to_look_at(app: Flask) -> None:
    run(app, "demo")

    with app.app_context(), TestWorker(jobs) as worker:
        worker.drain()
        counts = jobs.stats()["examples"]

    assert (counts["completed"], counts["failed"], counts["delayed"]) == (34, 3, 1)


def test_demo_shows_a_working_token_for_each_role(app: Flask, client: FlaskClient) -> None:
    run(app, "demo")
    earlier = run(app, "demo")[1]
    latest = run(app, "demo")[1]

    tokens = dict(line.split() for line in latest.splitlines())
    assert list(tokens) == ["viewer", "member", "operator", "admin", "host"]
    for secret in tokens.values():
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.get("/api/health", headers=headers).status_code == 200
    replaced = earlier.split()[1]
    headers = {"Authorization": f"Bearer {replaced}"}
    assert client.get("/api/health", headers=headers).status_code == 401


def test_instance_folder_can_be_elsewhere(sqlite_app: Flask, tmp_path: Path) -> None:
    assert sqlite_app.instance_path == str(tmp_path / "instance")


@pytest.mark.parametrize("name", ["x" * 5_000, "", "two\nlines"])
def test_name_that_no_column_holds_is_refused(app: Flask, tenant_a: Tenant, name: str) -> None:
    code, _, error = run(app, "tokens", "create", "--tenant", "aster", "--scope", "read", "--name", name)

    assert code != 0
    assert "a printable text of 100 characters at the most" in error


def test_examples_of_the_help_name_actors_that_there_are(app: Flask) -> None:
    commands = [app.cli.commands["jobs"]]
    for command in commands:  # grows while it is walked
        commands += list(getattr(command, "commands", {}).values())
    helps = "\n".join(command.help or "" for command in commands if command.name != "new")

    named = set(re.findall(r"(?:enqueue|--type|register \S+|set actor:) ?(\w+:[\w-]+)", helps))

    assert named and named <= set(app.extensions["understudy"].broker.actors)
