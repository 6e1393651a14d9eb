"""The practices of `docs/practices.md`, held against every job of the service (requirements T, A52, B17)."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import blueprints
from app.actors.email import queue_email, send_password_reset_email, send_welcome_email
from app.actors.examples import do_critical_work
from app.extensions import jobs
from app.models.tenant import Tenant
from app.queues import MINUTE, POLICIES
from flask_understudy.testing import TestWorker

Headers = Callable[..., dict[str, str]]

ROOT = Path(__file__).parents[2]
#: The library's own, which run whatever an application gives them.
OF_THE_LIBRARY = {"webhook:send"}
DAY_SECONDS = 86_400


def actors() -> dict[str, Any]:
    return dict(jobs.broker.actors)


def imported_by(module: Any) -> set[str]:
    """The top-level names of what a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    return names


def modules_of(package: Any) -> list[Any]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [importlib.import_module(module.name) for module in found]


@pytest.mark.requirement("T07", "A34")
def test_every_type_is_a_domain_and_a_verb(sqlite_app: Flask) -> None:
    assert len(actors()) > 20
    assert [name for name in actors() if not re.fullmatch(r"[a-z]+(-[a-z]+)*:[a-z]+(-[a-z]+)*", name)] == []


@pytest.mark.requirement("T11", "A52")
def test_every_type_ends_in_time_and_is_tried_a_known_number_of_times(sqlite_app: Flask) -> None:
    for name, actor in actors().items():
        policy = POLICIES.get(actor.queue_name, {})
        limit = actor.options.get("time_limit") or policy.get("time_limit") or 30_000  # the library's own
        assert 1_000 <= limit <= 10 * MINUTE, name
        retries = actor.options.get("max_retries", 3)
        assert retries is not None and 0 <= retries <= 10, name


@pytest.mark.requirement("A52")
def test_every_queue_takes_a_limit_of_its_own_and_keeps_the_errors(
    app: Flask, client: FlaskClient, auth_header: Headers, tenant_a: Tenant
) -> None:
    queues = {actor.queue_name for actor in actors().values()}
    assert set(POLICIES) <= queues | {"reports", "data-exports", "tenant-onboarding"}
    header = auth_header("read", "operate", "tenants")
    for queue in sorted(queues):
        answer = client.patch(f"/api/jobs/queues/{queue}", json={"concurrency": 2}, headers=header)
        assert answer.status_code == 200, (queue, answer.text)

    with app.app_context(), TestWorker(app.extensions["understudy"]) as worker:
        job = worker.run(do_critical_work.send_with_options(args=("7", "unreachable"), tenant=tenant_a.id))
    shown = client.get(f"/api/jobs/{job.id}", headers=header).json
    assert (shown["state"], shown["attemptsMade"]) == ("delayed", 1)
    assert shown["error"] == "ConnectionError: the warehouse cannot be reached"


@pytest.mark.requirement("T08")
def test_failures_are_kept_for_a_week_and_workers_are_their_own(sqlite_app: Flask) -> None:
    assert {
        name for name, policy in POLICIES.items() if policy["keep_failed"].total_seconds() < 7 * DAY_SECONDS
    } == set()
    processes = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    assert "gunicorn" in processes["web"] and "app.actors" in processes["worker"]
    assert "UNDERSTUDY_WORKER" in (ROOT / "docker" / "compose.yaml").read_text()


@pytest.mark.requirement("T01")
def test_requests_leave_mail_and_other_servers_to_jobs() -> None:
    outside = {"smtplib", "flask_mail", "requests", "urllib3", "httpx", "authlib", "reportlab"}
    offenders = {module.__name__: imported_by(module) & outside for module in modules_of(blueprints)}
    assert len(offenders) > 5
    assert {name for name, found in offenders.items() if found} == set()


@pytest.mark.requirement("T09")
def test_old_jobs_are_cleaned_and_failures_watched(sqlite_app: Flask) -> None:
    schedules = {schedule.name: schedule for schedule in jobs.broker.schedules}
    assert schedules["cleanup-old-jobs"].enabled and not schedules["retry-failed"].enabled
    assert isinstance(jobs.is_broker_up, bool)
    config = sqlite_app.extensions["understudy"].config
    assert (config.alert_depth, config.alert_failure_rate) == (100, 0.1)


@pytest.mark.requirement("B17")
@pytest.mark.parametrize("domain", ["payroll", "email", "integrations", "cleanup", "exports"])
def test_jobs_lie_in_modules_by_domain(domain: str) -> None:
    module = importlib.import_module(f"app.actors.{domain}")
    declared = [actor for actor in actors().values() if actor.fn.__module__ == module.__name__]
    assert declared


@pytest.mark.requirement("C24", "C08")
def test_a_queue_s_priority_is_what_its_jobs_have_that_say_nothing(sqlite_app: Flask) -> None:
    with sqlite_app.app_context():
        late = queue_email(to="a@b.example", subject="Some time", text="Hi", priority=5)
        mail = send_welcome_email("a@b.example", "Ada")
        first = send_password_reset_email("a@b.example", "123456")
        with TestWorker(sqlite_app.extensions["understudy"]) as worker:
            ran = [job.id for job in worker.drain()]
    assert ran == [message.message_id for message in (first, mail, late)]
