"""One connection to each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa


@pytest.fixture(scope="module")
def postgres(postgres_databases: Any) -> Iterator[sa.Connection]:
    url = postgres_databases.create()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()
    postgres_databases.drop(url)


@pytest.fixture(scope="module")
def sqlite() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        yield connection


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def connection(request: pytest.FixtureRequest) -> sa.Connection:
    """A connection to SQLite, then one to PostgreSQL."""
    return request.getfixturevalue(request.param)
