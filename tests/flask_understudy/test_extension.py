"""The one object an application talks to."""

from __future__ import annotations

from typing import Any

import dramatiq
import pytest
from flask import Flask

import flask_understudy
from flask_understudy import Principal, Understudy, acting_as
from flask_understudy.context import acting
from flask_understudy.ledger import metadata, queries, transitions
from tests.flask_understudy.conftest import MakeSite, Site


@pytest.mark.requirement("Q01", "Q02", "Q03", "Q04", "Q05", "Q06", "Q07", "Q08", "Q09", "G1")
def test_the_life_of_a_job_can_be_followed_from_its_creation_to_its_removal(site: Site) -> None:
    states: list[tuple[str, int]] = []

    def look() -> None:
        job = site.job(message)
        states.append((job.state, job.progress))

    @site.jobs.actor(max_retries=1)
    def work() -> str:
        look()
        if flask_understudy.current_job.attempt % 2:
            raise ValueError("bad luck")
        return "done"

    message = work.send_with_options(delay=60_000)
    look()
    with site.state.database.transaction() as connection:
        transitions.hasten(connection)
    look()
    site.worker.run(message)
    look()
    site.worker.run(message)
    look()
    site.change(message, finished_at=site.moment(-2 * 86_400))
    assert site.jobs.cleanup_old_jobs() == 1

    assert states == [
        ("delayed", 0),
        ("waiting", 0),
        ("active", 0),
        ("delayed", 0),
        ("active", 0),
        ("completed", 100),
    ]
    assert site.jobs.get(message.message_id) is None


def test_the_constructor_sets_dramatiq_s_broker() -> None:
    jobs = Understudy()
    assert dramatiq.get_broker() is jobs.broker


def test_the_ledger_s_tables_are_the_application_s_to_migrate(sqlite_site: Site) -> None:
    assert sqlite_site.jobs.metadata is metadata
    assert all(name.startswith("understudy_") for name in metadata.tables)
    assert not set(metadata.tables) & set(sqlite_site.db.metadata.tables)


def test_public_names_are_few() -> None:
    assert len(flask_understudy.__all__) <= 15
    assert all(hasattr(flask_understudy, name) for name in flask_understudy.__all__)


def test_one_extension_serves_the_application_whose_context_it_is_in(
    make_site: MakeSite, sqlite_ledger: str, postgres_ledger: str
) -> None:
    first = make_site(sqlite_ledger)
    other = Flask("other")
    other.config["SQLALCHEMY_DATABASE_URI"] = postgres_ledger
    first.db.init_app(other)
    first.jobs.init_app(other)

    @first.jobs.actor()
    def work() -> None: ...

    with first.app.app_context():
        here = work.send()
    with other.app_context():
        there = work.send()
    bound_last = work.send()

    databases = [app.extensions["understudy"].database for app in (first.app, other)]
    found = [[queries.find(d, m.message_id) is not None for m in (here, there, bound_last)] for d in databases]
    assert found == [[True, False, False], [False, True, True]]
    databases[1].close()


def test_closing_is_idempotent_and_not_final(site: Site) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    site.jobs.close()
    site.jobs.close()
    assert site.job(work.send()).state == "waiting"


@pytest.mark.requirement("P02")
def test_the_innermost_principal_acts() -> None:
    outer, inner = Principal("a", "x"), Principal("b", "y")
    assert acting() is None
    with acting_as(outer):
        with acting_as(inner):
            assert acting() is inner
        assert acting() is outer
    assert acting() is None


@pytest.mark.requirement("P02")
def test_somebody_who_acts_goes_before_the_request(sqlite_site: Site) -> None:
    site = sqlite_site

    @site.jobs.authorizer
    def who(request: Any) -> Principal:
        return Principal("by request")

    @site.jobs.actor()
    def work() -> None: ...

    with site.app.test_request_context("/"):
        assert site.job(work.send()).owner == "by request"
        with acting_as(Principal("by name")):
            assert site.job(work.send()).owner == "by name"


def test_an_authorizer_may_be_declared_before_the_application_is_there(make_site: MakeSite, sqlite_ledger: str) -> None:
    site = make_site(sqlite_ledger)
    jobs = Understudy(site.db)

    @jobs.authorizer
    def who(request: Any) -> None:
        return None

    jobs.init_app(site.app)
    assert site.app.extensions["understudy"].authorizer is who


def test_an_actor_needs_no_options(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor
    def greet(name: str) -> str:
        """Say hello."""
        return f"Hello, {name}!"

    job = sqlite_site.worker.run(greet.send("Ada"))

    assert (job.actor, job.queue, job.result) == ("greet", "default", "Hello, Ada!")
    assert greet.options["description"] == "Say hello."
