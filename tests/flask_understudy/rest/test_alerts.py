"""Alerts, as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import sqlalchemy as sa

from flask_understudy import signals
from flask_understudy.clock import Alerts
from flask_understudy.ledger import AuditLine, episodes
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, Api

SEES_ALL = EVERY_SCOPE + " tenants"


@pytest.fixture
def operator(api: Api) -> Api:
    return api.as_(scopes=SEES_ALL)


def begin(api: Api, subject: str = "email") -> int:
    with api.site.state.database.transaction() as connection:
        row = episodes.begin(connection, rule="depth", subject=subject, value=120, threshold=100, message="120 wait.")
    assert row is not None
    return int(row[0])


def end(api: Api, id: int) -> None:
    with api.site.state.database.transaction() as connection:
        episodes.end(connection, id)


@pytest.mark.requirement("M08")
def test_open_alerts_are_listed_with_what_the_rules_allow(operator: Api) -> None:
    end(operator, begin(operator, "reports"))
    id = begin(operator)

    answer = operator.get("/alerts")

    (alert,) = answer["data"]
    assert {name: alert[name] for name in alert if not name.endswith("At")} == {
        "id": id,
        "rule": "depth",
        "subject": "email",
        "value": 120,
        "threshold": 100,
        "message": "120 wait.",
        "mutedUntil": None,
    }
    assert alert["beganAt"].endswith("Z")
    assert alert["endedAt"] is None
    assert answer["thresholds"] == {
        "depth": 100,
        "failure-rate": 0.1,
        "stalled": 30,
        "broker": 0,
        "growing": 50,
        "repeated-failures": 9,
    }


@pytest.mark.requirement("M08")
def test_what_the_clock_found_is_listed(operator: Api) -> None:
    operator.site.state.config = operator.site.state.config.__class__.from_mapping({"UNDERSTUDY_ALERT_DEPTH": 1}, {})
    operator.send()
    operator.send()
    Alerts(operator.site.state).evaluate()
    assert [alert["message"] for alert in operator.get("/alerts")["data"]] == ["2 jobs wait in queue email."]


@pytest.mark.requirement("M08")
def test_the_history_is_read_page_by_page_the_latest_first(operator: Api) -> None:
    ids = []
    for n in range(5):
        ids.append(begin(operator, f"q{n}"))
        if n < 4:
            end(operator, ids[-1])
    seen: list[int] = []
    cursor = ""
    while True:
        page = operator.get(f"/alerts/history?limit=2{cursor}")
        seen += [alert["id"] for alert in page["data"]]
        if page["nextCursor"] is None:
            break
        begin(operator, f"new{len(seen)}")  # what begins meanwhile does not move what follows
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == ids[::-1]
    operator.get("/alerts/history?cursor=forged", 422)


@pytest.mark.requirement("M08", "R09")
def test_an_operator_mutes_an_alert_and_the_audit_says_so(operator: Api) -> None:
    id = begin(operator)

    muted = operator.post(f"/alerts/{id}/mute", json={"minutes": 30})

    assert muted["mutedUntil"] > muted["beganAt"]
    assert operator.get("/alerts")["data"][0]["mutedUntil"] == muted["mutedUntil"]
    with operator.site.db_session() as session:
        (line,) = session.scalars(sa.select(AuditLine))
    assert (line.action, line.target, line.subject) == ("alert.mute", str(id), "olga")
    assert line.detail == {"minutes": 30}


@pytest.mark.requirement("M08", "R09")
def test_an_operator_sets_what_a_rule_allows_and_gives_it_back(operator: Api) -> None:
    rule = operator.patch("/alerts/rules/depth", json={"threshold": 250})

    assert rule["setAt"].endswith("Z") and rule["setBy"] == "acme/olga"
    assert (rule["threshold"], rule["default"], rule["setting"]) == (250, 100, "UNDERSTUDY_ALERT_DEPTH")
    thresholds = operator.get("/alerts")["thresholds"]
    assert (thresholds["depth"], thresholds["growing"]) == (250, 125)
    assert [one for one in operator.get("/alerts/rules")["data"] if one["setBy"]] == [rule]

    operator.delete("/alerts/rules/depth")

    assert operator.get("/alerts")["thresholds"]["depth"] == 100
    lines = [(line["action"], line["target"], line["detail"]) for line in operator.get("/audit")["data"]]
    assert lines == [
        ("alert.reset", "depth", {"before": 250}),
        ("alert.set", "depth", {"threshold": 250, "before": 100}),
    ]


@pytest.mark.parametrize(
    ("rule", "body", "said"),
    [
        ("depth", {"threshold": 0}, "takes a whole number of jobs from 1"),
        ("depth", {"threshold": "many"}, "number"),
        ("depth", {}, "required"),
        ("failure-rate", {"threshold": 5}, "takes a share above 0 and up to 1"),
        ("broker", {"threshold": 1}, "has no threshold"),
    ],
)
def test_a_bad_threshold_is_refused_and_changes_nothing(
    operator: Api, rule: str, body: dict[str, Any], said: str
) -> None:
    before = operator.get("/alerts/rules")
    problem = operator.patch(f"/alerts/rules/{rule}", 422, json=body)
    assert said in str(problem)
    assert operator.get("/alerts/rules") == before and operator.get("/audit")["data"] == []


def test_a_rule_that_is_not_there_allows_nothing(operator: Api) -> None:
    operator.patch("/alerts/rules/colour", 404, json={"threshold": 1})
    operator.delete("/alerts/rules/colour", 404)
    operator.delete("/alerts/rules/broker", 422)


@pytest.mark.requirement("M08", "R09")
def test_an_operator_tests_who_is_told(operator: Api) -> None:
    operator.site.state.config = dataclasses.replace(operator.site.state.config, alert_emails=("ops@example.com",))

    tested = operator.post("/alerts/test")["data"]

    assert [(one["channel"], one["to"], one["isDelivered"]) for one in tested] == [
        ("log", "", True),
        ("mail", "ops@example.com", False),
    ]
    assert "has no Flask-Mail" in tested[1]["error"]
    assert [line["action"] for line in operator.get("/audit")["data"]] == ["alert.test"]


def test_nothing_is_locked_while_others_are_waited_for(operator: Api) -> None:
    seen: list[str] = []

    def hear(sender: Any, alert: Any) -> None:
        operator.site.execute("UPDATE understudy_workers SET stopping = false")
        with operator.site.db_session() as session:
            seen.extend(session.scalars(sa.select(AuditLine.action)))

    signals.alert_raised.connect(hear)
    tested = operator.post("/alerts/test")["data"]
    assert [one["isDelivered"] for one in tested] == [True, True] and seen == ["alert.test"]


@pytest.mark.parametrize("body", [{}, {"minutes": -1}, {"minutes": 10_081}, {"minutes": "x"}, {"minutes": 1, "x": 1}])
def test_a_bad_mute_is_refused_and_changes_nothing(operator: Api, body: dict[str, Any]) -> None:
    id = begin(operator)
    operator.post(f"/alerts/{id}/mute", 422, json=body)
    assert operator.get("/alerts")["data"][0]["mutedUntil"] is None
    with operator.site.db_session() as session:
        assert session.scalars(sa.select(AuditLine)).all() == []


@pytest.mark.parametrize("id", ["1", "99999999999999999999", "0"])
def test_what_is_not_open_cannot_be_muted(operator: Api, id: str) -> None:
    end(operator, begin(operator))
    operator.post(f"/alerts/{id}/mute", 404, json={"minutes": 1})


@pytest.mark.requirement("P03", "P04")
def test_alerts_are_not_for_one_tenant_of_many(sqlite_api: Api) -> None:
    id = begin(sqlite_api)
    for path in ("/alerts", "/alerts/history", "/alerts/rules"):
        sqlite_api.get(path, 403)
        sqlite_api.anonymous().get(path, 401)
        sqlite_api.as_("", scopes="read").get(path)
    sqlite_api.post(f"/alerts/{id}/mute", 403, json={"minutes": 1})
    sqlite_api.as_("", scopes=EVERY_SCOPE).post(f"/alerts/{id}/mute", 403, json={"minutes": 1})
    for one in (sqlite_api, sqlite_api.as_("", scopes=EVERY_SCOPE)):
        one.patch("/alerts/rules/depth", 403, json={"threshold": 1})
        one.delete("/alerts/rules/depth", 403)
        one.post("/alerts/test", 403)
