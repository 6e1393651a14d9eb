"""Settings as they hold, and the doctor, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, Api, open_api

OPERATOR = f"{EVERY_SCOPE} tenants"


def settings_of(api: Api) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in api.as_(scopes=OPERATOR).get("/settings")["data"]}


def test_each_setting_says_where_its_value_comes_from(
    make_site: MakeSite, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_RUNWAY", "77")
    monkeypatch.setenv("JOBS_EVENT_KEY", "an older name")
    found = settings_of(open_api(make_site(sqlite_ledger, UNDERSTUDY_FAIR=False, UNDERSTUDY_RUNWAY=5)))
    shown = {key: (one["value"], one["origin"], one["source"]) for key, one in found.items()}
    assert shown["UNDERSTUDY_RUNWAY"] == (77, "environment", "UNDERSTUDY_RUNWAY")
    assert shown["UNDERSTUDY_FAIR"] == (False, "app.config", "UNDERSTUDY_FAIR")
    assert shown["UNDERSTUDY_EVENT_KEY"] == ("***", "environment", "JOBS_EVENT_KEY")
    assert shown["UNDERSTUDY_ALERT_DEPTH"] == (100, "default", "")
    assert shown["UNDERSTUDY_TRANSPORT"] == ("database", "default", "")


def test_secrets_are_withheld(make_site: MakeSite, sqlite_ledger: str) -> None:
    secrets = {
        "UNDERSTUDY_EVENT_KEY": "s3cret-event",
        "UNDERSTUDY_SIGNING_KEY": "s3cret-signing",
        "UNDERSTUDY_ALERT_WEBHOOK": "https://hooks.example.com/s3cret-path",
    }
    api = open_api(make_site(sqlite_ledger, "redis://user:s3cret-password@127.0.0.1:1/0", **secrets))
    found = settings_of(api)
    assert "s3cret" not in json.dumps(found)
    assert found["UNDERSTUDY_TRANSPORT"]["value"] == "redis://user:***@127.0.0.1:1/0"
    assert found["UNDERSTUDY_TRANSPORT"]["source"] == "REDIS_URL"


def test_policies_are_told_in_full(make_site: MakeSite, sqlite_ledger: str) -> None:
    found = settings_of(open_api(make_site(sqlite_ledger, UNDERSTUDY_QUEUES={"email": {"attempts": 5}})))
    assert found["UNDERSTUDY_QUEUES"]["value"] == {
        "email": {"attempts": 5, "keep_completed": "1 day, 0:00:00", "keep_failed": "7 days, 0:00:00"}
    }


def test_the_doctor_tells_what_is_wrong_and_what_to_do(api: Api) -> None:
    operator = api.as_(scopes=OPERATOR)
    api.send("ada@example.com")
    answer = operator.get("/doctor", query_string={"only": ["workers", "database"]})
    assert [(one["check"], one["status"]) for one in answer["data"]] == [("database", "ok"), ("workers", "error")]
    assert answer["isOk"] is False and "flask jobs worker" in answer["data"][1]["remedy"]
    assert len(operator.get("/doctor")["data"]) > 10
    assert "is no check" in operator.get("/doctor?only=nothing", 422)["errors"][0]["detail"]


@pytest.mark.parametrize("path", ["/settings", "/doctor"])
def test_they_are_for_who_may_see_every_tenant(sqlite_api: Api, path: str) -> None:
    sqlite_api.get(path, 403)
