"""The API describes itself, and keeps to what it says."""

from __future__ import annotations

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from flask_understudy.contrib.webhooks.sending import Webhooks
from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, PREFIX, Api, open_api

EXAMPLES = 10
#: What no schema can say: which types, queues and cursors there are.
BEYOND_A_SCHEMA = [positive_data_acceptance]
CALLER = {"Authorization": f"Bearer acme/olga/{EVERY_SCOPE} tenants"}


def test_the_document_is_valid_and_has_every_route(sqlite_api: Api) -> None:
    Webhooks(sqlite_api.site.jobs)
    described = sqlite_api.anonymous().get("/openapi.json")
    validate(described)

    rules = [rule for rule in sqlite_api.site.app.url_map.iter_rules() if rule.endpoint.startswith("understudy.")]
    documented = {(path, method.upper()) for path, operations in described["paths"].items() for method in operations}
    missing = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in rules
        for method in rule.methods - {"HEAD", "OPTIONS"}
    } - documented
    page = f"{PREFIX}/decide/{{token}}"  # for people
    assert missing == {(f"{PREFIX}/openapi.json", "GET"), (f"{PREFIX}/docs", "GET"), (page, "GET"), (page, "POST")}
    assert described["openapi"].startswith("3.1")


def test_every_operation_says_what_it_is_and_what_can_go_wrong(sqlite_api: Api) -> None:
    for path, operations in sqlite_api.get("/openapi.json")["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"] and not operation["summary"].endswith("."), where
            assert {"401", "403"} <= set(operation["responses"]), where
            assert operation["security"] == [{"bearer": []}], where


def test_the_page_needs_no_script_and_no_other_host(sqlite_api: Api) -> None:
    answer = sqlite_api.anonymous()("GET", "/docs")

    assert answer.status_code == 200
    assert "script" not in answer.headers["Content-Security-Policy"]
    assert "<script" not in answer.text
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", answer.text)
    assert "/api/jobs/{job_id}/retry" in answer.text


@pytest.fixture
def schema(make_site: MakeSite, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The API of a site with a few jobs, as schemathesis sees it."""
    monkeypatch.setattr("flask_understudy.rest.following.STREAM_SECONDS", 0.05)
    monkeypatch.setattr("flask_understudy.rest.following.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("flask_understudy.rest.stream.LOOK_SECONDS", 0.01)
    api = open_api(make_site(sqlite_ledger))
    Webhooks(api.site.jobs)
    api.site.worker.run(api.send("a@b.c"))
    api.fail()
    api.send("b@b.c")
    return schemathesis.openapi.from_wsgi(f"{PREFIX}/openapi.json", api.site.app)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_what_is_sent_and_answered_is_as_described(schema: Any, mode: GenerationMode) -> None:
    broken = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate(headers=CALLER, excluded_checks=BEYOND_A_SCHEMA)

        try:
            check()
        except Unsatisfiable:  # nothing wrong can be sent to a route without parameters
            continue
        except BaseExceptionGroup as problems:
            broken += [f"{operation.label}: {problem}" for problem in problems.exceptions]

    assert not broken, "\n\n".join(broken)
