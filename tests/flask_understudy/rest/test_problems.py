"""Errors as callers are told of them."""

from __future__ import annotations

import pytest

from flask_understudy.contrib.api import Problem, problems
from tests.flask_understudy.rest.conftest import Api


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE understudy_jobs RENAME COLUMN tags TO labels", "ALTER TABLE understudy_jobs RENAME TO jobs_of_old"],
)
def test_a_database_that_was_not_migrated_is_told_from_one_that_is_away(api: Api, change: str) -> None:
    api.site.execute(change)

    problem = api.get("", 503)

    assert "lacks tables or columns" in problem["detail"] and "flask jobs doctor" in problem["detail"]
    assert "labels" not in problem["detail"]


def test_an_error_of_ours_tells_nothing(api: Api) -> None:
    with api.site.app.test_request_context():
        problem = problems.problem_of(RuntimeError("the secret is xyzzy"))
    assert isinstance(problem, Problem) and problem.status == 500 and "xyzzy" not in str(problem.detail)
