"""What became of a job, over HTTP."""

from __future__ import annotations

from tests.flask_understudy.rest.conftest import Api


def test_attempts_and_log_are_listed(api: Api) -> None:
    id = api.fail("no luck")

    [attempt] = api.get(f"/{id}/attempts")["data"]
    assert (attempt["number"], attempt["outcome"]) == (1, "failed")
    assert "no luck" in attempt["error"]
    assert "Traceback" in attempt["traceback"]
    assert api.as_(scopes="read").get(f"/{id}/attempts")["data"][0]["traceback"] is None
    api.post(f"/{id}/retry")
    assert [line["kind"] for line in api.get(f"/{id}/logs")["data"]] == ["retried"]
