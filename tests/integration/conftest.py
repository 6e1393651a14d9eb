"""Installations of the sample service, and the figures its tests measure."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.deployment import Deployment

Install = Callable[..., Deployment]

SETTINGS = ("UNDERSTUDY_", "QUEUE_", "SCHEDULER_", "DATABASE_", "REDIS_", "FLASK_", "AWS_", "SQS_")
FIGURES = "figure"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell has set must not decide what a test sees."""
    for name in list(os.environ):
        if name.startswith(SETTINGS):
            monkeypatch.delenv(name)


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Install the service on a database and a broker."""
    made: list[Deployment] = []

    def make(database_url: str, redis_url: str | None, *, tables: bool = True, **settings: str) -> Deployment:
        deployment = Deployment(database_url, redis_url, tmp_path, **settings)
        made.append(deployment)
        if tables:
            deployment.install()
        return deployment

    yield make
    for deployment in made:
        deployment.close()


@pytest.fixture(params=["sqlite-database", "postgresql-redis"])
def urls(request: pytest.FixtureRequest) -> tuple[str, str | None]:
    """The database and the broker of each of the two modes: a file and no server, and the servers of a production."""
    if request.param == "sqlite-database":
        return request.getfixturevalue("sqlite_url"), None
    return request.getfixturevalue("postgres_url"), request.getfixturevalue("redis_url")


@pytest.fixture
def deployment(urls: tuple[str, str | None], install: Install) -> Deployment:
    """The service in each of its two modes."""
    return install(*urls)


@pytest.fixture
def production(postgres_url: str, redis_url: str, install: Install) -> Deployment:
    """The service on PostgreSQL and Redis."""
    return install(postgres_url, redis_url)


@pytest.fixture
def dice(request: pytest.FixtureRequest, torture_round: int, record_property: Any) -> random.Random:
    """Chance: another in each round of `--torture-rounds`, and the same again with the same `--randomly-seed`."""
    seed = f"{request.config.getoption('randomly_seed', 0)}-{torture_round}"
    record_property("dice", seed)
    return random.Random(seed)


@pytest.fixture
def figure(request: pytest.FixtureRequest, record_property: Any) -> Callable[[str, float], None]:
    """Keep a measured number; they are listed at the end of the run."""

    def keep(name: str, value: float) -> None:
        record_property(FIGURES, f"{request.node.name}: {name} {value:.3f}")

    return keep


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the figures."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    figures = [
        value
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in getattr(report, "user_properties", ())
        if name == FIGURES
    ]
    if figures:
        terminalreporter.section("figures")
        for line in sorted(figures):
            terminalreporter.line(line)
