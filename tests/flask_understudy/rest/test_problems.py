"""Errors as callers are told of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_understudy.contrib.api import Problem, problems
from tests.flask_understudy.rest.conftest import Api


@pytest.fixture(params=["RENAME COLUMN tags TO labels", "RENAME TO jobs_of_old"], ids=["column", "table"])
def old(api: Api, request: pytest.FixtureRequest) -> Iterator[Api]:
    """The API on a database that was not migrated; PostgreSQL's is mended, as other tests have it next."""
    api.site.execute(f"ALTER TABLE understudy_jobs {request.param}")
    yield api
    back = {"RENAME TO jobs_of_old": "jobs_of_old RENAME TO understudy_jobs"}
    api.site.execute(f"ALTER TABLE {back.get(request.param, 'understudy_jobs RENAME COLUMN labels TO tags')}")


def test_a_database_that_was_not_migrated_is_told_from_one_that_is_away(old: Api) -> None:
    problem = old.get("", 503)

    assert "lacks tables or columns" in problem["detail"] and "flask jobs doctor" in problem["detail"]
    assert "labels" not in problem["detail"]


def test_an_error_of_ours_tells_nothing(api: Api) -> None:
    with api.site.app.test_request_context():
        problem = problems.problem_of(RuntimeError("the secret is xyzzy"))
    assert isinstance(problem, Problem) and problem.status == 500 and "xyzzy" not in str(problem.detail)
